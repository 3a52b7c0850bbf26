package entity_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// loadAfter holds loads back until ch is closed.
func loadAfter(ch <-chan struct{}) func(persistence.Entity) error {
	return func(persistence.Entity) error { <-ch; return nil }
}

// TestUnknownOutcome hands the same commit over until its outcome is known, and
// nothing else before it.
func TestUnknownOutcome(t *testing.T) {
	w := newWorld(t)
	w.store.hold()
	one := w.grant(messages.NewCommandID(), 1, "a")
	var ids []string
	for i, verdict := range []func(*pending){
		func(p *pending) { p.fail(persistence.ErrUnknown) },                               // not stored
		func(p *pending) { p.fail(fmt.Errorf("no room: %w", persistence.ErrOverloaded)) }, // not taken
		(*pending).lose, // stored
		(*pending).pass, // its own earlier success
	} {
		p := w.store.next(t)
		ids = append(ids, p.ID)
		if p.Expect != 0 || p.ID != ids[0] {
			t.Fatalf("try %d follows %d as %s, not 0 as %s", i, p.Expect, p.ID, ids[0])
		}
		if i == 0 {
			w.grant(messages.NewCommandID(), 1, "b") // joins the next
		}
		verdict(p)
	}
	w.ok(one)
	w.store.next(t).pass()
	w.store.flow()
	if a := w.account(); a.GetCredit() != 2 || w.stored().Version != 2 {
		t.Errorf("the credit is %d at version %d, not 2 at 2", a.GetCredit(), w.stored().Version)
	}
	if s := w.runtime.Stats(); s.Unknown != 3 {
		t.Errorf("%d unknown outcomes were counted, not 3", s.Unknown)
	}
}

// TestStale lets another owner win, which has decided the same command. What
// was held is asked again of the next incarnation, under the same ids.
func TestStale(t *testing.T) {
	w := newWorld(t)
	w.granted(5, "before")
	w.store.hold()
	command := messages.NewCommandID()
	lost := w.grant(command, 1, "a")
	read, watch := w.read(), w.watch("cloud-user/watch-account", &clusterv1.Watch{})
	p := w.store.next(t)
	joined := w.grant(messages.NewCommandID(), 10, "b") // in the next batch
	w.barrier()
	other := *p.Commit
	other.ID = "another-owner"
	stored := make(chan error, 1)
	w.store.Store.Commit(&other, func(err error) { stored <- err })
	if err := within(t, stored, "the other owner's commit"); err != nil {
		t.Fatal(err)
	}
	p.pass()
	w.store.next(t).pass() // the next incarnation commits what joined
	w.store.flow()
	r := &marketplacev1.GrantCreditResponse{}
	if w.decode(w.ok(lost), r); r.GetCredit() != 6 {
		t.Errorf("the command that both decided is answered with %d, not 6", r.GetCredit())
	}
	if w.decode(w.ok(joined), r); r.GetCredit() != 16 {
		t.Errorf("the command that joined is answered with %d, not 16", r.GetCredit())
	}
	w.ok(read)
	w.watching(watch)
	if a := w.account(); a.GetCredit() != 16 || w.runtime.Stats().Fenced != 1 {
		t.Errorf("the credit is %d, not 16; %d fenced", a.GetCredit(), w.runtime.Stats().Fenced)
	}
}

// TestHalt answers nothing from a state that the store contradicts.
func TestHalt(t *testing.T) {
	for _, cause := range []error{persistence.ErrLost, persistence.ErrCorrupt} {
		t.Run(cause.Error(), func(t *testing.T) {
			w := newWorld(t)
			w.granted(5, "a")
			w.granted(5, "b")
			release := make(chan struct{})
			w.store.set(func() { w.store.since = func() { <-release } })
			joiner := w.watch("cloud-user/watch-notifications", &clusterv1.Watch{Resume: true, Epoch: w.store.Epoch()})
			w.store.hold()
			answers := []<-chan *clusterv1.Response{joiner, w.grant(messages.NewCommandID(), 1, "c"), w.read()}
			p := w.store.next(t)
			answers = append(answers, w.grant(messages.NewCommandID(), 1, "d"), w.watch("cloud-user/watch-account", &clusterv1.Watch{}))
			w.barrier()
			p.fail(cause)
			for i, a := range answers {
				if reason := w.refused(a); reason != "ACTOR_UNAVAILABLE" {
					t.Errorf("answer %d is %s", i, reason)
				}
			}
			if reason := w.refused(w.read()); reason != "ACTOR_UNAVAILABLE" {
				t.Errorf("a later request is answered with %s", reason)
			}
			close(release)
			if w.stored().Version != 2 || w.runtime.Stats().Lost != 1 {
				t.Errorf("stored up to %d, %d halted", w.stored().Version, w.runtime.Stats().Lost)
			}
		})
	}
}

// TestLoad halts what contradicts itself, and asks again what could not be read.
func TestLoad(t *testing.T) {
	w := newWorld(t)
	w.granted(5, "a")
	w.restart()
	failed := make(chan struct{}, 100)
	w.store.set(func() {
		w.store.load = func(persistence.Entity) error {
			select {
			case failed <- struct{}{}:
			default:
			}
			if len(failed) <= 3 {
				return persistence.ErrOverloaded
			}
			return nil
		}
	})
	if a := w.account(); a.GetCredit() != 5 || len(failed) != 4 {
		t.Errorf("the credit is %d after %d loads, not 5 after 4", a.GetCredit(), len(failed))
	}
	w.restart()
	w.store.set(func() {
		w.store.load = func(persistence.Entity) error { return fmt.Errorf("a gap: %w", persistence.ErrCorrupt) }
	})
	for range 2 {
		if reason := w.refused(w.read()); reason != "ACTOR_UNAVAILABLE" {
			t.Errorf("what cannot be loaded is answered with %s", reason)
		}
	}
	if s := w.engine.Stats(); s.Bounces > 1 { // the second, if the first's actor was just being stopped
		t.Errorf("%d requests went round in vain", s.Bounces)
	}
}

