package storetest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

func mustBeHalted(t *testing.T, s persistence.Store, want string) {
	t.Helper()
	all, err := s.HaltedEntities(t.Context())
	check(t, err)
	if got := fmt.Sprint(all); got != want {
		t.Fatalf("halted: %s, want %s", got, want)
	}
}

func checkHalt(t *testing.T, s persistence.Store) {
	bob := persistence.Entity{Kind: "user", ID: "bob"}
	mustCommit(t, s, step(ann, 0), step(bob, 0))
	epoch := s.Epoch()
	check(t, s.Halt(t.Context(), ann, "it went back"))
	check(t, s.Halt(t.Context(), ann, "again"))
	never := persistence.Entity{Kind: "node", ID: "never"}
	check(t, s.Halt(t.Context(), never, "odd"))
	mustBeHalted(t, s, "[{node/never odd} {user/ann it went back}]")
	mustFail(t, s, step(ann, 1), persistence.ErrLost)
	mustFail(t, s, step(ann, 0), persistence.ErrLost) // not even its own earlier success
	mustFail(t, s, step(never, 0), persistence.ErrLost)
	mustCommit(t, s, step(bob, 1))
	l, err := s.Load(t.Context(), ann)
	check(t, err)
	if l.Halted != "it went back" || l.Version != 1 || journal(l) != "1=e1" {
		t.Fatalf("loaded %+v", l)
	}
	if s.Epoch() != epoch {
		t.Fatal("halting renamed the history")
	}

	check(t, s.Clear(t.Context(), bob)) // nothing to clear: nothing changes
	if s.Epoch() != epoch {
		t.Fatal("clearing what was not halted renamed the history")
	}
	check(t, s.Clear(t.Context(), ann))
	if s.Epoch() == epoch || s.Epoch() == "" {
		t.Fatalf("the history is still called %q", s.Epoch())
	}
	mustBeHalted(t, s, "[{node/never odd}]")
	mustCommit(t, s, step(ann, 1))
	if l, err = s.Load(t.Context(), ann); err != nil || l.Halted != "" || l.Version != 2 {
		t.Fatalf("loaded %+v, %v", l, err)
	}
	if err := s.Halt(t.Context(), persistence.Entity{Kind: "user"}, "x"); !errors.Is(err, persistence.ErrInvalid) {
		t.Fatalf("an entity without an id: %v", err)
	}
}
