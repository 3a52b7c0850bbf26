package entity_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// executor is a Config whose one executor is f.
func executor(f entity.Executor) func(*world) {
	return func(w *world) {
		w.config.Executors = map[protoreflect.FullName]entity.Executor{"marketplace.task.v1.CreateContract": f}
	}
}

// TestNothingLeavesBeforeItIsDurable asks everything that can be asked while a
// commit is on its way, and holds back whatever has seen it.
func TestNothingLeavesBeforeItIsDurable(t *testing.T) {
	var executed atomic.Int32
	w := newWorld(t, executor(func(context.Context, string, proto.Message) (proto.Message, error) {
		executed.Add(1)
		return &taskv1.ContractCreated{}, nil
	}))
	w.granted(1, "first")
	w.watching(w.watch("cloud-user/watch-account", &clusterv1.Watch{}))
	w.watching(w.watch("cloud-user/watch-notifications", &clusterv1.Watch{}))
	before := len(w.order())
	w.store.hold()
	command := messages.NewCommandID()
	answers := map[string]<-chan *clusterv1.Response{
		"command": w.call("command", "cloud-operator/grant-credit", "olga", command, &marketplacev1.GrantCreditRequest{UserId: who, Amount: 10, Note: begin}),
		"repeat":  w.call("repeat", "cloud-operator/grant-credit", "olga", command, &marketplacev1.GrantCreditRequest{UserId: who, Amount: 10, Note: begin}),
		"read":    w.read(),
	}
	refusals := map[string]<-chan *clusterv1.Response{
		"refusal": w.grant(messages.NewCommandID(), 1, refuse),
		"reused":  w.grant(command, 11, begin),
		"foreign": w.raw("foreign", &clusterv1.Request{Kind: "user", Id: who, Method: messages.ByPath("cloud-user/get-account").Name, Subject: "bob"}),
		"method":  w.raw("method", &clusterv1.Request{Kind: "user", Id: who, Method: "no.such.Method", Subject: who}),
	}
	joining := w.watch("cloud-user/watch-account", &clusterv1.Watch{})
	w.barrier()
	p := w.store.next(t)
	if got := w.order()[before:]; !slices.Equal(got, []string{"list"}) {
		t.Fatalf("left before the commit was durable: %v", got)
	}
	if executed.Load() != 0 {
		t.Fatal("a task began before the commit that wants it was durable")
	}
	p.pass()
	for name, a := range answers {
		if r := w.ok(a); r.GetVersion() != 2 || r.GetEpoch() == "" {
			t.Errorf("%s shows version %d, not 2", name, r.GetVersion())
		}
	}
	for name, a := range refusals {
		if r := within(t, a, name); r.GetError() == nil || r.GetVersion() != 2 {
			t.Errorf("%s: %v", name, r)
		}
	}
	if j := w.watching(joining); j.GetVersion() != 2 || len(j.GetFrames()) != 1 || j.GetFrames()[0].GetVersion() != 2 {
		t.Errorf("the watch begins at %v", j)
	}
	order := w.order()[before+1:]
	if len(order) < 2 || order[0] != "push" || order[1] != "push" || !slices.Contains(order, "command") || slices.Index(order, "command") > slices.Index(order, "repeat") {
		t.Errorf("pushes do not come first, or answers out of order: %v", order)
	}
	w.store.flow()
	eventually(t, "the task ran", func() bool { return executed.Load() == 1 })
}

// TestCommitsJoin decides on while a commit is in flight, and makes one commit of it.
func TestCommitsJoin(t *testing.T) {
	w := newWorld(t)
	w.store.hold()
	answers := []<-chan *clusterv1.Response{w.grant(messages.NewCommandID(), 1, "a")}
	first := w.store.next(t)
	for range 5 {
		answers = append(answers, w.grant(messages.NewCommandID(), 1, "b"))
	}
	w.barrier()
	if len(w.store.held) != 0 {
		t.Fatal("a second commit is in flight beside the first")
	}
	first.pass()
	second := w.store.next(t)
	batch := &journalv1.Batch{}
	if err := proto.Unmarshal(second.Events, batch); err != nil || len(batch.GetRecords()) != 5 || second.Expect != 1 || len(second.Lists) != 10 {
		t.Fatalf("the second commit follows %d and holds %d decisions and %d items: %v", second.Expect, len(batch.GetRecords()), len(second.Lists), err)
	}
	second.pass()
	for i, a := range answers {
		want := uint64(2)
		if i == 0 {
			want = 1
		}
		if r := w.ok(a); r.GetVersion() != want {
			t.Errorf("answer %d shows version %d, not %d", i, r.GetVersion(), want)
		}
	}
	w.store.flow()
	if a := w.account(); a.GetCredit() != 6 {
		t.Errorf("the credit is %d, not 6", a.GetCredit())
	}
}

