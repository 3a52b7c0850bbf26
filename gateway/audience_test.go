package gateway

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// TestListeners asks audiences whom they are.
func TestListeners(t *testing.T) {
	ann := Principal{Subject: "ann", Region: "Europe", Roles: []optionsv1.Role{optionsv1.Role_ROLE_CLOUD_USER}}
	for _, c := range []struct {
		audience *optionsv1.Audience
		want     bool
	}{
		{nil, true},
		{&optionsv1.Audience{}, true},
		{&optionsv1.Audience{UserIds: []string{"bob", "ann"}}, true},
		{&optionsv1.Audience{UserIds: []string{"bob"}}, false},
		{&optionsv1.Audience{Regions: []string{"Asia", "EUROPE"}}, true},
		{&optionsv1.Audience{Regions: []string{"Asia"}}, false},
		{&optionsv1.Audience{Roles: []optionsv1.Role{optionsv1.Role_ROLE_CLOUD_USER}}, true},
		{&optionsv1.Audience{Roles: []optionsv1.Role{optionsv1.Role_ROLE_CLOUD_OPERATOR}}, false},
		{&optionsv1.Audience{Regions: []string{"Europe"}, UserIds: []string{"ann"}}, true},
		{&optionsv1.Audience{Regions: []string{"Asia"}, UserIds: []string{"ann"}}, false},
		{&optionsv1.Audience{Roles: []optionsv1.Role{optionsv1.Role_ROLE_CLOUD_PROVIDER}, Regions: []string{"Europe"}}, false},
	} {
		if got := listenersOf(c.audience).include(&ann, "europe"); got != c.want {
			t.Errorf("%v includes ann: %v", c.audience, got)
		}
	}
	nobody := Principal{Subject: "bob"}
	if listenersOf(&optionsv1.Audience{Regions: []string{"Europe"}}).include(&nobody, "") {
		t.Error("who has no region is in Europe")
	}
}

// forAll and forAnn are two broadcasts.
var (
	forAll = &marketplacev1.Broadcast{BroadcastId: "all", Text: "hello all"}
	forAnn = &marketplacev1.Broadcast{BroadcastId: "ann", Text: "hello ann", Audience: &optionsv1.Audience{UserIds: []string{"ann", "secret"}}}
)

// speak has the broadcasting actor show what is live.
func (s *server) speak(method string, version uint64, body proto.Message) {
	s.t.Helper()
	b, err := proto.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	s.gateway.Hub().Push(&clusterv1.Push{
		Kind: "broadcast", Id: "marketplace", Method: messages.ByPath(method).Name, Epoch: "e",
		Frame: &clusterv1.Frame{Version: version, Previous: version - 1, Payload: b},
	})
}

