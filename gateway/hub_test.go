package gateway

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// actor is a scripted actor with one STATE stream, as the entity is one: what
// it says and what it answers come in one order.
type actor struct {
	s       *server
	mu      sync.Mutex
	version uint64 // committed
	shown   uint64 // pushed last
	deaf    bool   // what it says is lost
}

// on lets the actor answer for the account.
func (a *actor) on(s *server) *actor {
	a.s, a.version, a.shown = s, 1, 1
	s.cast.mu.Lock()
	defer s.cast.mu.Unlock()
	s.cast.answer = func(req *clusterv1.Request) *clusterv1.Response {
		if strings.Contains(req.GetMethod(), "WatchAccount") {
			return nil
		}
		return account(req, 1)
	}
	return a
}

// commit makes a version; one that shows is pushed.
func (a *actor) commit(shows bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.version++
	if !shows {
		return
	}
	f := frame(a.version, a.shown)
	a.shown = a.version
	if !a.deaf {
		a.s.push("ann", f)
	}
}

// answer answers the watches that wait, in the order of everything else.
func (a *actor) answer() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.s.cast.mu.Lock()
	watches := a.s.cast.watch[len(a.s.cast.watch)-len(a.s.cast.kept):]
	a.s.cast.mu.Unlock()
	i := 0
	a.s.cast.release(func(*clusterv1.Request) *clusterv1.Response {
		from := watches[i]
		i++
		w := &clusterv1.Watching{Recovered: true, Version: a.version, Epoch: "e"}
		if !from.GetResume() || from.GetVersion() < a.shown {
			w.Frames = []*clusterv1.Frame{frame(a.version, from.GetVersion())}
		}
		return watching(w)
	})
}

// join has a peer watch and waits until the question is there.
func (a *actor) join(p *peer, id int, after string) {
	params := "{}"
	if after != "" {
		params = `{"after":"` + after + `"}`
	}
	before := a.s.cast.waiting()
	p.ask(id, "cloud-user/watch-account", params)
	eventually(p.t, "the question is there", func() bool { return a.s.cast.waiting() == before+1 })
}

// position is where a peer is, who holds each push to it.
func (p *peer) follow(at, want string) string {
	p.t.Helper()
	for at != want {
		f := p.hear()
		switch {
		case f.ID != nil && f.Result["position"] != nil:
			at, _ = f.Result["position"].(string)
		case f.Params.Previous != at:
			p.t.Fatalf("a push follows %s, but the session is at %s", f.Params.Previous, at)
		default:
			at = f.Params.Position
		}
	}
	return at
}

// TestOneWatchForAll asks an actor once for each session that begins, renews
// once for all of them, and pushes the same bytes to each.
func TestOneWatchForAll(t *testing.T) {
	s := serve(t, func(c *Config) { c.Limits.Renew = 64 * 20 * time.Millisecond })
	peers := make([]*peer, 12)
	for i := range peers {
		peers[i] = s.dial("ann")
		peers[i].ask(1, "cloud-user/watch-account", "{}")
		peers[i].hear()
	}
	if st := s.gateway.Stats().Hub; st.Topics != 1 {
		t.Fatalf("%d topics for one stream", st.Topics)
	}
	s.push("ann", frame(2, 1))
	for _, p := range peers {
		p.follow("e.1", "e.2")
	}
	if st := s.gateway.Stats().Hub; st.Pushes != 1 || st.Frames != uint64(len(peers)) {
		t.Errorf("one push became %+v", st)
	}
	renewals := func() (n int) {
		for _, w := range s.cast.watches() {
			if w.GetRenewal() {
				n++
			}
		}
		return n
	}
	eventually(t, "the watch was renewed", func() bool { return renewals() > 0 })
	for _, w := range s.cast.watches() {
		if w.GetRenewal() && (!w.GetResume() || w.GetVersion() < 1 || w.GetEpoch() != "e") {
			t.Errorf("renewed as %v", w)
		}
	}
	for i, p := range peers {
		if i%2 == 0 {
			p.send(`{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":1}}`)
		} else {
			_ = p.ws.CloseNow()
		}
	}
	eventually(t, "nobody hears it, nobody asks for it", func() bool { return s.gateway.Stats().Hub.Topics == 0 })
}

