package actors_test

import (
	"slices"
	"testing"

	"github.com/threefoldtech/cloud-marketplace/actors/audit"
	"github.com/threefoldtech/cloud-marketplace/actors/inbox"
	"github.com/threefoldtech/cloud-marketplace/messages"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/memstore"
)

// TestAuditOfPoison knows what operators did with poison, and what nobody can
// have done.
func TestAuditOfPoison(t *testing.T) {
	s := memstore.New(memstore.Options{})
	t.Cleanup(func() { _ = s.Close() })
	p := inbox.Poison{Store: s}
	for range 2 {
		if err := s.Append(t.Context(), []persistence.Message{{Topic: messages.TopicPoison, Payload: []byte("x")}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Replay(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Drop(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	check := func(want ...string) {
		t.Helper()
		r, err := audit.Verify(t.Context(), s, nil)
		if err != nil || !slices.Equal(r.Faults, want) {
			t.Errorf("the audit found %q, %v", r.Faults, err)
		}
	}
	check()
	for _, c := range []*persistence.Commit{
		{Entity: persistence.Entity{Kind: inbox.PoisonKind, ID: "1"}, ID: "a", Events: []byte("dropped")},
		{Entity: persistence.Entity{Kind: inbox.PoisonKind, ID: "00000000000000000002"}, Expect: 1, ID: "b", Events: []byte("dropped")},
		{Entity: persistence.Entity{Kind: inbox.PoisonKind, ID: "00000000000000000003"}, ID: "c", Events: []byte("eaten")},
	} {
		done := make(chan error, 1)
		s.Commit(c, func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	check("poison/00000000000000000002: dealt with 2 times", `poison/00000000000000000003: nobody knows what "eaten" is`, `poison/1: "1" is not a position`)
}
