package gateway

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
)

// refusedBy opens a connection that is to be refused and returns how.
func (s *server) refusedBy(header http.Header) *http.Response {
	s.t.Helper()
	ws, resp, err := websocket.Dial(s.t.Context(), s.http.URL+"/ws", &websocket.DialOptions{HTTPHeader: header, Subprotocols: []string{Subprotocol}})
	if err == nil {
		_ = ws.CloseNow()
		s.t.Fatal("it was let in")
	}
	_ = resp.Body.Close()
	return resp
}

// TestDoorCountsAll holds the process to its connections before anybody signs in.
func TestDoorCountsAll(t *testing.T) {
	s := serve(t, func(c *Config) { c.Limits.Connections = 2 })
	one := s.dial("")
	s.dial("")
	if resp := s.refusedBy(nil); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("the third: %s", resp.Status)
	}
	_ = one.ws.CloseNow()
	eventually(t, "there is room again", func() bool {
		ws, _, err := websocket.Dial(t.Context(), s.http.URL+"/ws", &websocket.DialOptions{})
		if err == nil {
			_ = ws.CloseNow()
		}
		return err == nil
	})
	eventually(t, "all is counted", func() bool { return s.gateway.addresses.total() == 1 })
}

// TestDoor refuses connections that are too many or come too fast, before they
// cost anything, and says when to come again.
func TestDoor(t *testing.T) {
	for name, c := range map[string]struct {
		limits Limits
		want   int
	}{
		"of the process":  {Limits{Connections: 2}, 429},
		"of an address":   {Limits{PerAddress: 2}, 429},
		"in a short time": {Limits{HandshakeRate: 1, HandshakeBurst: 2}, 429},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(cfg *Config) { cfg.Limits = c.limits })
			one, two := s.dial("ann"), s.dial("ben")
			for _, p := range []*peer{one, two} { // both are in
				p.ask(1, "session/get", "{}")
				p.hear()
			}
			if resp := s.refusedBy(nil); resp.StatusCode != c.want || resp.Header.Get("Retry-After") == "" {
				t.Errorf("the third: %s %v", resp.Status, resp.Header)
			}
			_ = one.ws.CloseNow()
			s.clock.Advance(10 * time.Second)
			eventually(t, "there is room again", func() bool {
				ws, _, err := websocket.Dial(t.Context(), s.http.URL+"/ws", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer cleo"}}})
				if err == nil {
					_ = ws.CloseNow()
				}
				s.clock.Advance(time.Second)
				return err == nil
			})
		})
	}
}

// TestReplaced has the oldest of too many connections of one person go.
func TestReplaced(t *testing.T) {
	s := serve(t, func(c *Config) { c.Limits.PerUser = 2 })
	var peers []*peer
	for range 3 {
		p := s.dial("ann")
		p.ask(1, "session/get", "{}")
		p.hear()
		peers = append(peers, p)
	}
	if _, err := peers[0].next(); websocket.CloseStatus(err) != websocket.StatusCode(CodeReplaced) {
		t.Errorf("the oldest: %v", err)
	}
	for _, p := range peers[1:] {
		p.ask(2, "session/get", "{}")
		p.hear()
	}
	if n := s.gateway.Stats().Sessions; n != 2 {
		t.Errorf("%d sessions are counted", n)
	}
}

// TestGuessing slows an address down whose credentials are refused again and again.
func TestGuessing(t *testing.T) {
	s := serve(t, func(c *Config) { c.Limits.HandshakeRate, c.Limits.HandshakeBurst = 1, 25 })
	statuses := map[int]int{}
	for range 10 {
		statuses[s.get("bad").StatusCode]++
	}
	if statuses[401] > 5 || statuses[429] < 5 {
		t.Errorf("answers by status: %v", statuses)
	}
	s.clock.Advance(time.Minute)
	if resp := s.get("ann"); resp.StatusCode != http.StatusOK {
		t.Errorf("a minute later: %s", resp.Status)
	}
}

// TestHTTPRate holds one person to so many requests a second, whatever they come by.
func TestHTTPRate(t *testing.T) {
	s := serve(t, func(c *Config) { c.Limits.Rate, c.Limits.Burst = 10, 20 })
	statuses := map[int]int{}
	for range 30 {
		statuses[s.get("ann").StatusCode]++
	}
	if statuses[200] != 20 || statuses[429] != 10 || s.get("ben").StatusCode != http.StatusOK {
		t.Errorf("answers by status: %v", statuses)
	}
}

// get reads an account by HTTP.
func (s *server) get(token string) *http.Response {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.http.URL+"/api/cloud-user/get-account", http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp
}