// TestDerivedAtTheSeal takes wake-up, snapshot and bytes of a commit when it is
// sealed: what is decided while it is in flight is not in it, however often it
// is handed over.
func TestDerivedAtTheSeal(t *testing.T) {
	w := newWorld(t, func(w *world) { w.config.SnapshotEvery = 1 })
	w.store.hold()
	one := w.grant(messages.NewCommandID(), 100, alarm)
	p := w.store.next(t)
	sealed := *p.Commit
	two := w.grant(messages.NewCommandID(), 900, alarm)
	w.barrier()
	p.lose()
	again := w.store.next(t)
	if again.ID != sealed.ID || !again.Wake.Equal(sealed.Wake) || string(again.Events) != string(sealed.Events) || string(again.Snapshot) != string(sealed.Snapshot) {
		t.Error("the second try is another commit than the first")
	}
	if want := w.domain.Now().Add(100 * time.Second); !sealed.Wake.Equal(want) {
		t.Errorf("the first commit wakes at %v, not %v", sealed.Wake, want)
	}
	snapshot, state := &journalv1.Snapshot{}, &tally{}
	if err := proto.Unmarshal(sealed.Snapshot, snapshot); err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(snapshot.GetState(), state); err != nil || state.GetCredit() != 100 || len(snapshot.GetCommands()[0].GetRemembered()) != 1 {
		t.Errorf("the first snapshot holds %v and %v: %v", state, snapshot.GetCommands(), err)
	}
	again.pass()
	p = w.store.next(t)
	if want := w.domain.Now().Add(900 * time.Second); !p.Wake.Equal(want) {
		t.Errorf("the second commit wakes at %v, not %v", p.Wake, want)
	}
	p.pass()
	w.ok(one)
	w.ok(two)
}

// TestGateIsBounded refuses what there is no room for, at once, and serves on.
func TestGateIsBounded(t *testing.T) {
	w := newWorld(t, func(w *world) { w.config.GateLimit = 3 })
	w.account() // it is loaded, where another bound holds
	w.store.hold()
	held := []<-chan *clusterv1.Response{w.grant(messages.NewCommandID(), 1, "a"), w.read(), w.read()}
	for range 3 {
		r := within(t, w.read(), "a refusal")
		if e := messages.FromStatus(r.GetError()); e.Reason != marketplacev1.ErrorReason_ERROR_REASON_OVERLOADED || e.Retry == 0 {
			t.Fatalf("refused with %v", e)
		}
	}
	w.store.flow()
	for _, a := range held {
		w.ok(a)
	}
	w.ok(w.read())
	if s := w.runtime.Stats(); s.Overloaded != 3 {
		t.Errorf("%d overloads were counted, not 3", s.Overloaded)
	}
}

// TestLoadingIsBounded holds what comes before the store has answered to the same bound.
func TestLoadingIsBounded(t *testing.T) {
	w := newWorld(t, func(w *world) { w.config.GateLimit = 3 })
	answer := make(chan struct{})
	w.store.set(func() { w.store.load = loadAfter(answer) })
	var waiting []<-chan *clusterv1.Response
	for range 3 {
		waiting = append(waiting, w.read())
	}
	if reason := w.refused(w.read()); reason != "OVERLOADED" {
		t.Errorf("refused with %s", reason)
	}
	close(answer)
	for _, a := range waiting {
		w.ok(a)
	}
}

// TestAnswersToEntitiesAreWrittenDown commits even that nothing was decided when
// another entity asks, which may build on it; people's reads and repeats not.
func TestAnswersToEntitiesAreWrittenDown(t *testing.T) {
	w := newWorld(t)
	w.granted(1, "a")
	w.ok(w.settled(5))
	for range 2 {
		before := w.stored().Version
		if r := w.ok(w.settled(5)); r.GetVersion() != before+1 || w.stored().Version != before+1 {
			t.Errorf("a repeat is answered at %d, and stored at %d, not %d", r.GetVersion(), w.stored().Version, before+1)
		}
	}
	before := w.stored().Version
	w.account()
	w.granted(1, nothing)
	if w.stored().Version != before {
		t.Error("a read was written down")
	}
}
