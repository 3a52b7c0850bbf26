package entity_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/boltstore"
	"github.com/threefoldtech/cloud-marketplace/persistence/memstore"
)

// TestPassivationRacesWithRequests lets many clients give credit to entities
// that go whenever nobody looks, over a store that fails at random: each grant
// is counted once, and each is answered with what it made of the credit.
func TestPassivationRacesWithRequests(t *testing.T) {
	stores := map[string]func(t *testing.T) persistence.Store{
		"boltstore": func(t *testing.T) persistence.Store {
			s, err := boltstore.Open(filepath.Join(t.TempDir(), "store.db"), boltstore.Options{})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		"memstore that fails": func(*testing.T) persistence.Store {
			return memstore.New(memstore.Options{Fault: func(*persistence.Commit) memstore.Fault {
				if rand.N(10) > 0 {
					return memstore.None
				}
				return memstore.Fault(1 + rand.N(3))
			}})
		},
	}
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(w *world) {
				w.idle, w.store = time.Millisecond, newScript(open(t))
				w.config.SnapshotEvery = 5
			})
			h := &hammer{w: w, given: map[string]int64{}, seen: map[string]bool{}}
			h.run()
			if h.gone == 0 {
				t.Error("nobody was passivated, nothing was tested")
			}
			for id, want := range h.given {
				if got := h.credit(id); got != want {
					t.Errorf("%s has %d, not %d", id, got, want)
				}
			}
		})
	}
}

// hammer gives credit from many sides.
type hammer struct {
	w     *world
	mu    sync.Mutex
	given map[string]int64 // by entity
	seen  map[string]bool  // entity and credit after: no two grants are answered alike
	gone  int
}

func (h *hammer) run() {
	deadline := time.Now().Add(2500 * time.Millisecond)
	var clients sync.WaitGroup
	for range 6 {
		clients.Go(func() {
			for time.Now().Before(deadline) {
				h.give(fmt.Sprintf("user-%d", rand.N(40)))
			}
		})
	}
	clients.Go(func() {
		for live := uint64(0); time.Now().Before(deadline); {
			now := h.w.engine.Stats().Live
			if now < live {
				h.gone++
			}
			live = now
		}
	})
	clients.Wait()
}

func (h *hammer) give(id string) {
	command := messages.NewCommandID()
	req := &marketplacev1.GrantCreditRequest{UserId: id, Amount: 1, Note: "x"}
	answers := []<-chan *clusterv1.Response{h.w.call("", "cloud-operator/grant-credit", "olga-"+id, command, req)}
	if rand.N(3) == 0 { // twice, at once
		answers = append(answers, h.w.call("", "cloud-operator/grant-credit", "olga-"+id, command, req))
	}
	var first []byte
	for _, a := range answers {
		r := <-a
		if r.GetError() != nil {
			h.w.t.Errorf("%s: %v", id, r.GetError())
			return
		}
		if first != nil && string(first) != string(r.GetPayload()) {
			h.w.t.Errorf("%s: a repeat is answered with %q, not %q", id, r.GetPayload(), first)
		}
		first = r.GetPayload()
	}
	r := &marketplacev1.GrantCreditResponse{}
	if err := proto.Unmarshal(first, r); err != nil {
		h.w.t.Error(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.given[id]++
	if key := fmt.Sprint(id, " ", r.GetCredit()); h.seen[key] {
		h.w.t.Errorf("%s was answered twice", key)
	} else {
		h.seen[key] = true
	}
}

func (h *hammer) credit(id string) int64 {
	r := &marketplacev1.GetAccountResponse{}
	h.w.decode(h.w.ok(h.w.call("", "cloud-user/get-account", id, "", &marketplacev1.GetAccountRequest{})), r)
	return r.GetAccount().GetCredit()
}

// TestStopWithCommitsInFlight ends a process in the middle; what its clients
// ask again of the next is counted once.
func TestStopWithCommitsInFlight(t *testing.T) {
	w := newWorld(t)
	var commands []string
	for range 20 {
		w.store.hold()
		commands = append(commands, messages.NewCommandID())
		answer := w.grant(commands[len(commands)-1], 1, "x")
		p := w.store.next(t)
		if rand.N(2) == 0 {
			w.store.Store.Commit(p.Commit, func(error) {}) // stored, and nobody hears of it
		}
		w.stop()
		w.store.flow()
		if reason := w.refused(answer); reason != "ACTOR_TIMEOUT" {
			t.Fatalf("what nobody knows is told as %s", reason)
		}
		w.start()
		w.ok(w.grant(commands[len(commands)-1], 1, "x"))
	}
	if a := w.account(); a.GetCredit() != int64(len(commands)) {
		t.Errorf("the credit is %d, not %d", a.GetCredit(), len(commands))
	}
}