// TestAddress believes only proxies that it trusts, and counts a whole network
// of the newer kind as one.
func TestAddress(t *testing.T) {
	g := New(Config{Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	for name, c := range map[string]struct{ remote, forwarded, want string }{
		"direct":                {"192.0.2.7:1234", "", "192.0.2.7"},
		"lies":                  {"192.0.2.7:1234", "198.51.100.1", "192.0.2.7"},
		"by a proxy":            {"10.1.2.3:1234", "198.51.100.1", "198.51.100.1"},
		"lies, by a proxy":      {"10.1.2.3:1234", "203.0.113.9, 198.51.100.1", "198.51.100.1"},
		"by two proxies":        {"10.1.2.3:1234", "198.51.100.1, 10.9.9.9", "198.51.100.1"},
		"rubbish, by a proxy":   {"10.1.2.3:1234", "unknown", "10.1.2.3"},
		"the newer kind":        {"[2001:db8:1:2:3:4:5:6]:99", "", "2001:db8:1:2::/64"},
		"the older in disguise": {"[::ffff:192.0.2.7]:99", "", "192.0.2.7"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		r.RemoteAddr = c.remote
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if got := g.address(r); got != c.want {
			t.Errorf("%s: %s, not %s", name, got, c.want)
		}
	}
}

// TestCORS shares answers with the sites that are allowed, letter by letter.
func TestCORS(t *testing.T) {
	s := serve(t, func(c *Config) { c.Origins = []string{"https://friend.example"} })
	for origin, shared := range map[string]bool{
		"https://friend.example": true, "http://friend.example": false, "https://friend.example.evil": false, "https://FRIEND.example": false, "null": false, "*": false,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, s.http.URL+"/api/cloud-user/get-account", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", origin)
		req.Header.Set("Access-Control-Request-Method", "POST")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		h := resp.Header
		if got := h.Get("Access-Control-Allow-Origin"); (got == origin) != shared || !shared && got != "" || !strings.Contains(strings.Join(h.Values("Vary"), ","), "Origin") {
			t.Errorf("%s: shared with %q, vary %v", origin, got, h.Values("Vary"))
		}
		if shared && (resp.StatusCode != http.StatusNoContent || !strings.Contains(h.Get("Access-Control-Allow-Headers"), "Idempotency-Key")) {
			t.Errorf("%s: %s %v", origin, resp.Status, h)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Content-Security-Policy") == "" {
			t.Errorf("%s: %v", origin, h)
		}
	}
}

// TestRevokedOnTheWayIn looks again at somebody whose access changes while they
// are let in.
func TestRevokedOnTheWayIn(t *testing.T) {
	var s *server
	asked := 0
	s = serve(t, func(c *Config) {
		identify := c.Identify
		c.Identify = func(ctx context.Context, shown Credential) (Principal, error) {
			if asked++; asked == 1 {
				s.gateway.Revoke(&taskv1.AccessChanged{Subject: "ann", Suspended: true})
				return identify(ctx, shown)
			}
			return identify(ctx, Credential{Bearer: "bad"})
		}
	})
	if _, err := s.dial("ann").next(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nobody is in", func() bool { return s.gateway.Stats().Sessions == 0 })
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
}

// TestRecent refuses what cannot be taken back to a token that is older than a
// quarter of an hour, on a connection that is open, until it is refreshed.
func TestRecent(t *testing.T) {
	s := serve(t, func(c *Config) { c.Limits.PingAfter = 24 * time.Hour })
	grant := func(id string) string {
		ms := s.clock.Now().UnixMilli()
		command := fmt.Sprintf("%08x-%04x-7000-8000-00000000000%s", ms>>16, ms&0xffff, id)
		return `{"jsonrpc":"2.0","id":` + id + `,"method":"cloud-operator/grant-credit","meta":{"commandId":"` + command + `"},"params":{"userId":"ben","amount":"1"}}`
	}
	p := s.dial("ann 7200")
	p.send(grant("1"))
	if f := p.hear(); f.Error != nil {
		t.Errorf("at once: %+v", f)
	}
	s.clock.Advance(16 * time.Minute)
	p.send(grant("2"))
	if f := p.hear(); f.reason() != "TOKEN_TOO_OLD" {
		t.Errorf("after 16 minutes: %+v", f)
	}
	p.ask(3, "session/refresh", `{"accessToken":"ann 7200"}`)
	p.hear()
	p.send(grant("4"))
	if f := p.hear(); f.Error != nil {
		t.Errorf("with a newer token: %+v", f)
	}
}
