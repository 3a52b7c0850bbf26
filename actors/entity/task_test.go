package entity_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/messages"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// attempts is an executor that tells of each attempt and does what it is told.
type attempts struct {
	began chan context.Context
	end   chan func() (proto.Message, error)
}

func newAttempts() *attempts {
	return &attempts{make(chan context.Context, 100), make(chan func() (proto.Message, error), 100)}
}

func (a *attempts) run(ctx context.Context, _ string, _ proto.Message) (proto.Message, error) {
	a.began <- ctx
	select {
	case end := <-a.end:
		return end()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func success() (proto.Message, error) { return &taskv1.ContractCreated{}, nil }

// ended waits until n tasks have ended, and returns the account.
func (w *world) ended(n int64) *marketplacev1.Account {
	w.t.Helper()
	eventually(w.t, "a task has ended", func() bool { return w.account().GetHeld() >= n })
	return w.account()
}

// TestTaskIsTriedAgain tries again after whatever may pass, a panic included,
// and reports the end once.
func TestTaskIsTriedAgain(t *testing.T) {
	a := newAttempts()
	w := newWorld(t, executor(a.run))
	w.granted(1, begin)
	for _, end := range []func() (proto.Message, error){
		func() (proto.Message, error) { return nil, errors.New("no answer") },
		func() (proto.Message, error) {
			return nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_GRID_UNAVAILABLE, "later")
		},
		func() (proto.Message, error) { panic("a bug of the executor") },
		success,
	} {
		within(t, a.began, "an attempt")
		a.end <- end
	}
	if s := w.ended(1); s.GetHeld() != 1 || s.GetAvailable() != 0 || s.GetLiveDeployments() != 0 {
		t.Errorf("ended as %v", s)
	}
	if len(a.began) != 0 {
		t.Error("it was tried after its end")
	}
}

// TestTaskIsRefused reports a final refusal once, and does not try again.
func TestTaskIsRefused(t *testing.T) {
	a := newAttempts()
	w := newWorld(t, executor(a.run))
	w.granted(1, begin)
	within(t, a.began, "an attempt")
	a.end <- func() (proto.Message, error) {
		return nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_GRID_REFUSED, "never")
	}
	if s := w.ended(1); s.GetHeld() != 1 || s.GetAvailable() != 1 {
		t.Errorf("ended as %v", s)
	}
	w.granted(1, begin) // a new wish is a new task
	within(t, a.began, "an attempt")
	a.end <- success
	if s := w.ended(2); s.GetAvailable() != 1 || len(a.began) != 0 {
		t.Errorf("ended as %v, %d more attempts", s, len(a.began))
	}
}

// TestResultOnItsWay counts a task as running while its result is not durable,
// whatever other commits become so meanwhile.
func TestResultOnItsWay(t *testing.T) {
	a := newAttempts()
	w := newWorld(t, executor(a.run))
	w.granted(1, begin)
	within(t, a.began, "an attempt")
	w.store.hold()
	w.grant(messages.NewCommandID(), 1, "x")
	p := w.store.next(t) // sealed while the task is wanted
	a.end <- success
	eventually(t, "the result is decided", func() bool { return w.runtime.Stats().Commands == 3 })
	p.pass()
	last := w.store.next(t)
	passed := w.engine.NowMS() + 100
	eventually(t, "a task that began again would be seen", func() bool { return w.engine.NowMS() > passed })
	if len(a.began) != 0 {
		t.Error("a task began again whose result was on its way")
	}
	last.pass()
	w.store.flow()
	if s := w.ended(1); s.GetHeld() != 1 {
		t.Errorf("ended %d times", s.GetHeld())
	}
	w.granted(1, "x")
	if n := w.announcedAttempts(who); len(a.began) != 0 || n != 1 {
		t.Errorf("a task began again whose result was on its way: %d attempts", n)
	}
}

// TestLateResult lets the attempt of a cancelled task finish, hears its result,
// and starts no more attempts.
func TestLateResult(t *testing.T) {
	a := newAttempts()
	w := newWorld(t, executor(a.run))
	w.granted(1, begin)
	attempt := within(t, a.began, "an attempt")
	w.granted(1, cancel)
	w.barrier()
	if attempt.Err() != nil {
		t.Fatal("the attempt was broken off: its effect may have happened")
	}
	a.end <- success
	if s := w.ended(1); s.GetHeld() != 1 || s.GetLiveDeployments() != 0 {
		t.Errorf("the late result led to %v", s)
	}

	w.granted(1, begin)
	within(t, a.began, "an attempt")
	w.granted(1, cancel)
	a.end <- func() (proto.Message, error) { return nil, errors.New("no answer") }
	w.granted(1, begin) // wanted again
	within(t, a.began, "an attempt for the new wish")
	a.end <- success
	w.ended(2)
}

