package storetest

import (
	"testing"
	"time"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// checkReopen stores one of everything and looks for it in the store opened again.
func checkReopen(t *testing.T, s persistence.Store, reopen Reopen) {
	bob := persistence.Entity{Kind: "user", ID: "bob"}
	fill(t, s, ann)
	c := withSnapshot(step(ann, 3), "four")
	c.Out = []persistence.Message{out("t", "hello")}
	mustCommit(t, s, c, withSnapshot(step(ann, 4), "five"), step(ann, 5))
	mustCommit(t, s, wakeAt(step(bob, 0), noon))
	epoch := s.Epoch()
	if epoch == "" {
		t.Fatal("no epoch")
	}

	s = reopen(t, s)
	if s.Epoch() != epoch {
		t.Errorf("epoch %s, was %s", s.Epoch(), epoch)
	}
	mustLoad(t, s, ann, 6, "4=four 5=five", "5=e5 6=e6")
	items, _, err := s.Page(t.Context(), ann, "a", "", 10)
	check(t, err)
	if got := places(items); got != "3-1= 3-0=s 2-1=r 2-0=q 1-0=p" {
		t.Errorf("list %s", got)
	}
	if ms := readAll(t, s, "t", 10); len(ms) != 1 || string(ms[0].Payload) != "hello" {
		t.Errorf("topic %+v", ms)
	}
	mustBeDue(t, s, noon, time.Second, "bob")
	// The last commit is still known by its id.
	mustCommit(t, s, step(ann, 5))
	mustFail(t, s, step(ann, 4), persistence.ErrStale)
	mustCommit(t, s, step(ann, 6))
	refs, _, err := s.Entities(t.Context(), "user", "", 10)
	check(t, err)
	if len(refs) != 2 || refs[0].Version != 7 || refs[1].Version != 1 {
		t.Errorf("entities %+v", refs)
	}

	_, err = s.SwapKey(t.Context(), bob, nil, []byte("key"))
	check(t, err)
	check(t, s.Halt(t.Context(), bob, "odd"))
	check(t, s.Halt(t.Context(), ann, "odd"))
	check(t, s.Clear(t.Context(), bob))
	epoch = s.Epoch()
	s = reopen(t, s)
	mustBeHalted(t, s, "[{user/ann odd}]")
	if l, err := s.Load(t.Context(), bob); err != nil || string(l.Key) != "key" {
		t.Errorf("loaded %+v, %v", l, err)
	}
	if s.Epoch() != epoch {
		t.Errorf("epoch %s, was renamed %s", s.Epoch(), epoch)
	}
}

// checkReopenGroups closes the store in good order: then also cursors are kept.
func checkReopenGroups(t *testing.T, s persistence.Store, reopen Reopen) {
	at := publish(t, s, "t", 3)
	check(t, s.Advance(t.Context(), "g", "t", at[1]))
	mustCommit(t, s, wakeAt(step(ann, 0), noon))
	mustBeDue(t, s, noon, time.Hour, "ann")

	s = reopen(t, s)
	mustStand(t, s, "g", "t", at[1])
	ms, err := s.Read(t.Context(), "t", at[1], 10)
	check(t, err)
	if len(ms) != 1 || ms[0].Position != at[2] {
		t.Errorf("after the cursor: %+v", ms)
	}
	mustBeDue(t, s, noon, time.Hour)
	mustBeDue(t, s, noon.Add(time.Hour), time.Hour, "ann")
}
