package entity_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/messages"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// want has a user want a task that waits for its turn, or no task any more.
func (w *world) want(user, note string) {
	w.t.Helper()
	w.ok(w.call("want", "cloud-operator/grant-credit", "olga", messages.NewCommandID(), &marketplacev1.GrantCreditRequest{UserId: user, Amount: 1, Note: note}))
}

// announcedAttempts counts the attempts that a user has written down.
func (w *world) announcedAttempts(user string) (n int) {
	w.t.Helper()
	l, err := w.store.Load(w.t.Context(), persistence.Entity{Kind: "user", ID: user})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range l.Tail {
		b := &journalv1.Batch{}
		if err := proto.Unmarshal(r.Events, b); err != nil {
			w.t.Fatal(err)
		}
		for _, d := range b.GetRecords() {
			if d.GetAttempt() != nil {
				n++
			}
		}
	}
	return n
}

// TestOneAtATime lets the tasks of one key pass in the order in which they were
// wanted. One that waits is not written down, and one that is not wanted any
// more gives its place away.
func TestOneAtATime(t *testing.T) {
	began := make(chan string, 10)
	end := map[string]chan error{"a": make(chan error), "b": make(chan error), "c": make(chan error), who: make(chan error)}
	w := newWorld(t, executor(func(_ context.Context, _ string, do proto.Message) (proto.Message, error) {
		c, ok := do.(*taskv1.CreateContract)
		if !ok {
			return nil, errors.New("not a contract")
		}
		began <- c.GetDeploymentId()
		return &taskv1.ContractCreated{}, <-end[c.GetDeploymentId()]
	}))
	next := func(want string) {
		t.Helper()
		if got := within(t, began, "an attempt"); got != want {
			t.Fatalf("%s began, not %s", got, want)
		}
	}
	w.want("a", queue)
	next("a")
	w.want("b", queue)
	w.want("c", queue)
	w.granted(1, begin) // has no key, and passes by
	next(who)
	if n := w.announcedAttempts("b") + w.announcedAttempts("c"); n != 0 {
		t.Errorf("%d attempts were written down before their turn", n)
	}
	w.want("b", cancel)
	end["a"] <- errors.New("no answer") // tried again, behind the others
	next("c")
	end["c"] <- nil
	next("a")
	end["a"] <- nil
	end[who] <- nil
	eventually(t, "the tasks have ended", func() bool { return w.held("a")+w.held("c")+w.held(who) == 3 })
	if w.held("b") != 0 || len(began) != 0 {
		t.Error("a task that was not wanted any more was tried")
	}
}

// held is how many tasks of a user have ended.
func (w *world) held(user string) int64 {
	w.t.Helper()
	r := &marketplacev1.GetAccountResponse{}
	w.decode(w.ok(w.call("read", "cloud-user/get-account", user, "", &marketplacev1.GetAccountRequest{})), r)
	return r.GetAccount().GetHeld()
}

// TestNobodyOvertakes runs many at once: never are two of one key under way,
// whoever is stopped or cancelled meanwhile.
func TestNobodyOvertakes(t *testing.T) {
	var under, worst, done atomic.Int64
	start := make(chan struct{})
	w := newWorld(t, executor(func(context.Context, string, proto.Message) (proto.Message, error) {
		<-start
		worst.Store(max(worst.Load(), under.Add(1)))
		defer under.Add(-1)
		if done.Add(1)%3 == 0 {
			return nil, errors.New("no answer")
		}
		return &taskv1.ContractCreated{}, nil
	}))
	const users = 50
	for n := range users {
		w.want(fmt.Sprint("user-", n), queue)
		if n%7 == 0 { // ends the actor, and with it its place in the lane
			bad := &marketplacev1.GrantCreditRequest{UserId: fmt.Sprint("user-", n), Amount: 1, Note: crash}
			w.refused(w.call("crash", "cloud-operator/grant-credit", "olga", messages.NewCommandID(), bad))
		}
	}
	close(start)
	eventually(t, "all have ended", func() bool {
		for n := range users {
			if w.held(fmt.Sprint("user-", n)) == 0 {
				return false
			}
		}
		return true
	})
	if worst.Load() != 1 {
		t.Errorf("%d were under way at once", worst.Load())
	}
}