// raw returns the next frame as it came.
func (p *peer) raw() string {
	p.t.Helper()
	_, b, err := p.ws.Read(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

// TestAudience pushes, on either kind of stream, to everyone at once: each hears
// what is for each, all hear the position, and nobody hears of the others.
func TestAudience(t *testing.T) {
	for _, c := range []struct {
		method string
		body   proto.Message
	}{
		{"session/watch-active-broadcasts", &marketplacev1.WatchActiveBroadcastsResponse{Broadcasts: []*marketplacev1.Broadcast{forAll, forAnn}}},
		{"session/watch-broadcasts", &marketplacev1.WatchBroadcastsResponse{Broadcasts: []*marketplacev1.Broadcast{forAll, forAnn}}},
	} {
		t.Run(c.method, func(t *testing.T) {
			s := serve(t, nil)
			ann, bobs := s.dial("ann"), []*peer{s.dial("bob"), s.dial("bob"), s.dial("carl")}
			for _, p := range append(bobs, ann) {
				p.ask(1, c.method, "{}")
				p.hear()
			}
			s.speak(c.method, 2, c.body)
			said := ann.raw()
			if !strings.Contains(said, "hello all") || !strings.Contains(said, "hello ann") || strings.Contains(said, "secret") || strings.Contains(said, "audience") {
				t.Errorf("ann hears %s", said)
			}
			first := bobs[0].raw()
			if !strings.Contains(first, "hello all") || strings.Contains(first, "ann") || !strings.Contains(first, `"position":"e.2"`) {
				t.Errorf("bob hears %s", first)
			}
			for _, p := range bobs[1:] {
				if other := p.raw(); other != first {
					t.Errorf("another hears %s", other)
				}
			}
			if n := s.gateway.Stats().Hub.Editions; n != 2 {
				t.Errorf("what four hear, of two kinds, was encoded %d times", n)
			}
			s.speak(c.method, 3, c.body)
			ann.raw()
			again := map[string]uint64{"session/watch-active-broadcasts": 1, "session/watch-broadcasts": 2}[c.method] // a view is the same again
			eventually(t, "it is counted", func() bool {
				return s.gateway.Delivered("all") == 4*again && s.gateway.Delivered("ann") == again && s.gateway.Delivered("none") == 0
			})
		})
	}
}

// TestAudienceOfWhoComesLater greets with what is for each, and counts it once.
func TestAudienceOfWhoComesLater(t *testing.T) {
	s := serve(t, nil)
	view, err := proto.Marshal(&marketplacev1.WatchActiveBroadcastsResponse{Broadcasts: []*marketplacev1.Broadcast{forAll, forAnn}})
	if err != nil {
		t.Fatal(err)
	}
	s.cast.answer = func(*clusterv1.Request) *clusterv1.Response {
		return watching(&clusterv1.Watching{Recovered: true, Version: 1, Epoch: "e", Frames: []*clusterv1.Frame{{Version: 1, Payload: view}}})
	}
	for i, who := range []string{"ann", "bob"} {
		p := s.dial(who)
		p.ask(1, "session/watch-active-broadcasts", "{}")
		p.hear()
		if said := p.raw(); strings.Contains(said, "hello ann") != (who == "ann") || strings.Contains(said, "audience") {
			t.Errorf("%s hears %s", who, said)
		}
		eventually(t, "it is counted", func() bool { return s.gateway.Delivered("all") == uint64(i)+1 })
	}
	s.speak("session/watch-active-broadcasts", 2, &marketplacev1.WatchActiveBroadcastsResponse{Broadcasts: []*marketplacev1.Broadcast{forAll}})
	s.speak("session/watch-active-broadcasts", 3, &marketplacev1.WatchActiveBroadcastsResponse{})
	if n := s.gateway.Delivered("all"); n != 2 {
		t.Errorf("what was shown already counts as %d", n)
	}
}

// TestAudienceOfReads answers reads with what is for the caller, on either door.
func TestAudienceOfReads(t *testing.T) {
	s := serve(t, func(c *Config) {
		c.Identify = func(_ context.Context, shown Credential) (Principal, error) {
			return Principal{Subject: shown.Bearer, Region: map[string]string{"ann": "europe"}[shown.Bearer], Expires: c.Clock.Now().AddDate(1, 0, 0), Roles: []optionsv1.Role{optionsv1.Role_ROLE_CLOUD_USER}}, nil
		}
	})
	s.cast.answer = func(*clusterv1.Request) *clusterv1.Response {
		return reply(&marketplacev1.ListBroadcastsResponse{NextPageToken: "more", Broadcasts: []*marketplacev1.Broadcast{forAll, {
			BroadcastId: "eu", Text: "hello ann", Audience: &optionsv1.Audience{Regions: []string{"Europe"}},
		}}}, 1)
	}
	for _, who := range []string{"ann", "bob"} {
		p := s.dial(who)
		p.ask(1, "session/list-broadcasts", "{}")
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.http.URL+"/api/session/list-broadcasts", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+who)
		resp, err := s.http.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, said := range []string{p.raw(), string(body)} {
			if strings.Contains(said, "hello ann") != (who == "ann") || strings.Contains(said, "audience") || !strings.Contains(said, `"nextPageToken":"more"`) {
				t.Errorf("%s reads %s", who, said)
			}
		}
	}
}