// TestJoinWhilePushesFly begins and ends sessions at every moment, among
// commits that show and commits that do not. Every push a session hears names
// the position it is at.
func TestJoinWhilePushesFly(t *testing.T) {
	s := serve(t, nil)
	a := (&actor{}).on(s)
	first, second, third := s.dial("ann"), s.dial("ann"), s.dial("ann")
	a.join(first, 1, "")
	a.commit(true) // before the answer
	a.answer()
	at := first.follow("", "e.2")
	a.commit(false) // version 3 shows nowhere
	a.join(second, 1, "")
	a.answer() // and yet the second is shown version 3
	a.commit(true)
	a.join(third, 1, "e.2")
	a.commit(true)
	a.answer()
	a.commit(true)
	first.follow(at, "e.6")
	second.follow("", "e.6")
	third.follow("", "e.6")
	if g := s.gateway.Stats().Hub.Gaps; g != 0 {
		t.Errorf("%d gaps where nothing was lost", g)
	}
}

// TestGapHeals asks again when a push was lost, at once.
func TestGapHeals(t *testing.T) {
	s := serve(t, nil)
	a := (&actor{}).on(s)
	p := s.dial("ann")
	a.join(p, 1, "")
	a.answer()
	a.deaf = true
	a.commit(true)
	a.commit(true)
	a.deaf = false
	a.commit(true) // version 4 follows 3, and 1 was heard last
	eventually(t, "the hub asks", func() bool { return s.cast.waiting() == 1 })
	a.commit(true)
	a.commit(true) // one question is enough
	a.answer()
	p.follow("", "e.6")
	if n := s.cast.waiting(); n != 0 {
		t.Errorf("%d more questions wait", n)
	}
	s.push("ann", nil) // the actor leaves
	eventually(t, "it is watched again", func() bool { return s.cast.waiting() == 1 })
	a.answer()
	a.commit(true)
	p.follow("e.6", "e.7")
}

// TestPushBeforeReply lets no reply overtake what its actor said before it, on
// any of the streams that the session hears of it.
func TestPushBeforeReply(t *testing.T) {
	s := serve(t, nil)
	peers := make([]*peer, inline+4) // so many that others sweep
	for i := range peers {
		peers[i] = s.dial("ann")
		for n, m := range []string{"cloud-user/watch-account", "cloud-user/watch-notifications"} {
			peers[i].ask(n+1, m, "{}")
			peers[i].hear()
		}
	}
	notify := messages.ByPath("cloud-user/watch-notifications").Name
	version := uint64(1)
	s.cast.mu.Lock()
	s.cast.answer = func(req *clusterv1.Request) *clusterv1.Response { // each read commits first
		if messages.ByName(req.GetMethod()).Streams() { // a renewal
			return watching(&clusterv1.Watching{Recovered: true, Version: version, Epoch: "e"})
		}
		version++
		s.push("ann", frame(version, version-1))
		payload := reply(&marketplacev1.WatchNotificationsResponse{}, 0).GetPayload()
		s.gateway.Hub().Push(&clusterv1.Push{Kind: "user", Id: "ann", Method: notify, Epoch: "e", Frame: &clusterv1.Frame{Version: version, Previous: version - 1, Payload: payload}})
		return account(req, version)
	}
	s.cast.mu.Unlock()
	const reads = 200
	const open = 32
	for i := range open {
		peers[0].ask(10+i, "cloud-user/get-account", "{}")
	}
	heard := map[string]int{}
	for answered := 0; answered < reads; {
		f := peers[0].hear()
		if f.ID == nil {
			heard[f.Method]++
			continue
		}
		if *f.ID != 10+answered {
			t.Fatalf("answer %d came as number %d", *f.ID-10, answered)
		}
		answered++
		peers[0].ask(10+open-1+answered, "cloud-user/get-account", "{}")
		for _, m := range []string{"cloud-user/watch-account", "cloud-user/watch-notifications"} {
			if heard[m] < answered {
				t.Fatalf("answer %d came before the push of its commit on %s", answered, m)
			}
		}
	}
}
