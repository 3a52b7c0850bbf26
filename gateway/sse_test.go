package gateway

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// listener hears a stream by HTTP.
type listener struct {
	t     *testing.T
	resp  *http.Response
	lines *bufio.Scanner
}

func (s *server) listen(path, token, after string) *listener {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.http.URL+"/api/"+path, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Authorization", "Bearer "+token)
	if after != "" {
		req.Header.Set("Last-Event-ID", after)
	}
	resp, err := s.http.Client().Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = resp.Body.Close() })
	return &listener{s.t, resp, bufio.NewScanner(resp.Body)}
}

// event returns the fields of the next event, comments passed over; nil at the end.
func (l *listener) event() map[string]string {
	e := map[string]string{}
	for l.lines.Scan() {
		line := l.lines.Text()
		if line == "" && len(e) > 0 {
			return e
		}
		if name, value, found := strings.Cut(line, ": "); found {
			e[name] = value
		}
	}
	return nil
}

// TestEventsByHTTP has a stream begin, go on, and go on after a position.
func TestEventsByHTTP(t *testing.T) {
	for _, tls := range []bool{false, true} {
		s := serveBy(t, tls, nil)
		l := s.listen("cloud-user/watch-account", "ann", "")
		if l.resp.StatusCode != http.StatusOK || l.resp.Header.Get("Content-Type") != "text/event-stream" || l.resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Fatalf("%s %v", l.resp.Status, l.resp.Header)
		}
		if e := l.event(); e["event"] != "open" || !strings.Contains(e["data"], `"recovered":true`) {
			t.Errorf("it begins with %v", e)
		}
		peer := s.dial("ann") // both kinds hear the same topic
		peer.ask(1, "cloud-user/watch-account", "{}")
		peer.hear()
		s.push("ann", frame(2, 1))
		if e := l.event(); e["id"] != "e.2" || e["event"] != "" || !strings.Contains(squeeze(e["data"]), `"credit":"2"`) {
			t.Errorf("a push is %v", e)
		}
		if f := peer.hear(); f.Params.Position != "e.2" {
			t.Errorf("the socket hears %v", f)
		}
		_ = l.resp.Body.Close()
		peer.ask(2, "$/cancelRequest", `{"id":1}`)
		_ = peer.ws.CloseNow()
		eventually(t, "everybody has gone", func() bool { return s.gateway.Stats().Sessions == 0 && s.gateway.Stats().Hub.Topics == 0 })
		s.listen("cloud-user/watch-account", "ann", "e.2").event()
		if ws := s.cast.watches(); !ws[len(ws)-1].GetResume() || ws[len(ws)-1].GetVersion() != 2 {
			t.Errorf("it goes on with %v", ws[len(ws)-1])
		}
	}
}

func squeeze(s string) string { return strings.ReplaceAll(s, " ", "") }

// TestEventsRefused answers with the status of the refusal, before and after the
// actor was asked.
func TestEventsRefused(t *testing.T) {
	s := serve(t, nil)
	for name, c := range map[string]struct {
		path, token, after string
		want               int
		reason             string
	}{
		"no such method":   {"cloud-user/dance", "ann", "", 404, "UNKNOWN_METHOD"},
		"bad token":        {"cloud-user/watch-account", "bad", "", 401, "TOKEN_INVALID"},
		"no position":      {"cloud-user/watch-account", "ann", "yesterday", 400, "MALFORMED_REQUEST"},
		"unknown field":    {"cloud-user/watch-account?x=1", "ann", "", 400, "MALFORMED_REQUEST"},
		"refused by actor": {"cloud-user/watch-account", "ann", "e.7", 404, "ACCOUNT_NOT_FOUND"},
	} {
		s.cast.mu.Lock()
		s.cast.answer = func(*clusterv1.Request) *clusterv1.Response {
			return &clusterv1.Response{Error: messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_ACCOUNT_NOT_FOUND, "no").Status()}
		}
		s.cast.mu.Unlock()
		l := s.listen(c.path, c.token, c.after)
		var body strings.Builder
		for l.lines.Scan() {
			body.WriteString(l.lines.Text())
		}
		if l.resp.StatusCode != c.want || !strings.Contains(body.String(), c.reason) {
			t.Errorf("%s: %s %s", name, l.resp.Status, body.String())
		}
	}
	eventually(t, "nothing is left", func() bool { return s.gateway.Stats().Sessions == 0 && s.gateway.Stats().Hub.Topics == 0 })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.http.URL+"/api/cloud-user/watch-account", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer ann")
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("without asking for events: %v %v", resp.Status, err)
	}
	_ = resp.Body.Close()
}

// TestEventsEnd has a stream end by itself: with its token, and when the server drains.
func TestEventsEnd(t *testing.T) {
	s := serve(t, func(c *Config) { c.Limits.ExpiryNotice, c.Limits.ExpiryGrace = 20*time.Second, time.Second })
	expires := s.listen("cloud-user/watch-account", "ann 30", "")
	expires.event()
	s.clock.Advance(15 * time.Second)
	if e := expires.event(); e["event"] != "expiring" {
		t.Errorf("ahead of the end it says %v", e)
	}
	s.clock.Advance(20 * time.Second)
	if e := expires.event(); e["event"] != "close" || !strings.Contains(e["data"], "4500") {
		t.Errorf("at the end it says %v", e)
	}
	if e := expires.event(); e != nil {
		t.Errorf("after the end it says %v", e)
	}
	lost := s.listen("cloud-user/watch-account", "ann", "")
	lost.event()
	s.cast.mu.Lock()
	s.cast.answer = func(*clusterv1.Request) *clusterv1.Response {
		return &clusterv1.Response{Error: messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_ACCOUNT_NOT_FOUND, "gone").Status()}
	}
	s.cast.mu.Unlock()
	s.push("ann", nil) // the actor leaves, and is asked again
	if e := lost.event(); e["event"] != "end" || !strings.Contains(e["data"], "ACCOUNT_NOT_FOUND") {
		t.Errorf("when its actor is gone it says %v", e)
	}
	if e := lost.event(); e != nil {
		t.Errorf("after the end it says %v", e)
	}
	eventually(t, "both have ended", func() bool { return s.gateway.Stats().Sessions == 0 })
	s.cast.mu.Lock()
	s.cast.answer = accountOf
	s.cast.mu.Unlock()
	drains := s.listen("cloud-user/watch-account", "ann", "")
	drains.event()
	go s.gateway.Drain(context.Background(), 100*time.Millisecond)
	if e := drains.event(); e["event"] != "draining" || e["retry"] == "" {
		t.Errorf("draining it says %v", e)
	}
	if e := drains.event(); e["event"] != "close" || !strings.Contains(e["data"], "4002") {
		t.Errorf("at the end it says %v", e)
	}
}
