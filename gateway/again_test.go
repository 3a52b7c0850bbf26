package gateway

import (
	"fmt"
	"testing"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// TestSubscribedAgainAtOnce hears every push once after a stream was asked for,
// cancelled and asked for again before the first answer, while another hears it.
func TestSubscribedAgainAtOnce(t *testing.T) {
	s := serve(t, nil)
	a := (&actor{}).on(s)
	other, p := s.dial("ann"), s.dial("ann")
	a.join(other, 1, "")
	a.answer()
	other.follow("", "e.1")
	a.join(p, 1, "")
	p.send(cancelOne)
	a.join(p, 2, "")
	a.answer()
	p.ask(3, "session/get", "{}")
	for {
		f := p.hear()
		if f.ID != nil && *f.ID == 3 {
			break
		}
	}
	a.commit(true)
	other.follow("e.1", "e.2")
	p.ask(4, "session/get", "{}")
	n := 0
	for {
		f := p.hear()
		if f.ID != nil && *f.ID == 4 {
			break
		}
		n++
	}
	if n != 1 {
		t.Errorf("one push was heard %d times", n)
	}
}

// heardBy is how many hear ann's account; -1 while something is being said there.
func (s *server) heardBy() int {
	m := messages.ByPath("cloud-user/watch-account")
	k := topicKey{topicAddress{"user", "ann"}, m.Name}
	shard := s.gateway.hub.shard(k)
	shard.mu.Lock()
	t := shard.topics[k]
	shard.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sweeping {
		return -1
	}
	return len(t.subscribers)
}

// TestAskedForAgainBySlowReader ends with the newest view, also for a slow reader
// who gave the stream up and asked for it again while older views wait.
func TestAskedForAgainBySlowReader(t *testing.T) {
	s := serve(t, nil)
	shown := uint64(1)
	s.cast.answer = func(req *clusterv1.Request) *clusterv1.Response {
		return watching(&clusterv1.Watching{Recovered: true, Version: shown, Epoch: "e", Frames: []*clusterv1.Frame{frame(shown, 0)}})
	}
	other := s.dial("ann") // keeps the topic
	other.ask(1, "cloud-user/watch-account", "{}")
	other.hear()
	other.hear()
	go func() {
		for {
			if _, err := other.next(); err != nil {
				return
			}
		}
	}()
	p := s.dial("ann")
	p.ask(1, "cloud-user/watch-account", "{}")
	p.hear()
	p.hear()
	big := func(v uint64) {
		f := frame(v, v-1)
		f.Payload = reply(&marketplacev1.WatchAccountResponse{Account: &marketplacev1.Account{UserId: note, Credit: int64(v)}}, v).GetPayload()
		s.push("ann", f)
	}
	v := uint64(1)
	for range 300 {
		v++
		big(v)
	}
	shown = v
	answered := s.cast.watches()
	p.send(cancelOne)
	p.ask(2, "cloud-user/watch-account", "{}")
	eventually(t, "the question was asked", func() bool { return len(s.cast.watches()) > len(answered) })
	both := func() bool { return s.heardBy() == 2 }
	eventually(t, "both hear the stream", both)
	v++
	s.push("ann", frame(v, v-1)) // the last thing that happens: a client must end with this
	eventually(t, "it is said", both)
	p.ask(3, "session/get", "{}")
	joined, at := false, ""
	for {
		f := p.hear()
		if f.ID != nil && *f.ID == 3 {
			break
		}
		if f.ID != nil && *f.ID == 2 {
			joined = true
			at = ""
		} else {
			at = f.Params.Position
		}
	}
	if !joined || at != fmt.Sprintf("e.%d", v) {
		t.Errorf("after the answer to the second subscription the last view is %s, the truth is e.%d", at, v)
	}
}
