package memstore

import (
	"errors"
	"iter"
	"testing"

	backupv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/backup/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/storetest"
)

func open(t *testing.T) persistence.Store {
	s := New(Options{})
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func restore(t *testing.T, parts iter.Seq2[*backupv1.Part, error]) persistence.Store {
	s := New(Options{})
	t.Cleanup(func() { _ = s.Close() })
	for p, err := range parts {
		if err := errors.Join(err, s.Fill(p)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// TestContract holds the store to what every store promises.
func TestContract(t *testing.T) {
	storetest.Run(t, open, restore, nil)
}

// TestPubSub holds it to what Watermill asks.
func TestPubSub(t *testing.T) {
	storetest.RunPubSub(t, open)
}

// TestFaults holds each fault to what it says.
func TestFaults(t *testing.T) {
	fault := None
	s := New(Options{Fault: func(*persistence.Commit) Fault { return fault }, Schedule: func(step func()) { step() }})
	e := persistence.Entity{Kind: "k", ID: "a"}
	for i, c := range []struct {
		fault   Fault
		expect  uint64
		id      string
		want    error
		version uint64
	}{
		{None, 0, "a", nil, 1},
		{LostCommit, 1, "b", persistence.ErrUnknown, 1},
		{Overloaded, 1, "b", persistence.ErrOverloaded, 1},
		{LostAnswer, 1, "b", persistence.ErrUnknown, 2},
		{None, 1, "b", nil, 2}, // the same again: it had been stored
		{LostAnswer, 1, "c", persistence.ErrStale, 2},
	} {
		fault = c.fault
		var got error
		s.Commit(&persistence.Commit{Entity: e, Expect: c.expect, ID: c.id, Events: []byte(c.id)}, func(err error) { got = err })
		l, err := s.Load(t.Context(), e)
		if !errors.Is(got, c.want) || err != nil || l.Version != c.version {
			t.Errorf("step %d: %v, version %d, not %v, version %d", i, got, l.Version, c.want, c.version)
		}
	}
}

// TestRestore holds a store that lost its end to saying so.
func TestRestore(t *testing.T) {
	s := New(Options{Schedule: func(step func()) { step() }})
	e := persistence.Entity{Kind: "k", ID: "a"}
	commit := func(expect uint64, id string) (got error) {
		s.Commit(&persistence.Commit{Entity: e, Expect: expect, ID: id, Events: []byte(id), Out: []persistence.Message{{Topic: "t"}}}, func(err error) { got = err })
		return got
	}
	first := commit(0, "a")
	backup, epoch := s.Copy(), s.Epoch()
	if err := errors.Join(first, commit(1, "b")); err != nil {
		t.Fatal(err)
	}
	s.Restore(backup, "")
	if err := commit(2, "c"); !errors.Is(err, persistence.ErrLost) {
		t.Errorf("a commit after what was lost: %v", err)
	}
	if s.Epoch() != epoch {
		t.Error("a store that does not know of its loss changed its epoch")
	}
	if s.Restore(backup, "new"); s.Epoch() != "new" {
		t.Error("a restored store keeps its epoch")
	}
	if end, err := s.End(t.Context(), "t"); err != nil || end != persistence.FormatPosition(1) {
		t.Errorf("the topic ends at %s: %v", end, err)
	}
}