// TestCancelledTaskIsNotTriedAgain gives a cancelled task up once its attempt failed.
func TestCancelledTaskIsNotTriedAgain(t *testing.T) {
	a := newAttempts()
	w := newWorld(t, executor(a.run), func(w *world) { w.idle = time.Millisecond })
	w.granted(1, begin)
	within(t, a.began, "an attempt")
	w.granted(1, cancel)
	a.end <- func() (proto.Message, error) { return nil, errors.New("no answer") }
	eventually(t, "nothing runs, so the entity goes", func() bool { return w.engine.Stats().Live == 0 })
	if s := w.account(); s.GetHeld() != 0 || len(a.began) != 0 || w.announcedAttempts(who) != 1 {
		t.Errorf("ended as %v, %d more attempts, %d written down", s, len(a.began), w.announcedAttempts(who))
	}
}

// swept waits until whoever is idle was asked to go.
func (w *world) swept() {
	w.t.Helper()
	passed := w.engine.NowMS() + 2500
	eventually(w.t, "the idle were asked to go", func() bool { return w.engine.NowMS() > passed })
}

// TestTaskKeepsItsEntity does not let an entity go while an attempt is under way.
func TestTaskKeepsItsEntity(t *testing.T) {
	t.Parallel()
	a := newAttempts()
	w := newWorld(t, executor(a.run), func(w *world) { w.idle = time.Millisecond })
	w.granted(1, begin)
	attempt := within(t, a.began, "an attempt")
	w.swept()
	if attempt.Err() != nil || w.engine.Stats().Live != 1 {
		t.Error("the entity went, and its attempt was broken off")
	}
	a.end <- success
	w.ended(1)
}

// TestTasksBesideAWakeUp takes up the tasks of a dead process after the guard's
// time also where the entity wants to be woken much later.
func TestTasksBesideAWakeUp(t *testing.T) {
	a := newAttempts()
	w := newWorld(t, executor(a.run), func(w *world) { w.config.TaskGuard = time.Minute })
	w.granted(3600, alarm)
	w.granted(1, begin)
	within(t, a.began, "an attempt")
	w.stop()
	w.start()
	w.domain.Advance(time.Minute)
	within(t, a.began, "an attempt of the new process")
	a.end <- success
	w.ended(1)
}

// TestTasksOfADeadProcess takes up after the guard's time what nobody runs any more.
func TestTasksOfADeadProcess(t *testing.T) {
	var after atomic.Bool
	began := make(chan struct{}, 10)
	w := newWorld(t, executor(func(ctx context.Context, _ string, _ proto.Message) (proto.Message, error) {
		began <- struct{}{}
		if after.Load() {
			return success()
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}), func(w *world) { w.config.TaskGuard = time.Minute })
	w.granted(1, begin)
	within(t, began, "an attempt")
	w.stop()
	after.Store(true)
	w.start() // nobody asks for the entity
	w.domain.Advance(59 * time.Second)
	if w.claimed(w.domain.Now(), time.Second) != 0 || len(began) != 0 {
		t.Fatal("taken up before its time: another process may still run it")
	}
	w.domain.Advance(time.Second)
	within(t, began, "an attempt of the new process")
	if s := w.ended(1); s.GetHeld() != 1 {
		t.Errorf("ended %d times", s.GetHeld())
	}
}

// TestTaskWantedWhileLeaving runs what a wake-up decides while the entity is
// about to go.
func TestTaskWantedWhileLeaving(t *testing.T) {
	a := newAttempts()
	w := newWorld(t, never, executor(a.run), func(w *world) { w.idle = time.Millisecond })
	w.granted(5, rouse)
	w.store.hold()
	p := w.store.next(t) // the snapshot of the passivation
	w.domain.Advance(time.Minute)
	woken := w.wake()
	p.pass()
	w.store.next(t).pass()
	w.ok(woken)
	w.store.flow()
	attempt := within(t, a.began, "an attempt")
	w.barrier()
	if attempt.Err() != nil || len(a.began) != 0 {
		t.Error("the entity went, and left its task")
	}
	a.end <- success
	if s := w.ended(1); s.GetHourlySpend() != 1 || s.GetHeld() != 1 {
		t.Errorf("woken %d times, ended %d times", s.GetHourlySpend(), s.GetHeld())
	}
}
