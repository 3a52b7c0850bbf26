package entity_test

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/actors/user"
	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// put commits beside the entity, as another owner would.
func (w *world) put(c *persistence.Commit) {
	w.t.Helper()
	c.Entity, c.Expect, c.ID = persistence.Entity{Kind: "user", ID: who}, w.stored().Version, messages.NewCommandID()
	done := make(chan error, 1)
	w.store.Store.Commit(c, func(err error) { done <- err })
	if err := within(w.t, done, "the commit"); err != nil {
		w.t.Fatal(err)
	}
}

// TestDamagedSnapshot goes the longer way from the snapshot before, or from the
// first event, and gives up only where there is no other way.
func TestDamagedSnapshot(t *testing.T) {
	w := newWorld(t, func(w *world) { w.config.SnapshotEvery = 3 })
	w.granted(1, "a")
	w.granted(2, "b")
	empty, err := proto.Marshal(&journalv1.Snapshot{Schema: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"not a snapshot", "", string(empty)} { // each takes the place of the one before
		w.put(&persistence.Commit{Snapshot: []byte(bad)})
		w.restart()
		if a := w.account(); a.GetCredit() != 3 || w.runtime.Stats().Damaged != 1 {
			t.Errorf("from the snapshot %q the credit is %d, not 3; %d damaged", bad, a.GetCredit(), w.runtime.Stats().Damaged)
		}
	}
	w.granted(3, "c") // a snapshot of its own
	if l := w.stored(); len(l.Snapshots) != 2 || l.Snapshots[1].Version != 3 {
		t.Fatalf("snapshots %v", l.Snapshots)
	}
	w.granted(4, "d")
	state := bytes.Clone(w.stored().Snapshots[1].Data)
	state[len(state)/2] ^= 1
	w.put(&persistence.Commit{Snapshot: state})
	w.restart()
	if a := w.account(); a.GetCredit() != 10 || w.runtime.Stats().Damaged != 1 || w.runtime.Stats().Lost != 0 {
		t.Errorf("from the older snapshot the credit is %d, not 10; %d damaged", a.GetCredit(), w.runtime.Stats().Damaged)
	}
	w.granted(5, "e") // mends it: the next snapshot follows at once
	if l := w.stored(); l.Snapshots[1].Version != l.Version {
		t.Errorf("the newest snapshot is of %d, not %d", l.Snapshots[1].Version, l.Version)
	}

	w.put(&persistence.Commit{Events: w.stored().Tail[0].Events, Snapshot: state})
	w.put(&persistence.Commit{Events: w.stored().Tail[0].Events, Snapshot: state})
	w.restart()
	if reason := w.refused(w.read()); reason != "ACTOR_UNAVAILABLE" || w.runtime.Stats().Lost != 1 {
		t.Errorf("without a good snapshot and the journal before it: %s, %d lost", reason, w.runtime.Stats().Lost)
	}
}

// TestDamagedBatch changes each byte of a batch, in turn: whatever it says then is
// not taken for what was written.
func TestDamagedBatch(t *testing.T) {
	w := newWorld(t)
	w.granted(5, "a")
	l := w.stored()
	whole := l.Tail[0].Events
	for at := range whole {
		l.Tail[0].Events = bytes.Clone(whole)
		l.Tail[0].Events[at] ^= 0x04
		if state, err := entity.Replay(user.Kind, who, l); err == nil {
			t.Errorf("byte %d of %d was changed, and it is read as %v", at, len(whole), state)
		}
	}
}

// newer is a batch as a later version of the program would write it: known
// says whether what is in it is known to this one.
func newerBatch(t *testing.T, known bool) []byte {
	t.Helper()
	e, err := proto.Marshal(&event{Event: &journalv1.UserEvent_CreditGranted{CreditGranted: &journalv1.CreditGranted{UserId: who, Amount: 7}}})
	if err != nil {
		t.Fatal(err)
	}
	if !known {
		e = protowire.AppendString(protowire.AppendTag(nil, 4000, protowire.BytesType), "news")
	}
	b, err := proto.Marshal(&journalv1.Batch{Schema: messages.Schema + 1, Records: []*journalv1.Record{{Events: [][]byte{e}}}})
	if err != nil {
		t.Fatal(err)
	}
	sum := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
	return protowire.AppendFixed32(protowire.AppendTag(b, 3, protowire.Fixed32Type), sum)
}

// TestLaterVersion takes what a later version wrote as far as it is known, and
// refuses the entity with the first thing that is not.
func TestLaterVersion(t *testing.T) {
	w := newWorld(t)
	w.granted(1, "a")
	w.put(&persistence.Commit{Events: newerBatch(t, true)})
	w.restart()
	if a := w.account(); a.GetCredit() != 8 {
		t.Fatalf("the credit is %d, not 8", a.GetCredit())
	}
	w.put(&persistence.Commit{Events: newerBatch(t, false)})
	w.restart()
	for range 2 {
		err := messages.FromStatus(within(t, w.read(), "a refusal").GetError())
		if err == nil || err.Reason != marketplacev1.ErrorReason_ERROR_REASON_ACTOR_UNAVAILABLE ||
			!strings.Contains(err.Message, fmt.Sprint("needs schema ", messages.Schema+1)) || !strings.Contains(err.Message, fmt.Sprint("under schema ", messages.Schema)) {
			t.Errorf("what this version does not know is told as %v", err)
		}
	}
	if all, err := w.store.HaltedEntities(t.Context()); err != nil || len(all) != 0 || w.runtime.Stats().Lost != 0 {
		t.Errorf("halted: %v, %v", all, err)
	}
	w.ok(w.call("other", "cloud-operator/grant-credit", "olga", messages.NewCommandID(), &marketplacev1.GrantCreditRequest{UserId: "bob", Amount: 1}))
}

// TestLaterSnapshot refuses a snapshot that holds more than is known: it is no
// damage, and the way around it would meet the same.
func TestLaterSnapshot(t *testing.T) {
	w := newWorld(t)
	w.granted(1, "a")
	state := protowire.AppendString(protowire.AppendTag(nil, 4000, protowire.BytesType), "news")
	s, err := proto.Marshal(&journalv1.Snapshot{Schema: messages.Schema + 1, State: state})
	if err != nil {
		t.Fatal(err)
	}
	w.put(&persistence.Commit{Snapshot: s})
	w.restart()
	if err := messages.FromStatus(within(t, w.read(), "a refusal").GetError()); err == nil || !strings.Contains(err.Message, fmt.Sprint("needs schema ", messages.Schema+1)) {
		t.Errorf("what this version does not know is told as %v", err)
	}
}

// TestHaltedForGood keeps an entity halted in every process until a person
// clears it, and renames the history then.
func TestHaltedForGood(t *testing.T) {
	w := newWorld(t)
	w.granted(5, "a")
	epoch := w.store.Epoch()
	tries := make(chan struct{}, 100)
	w.store.set(func() {
		w.store.halt = func() error {
			tries <- struct{}{}
			if len(tries) < 2 {
				return persistence.ErrOverloaded
			}
			return nil
		}
	})
	watch := w.watch("cloud-user/watch-account", &clusterv1.Watch{})
	w.ok(watch)
	w.store.hold()
	lost := w.grant(messages.NewCommandID(), 1, "b")
	w.store.next(t).fail(persistence.ErrLost)
	if reason := w.refused(lost); reason != "ACTOR_UNAVAILABLE" {
		t.Errorf("the command is answered with %s", reason)
	}
	w.store.flow()
	for range 3 { // also while the mark is not written
		if reason := w.refused(w.read()); reason != "ACTOR_UNAVAILABLE" {
			t.Errorf("a later request is answered with %s", reason)
		}
	}
	halted := func() int {
		all, err := w.store.HaltedEntities(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	eventually(t, "the mark is written at the second try", func() bool { return halted() == 1 })
	eventually(t, "whoever watches is told to look again", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.pushes) > 0 && w.pushes[len(w.pushes)-1].GetFrame() == nil
	})
	w.restart()
	if reason := w.refused(w.read()); reason != "ACTOR_UNAVAILABLE" || w.store.Epoch() != epoch {
		t.Errorf("the next process answers with %s", reason)
	}
	if err := w.store.Clear(t.Context(), persistence.Entity{Kind: "user", ID: who}); err != nil {
		t.Fatal(err)
	}
	if a := w.account(); a.GetCredit() != 5 || w.store.Epoch() == epoch {
		t.Errorf("cleared, the credit is %d, not 5, in epoch %s, once %s", a.GetCredit(), w.store.Epoch(), epoch)
	}
}

// TestPoisonRequest asks the kind no third time for what ended its actor twice,
// under whatever id, until an hour has passed.
func TestPoisonRequest(t *testing.T) {
	now := clock.NewManual(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	w := newWorld(t, func(w *world) { w.config.Real = now })
	w.granted(5, "a")
	bad := func() *messages.Error {
		return messages.FromStatus(within(t, w.grant(messages.NewCommandID(), 1, crash), "a refusal").GetError())
	}
	for n := range 4 {
		err := bad()
		if err.Reason != marketplacev1.ErrorReason_ERROR_REASON_INTERNAL || (err.Metadata["trace"] != "") != (n < 2) {
			t.Errorf("time %d is told as %v with %v", n+1, err, err.Metadata)
		}
	}
	w.granted(1, "b")
	if s := w.runtime.Stats(); s.Panics != 2 {
		t.Errorf("the actor ended %d times, not 2", s.Panics)
	}
	now.Advance(time.Hour + time.Second)
	if bad(); w.runtime.Stats().Panics != 3 {
		t.Error("it was not tried again after an hour")
	}
}

// TestPoisonTask starts no third attempt of a task whose end the kind cannot take.
func TestPoisonTask(t *testing.T) {
	a := newAttempts()
	w := newWorld(t, executor(a.run))
	w.granted(5, begin)
	for n := range uint64(2) {
		eventually(t, "the end of the one before", func() bool { return w.runtime.Stats().Panics == n })
		w.account() // somebody asks, and so it is there again
		within(t, a.began, "an attempt")
		a.end <- func() (proto.Message, error) {
			return nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_GRID_REFUSED, crash)
		}
	}
	eventually(t, "the second panic", func() bool { return w.runtime.Stats().Panics == 2 })
	w.granted(1, "b")
	passed := w.engine.NowMS() + 100
	eventually(t, "a third attempt would be seen", func() bool { return w.engine.NowMS() > passed })
	if a := w.account(); len(w.store.held) != 0 || a.GetCredit() != 6 || w.runtime.Stats().Panics != 2 {
		t.Errorf("the credit is %d, not 6; %d panics", a.GetCredit(), w.runtime.Stats().Panics)
	}
	if len(a.began) != 0 {
		t.Error("the task was tried a third time")
	}
}

// TestPoisonWake does not wake for ever what cannot be woken.
func TestPoisonWake(t *testing.T) {
	w := newWorld(t, never)
	w.granted(1, fatal)
	w.domain.Advance(time.Minute)
	for range 3 {
		if reason := w.refused(w.wake()); reason != "INTERNAL" {
			t.Errorf("told as %s", reason)
		}
	}
	if a := w.account(); a.GetCredit() != 1 || w.runtime.Stats().Panics != 2 {
		t.Errorf("the credit is %d, not 1; %d panics", a.GetCredit(), w.runtime.Stats().Panics)
	}
}