// TestReplayHalts does not guess over a gap of the journal.
func TestReplayHalts(t *testing.T) {
	w := newWorld(t)
	w.granted(5, "a")
	l := w.stored()
	l.Version = 3
	l.Tail = append(l.Tail, persistence.Record{Version: 3, Events: l.Tail[0].Events})
	if _, err := replay(l); err == nil || !strings.Contains(err.Error(), "3 follows 1") {
		t.Errorf("a gap is told as %v", err)
	}
}

// forgetful cannot fold what was decided once.
type forgetful struct{ counter }

func (forgetful) Apply(*tally, *event) { panic("a bug of the kind") }

// TestReplayOfABug halts where a kind cannot fold what is stored.
func TestReplayOfABug(t *testing.T) {
	w := newWorld(t)
	w.granted(5, "a")
	kind := entity.Define("user", marketplacev1.ErrorReason_ERROR_REASON_ACCOUNT_NOT_FOUND, entity.Behavior[*tally, *event](forgetful{}))
	if _, err := entity.Replay(kind, who, w.stored()); err == nil || !strings.Contains(err.Error(), "after 0: a bug of the kind") {
		t.Errorf("a bug is told as %v", err)
	}
}

// TestPanic answers the one who met a bug, asks the others again, and goes on.
func TestPanic(t *testing.T) {
	w := newWorld(t)
	w.granted(5, "a")
	w.store.hold()
	held := w.grant(messages.NewCommandID(), 1, "b")
	p := w.store.next(t)
	if reason := w.refused(w.grant(messages.NewCommandID(), 1, crash)); reason != "INTERNAL" {
		t.Errorf("a bug is told as %s", reason)
	}
	p.pass()
	w.store.flow()
	w.ok(held)
	if a := w.account(); a.GetCredit() != 6 || w.runtime.Stats().Panics != 1 {
		t.Errorf("the credit is %d, not 6; %d panics", a.GetCredit(), w.runtime.Stats().Panics)
	}
}

// TestPanicAmongWaiting meets the bug in a request that waited for the store:
// it alone is answered with INTERNAL, and nobody behind it is forgotten.
func TestPanicAmongWaiting(t *testing.T) {
	w := newWorld(t)
	loaded := make(chan struct{})
	w.store.set(func() { w.store.load = loadAfter(loaded) })
	first, bad := w.grant(messages.NewCommandID(), 1, "a"), w.grant(messages.NewCommandID(), 1, crash)
	last := w.grant(messages.NewCommandID(), 1, "b")
	close(loaded)
	if reason := w.refused(bad); reason != "INTERNAL" {
		t.Errorf("a bug is told as %s", reason)
	}
	w.ok(first)
	w.ok(last)
	if a := w.account(); a.GetCredit() != 2 {
		t.Errorf("the credit is %d, not 2", a.GetCredit())
	}
}

// TestPanicWithATaskUnderWay takes a while to stop, for its task must: whoever
// asks meanwhile is asked again of the next incarnation.
func TestPanicWithATaskUnderWay(t *testing.T) {
	w := newWorld(t, executor(func(ctx context.Context, _ string, _ proto.Message) (proto.Message, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}))
	w.granted(1, begin)
	for n := range int64(20) {
		bad := w.grant(messages.NewCommandID(), n+1, crash)
		var behind []<-chan *clusterv1.Response
		for range 20 {
			behind = append(behind, w.read())
		}
		w.refused(bad)
		for _, a := range behind {
			w.ok(a)
		}
	}
}

// TestInvalidCommit does not hold everybody up for a commit that no store takes.
func TestInvalidCommit(t *testing.T) {
	w := newWorld(t)
	w.granted(5, "a")
	if reason := w.refused(w.grant(messages.NewCommandID(), 1, badList)); reason != "INTERNAL" {
		t.Errorf("a commit that no store takes is told as %s", reason)
	}
	if r := w.granted(1, "b"); r.GetVersion() != 2 {
		t.Errorf("the next is version %d, not 2", r.GetVersion())
	}
}

// TestPageFailure tells a token that nobody gave out from a store that fails.
func TestPageFailure(t *testing.T) {
	w := newWorld(t)
	w.granted(5, "a")
	token := w.call("list", "cloud-user/list-transactions", who, "", &marketplacev1.ListTransactionsRequest{PageToken: "rubbish"})
	if reason := w.refused(token); reason != "INVALID_FIELD" {
		t.Errorf("a token that nobody gave out is told as %s", reason)
	}
	w.store.set(func() { w.store.page = func() error { return persistence.ErrOverloaded } })
	if reason := w.refused(w.list("cloud-user/list-transactions")); reason != "ACTOR_UNAVAILABLE" {
		t.Errorf("a store that fails is told as %s", reason)
	}
	w.store.set(func() { w.store.page = nil })
	r := &marketplacev1.ListTransactionsResponse{}
	if w.decode(w.ok(w.list("cloud-user/list-transactions")), r); len(r.GetTransactions()) != 1 || r.GetTransactions()[0].GetCreditAfter() != 5 {
		t.Errorf("the list holds %v", r)
	}
}

func replay(l persistence.Loaded) (proto.Message, error) { return entityReplay(l) }
