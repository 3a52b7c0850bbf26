package entity_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/actors/engine"
	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/memstore"
)

// who is the entity of most tests, and its owner.
const who = "ann"

// callFor is how long the calls of tests wait.
const callFor = 15 * time.Second

// world runs counters over a scripted store.
type world struct {
	t       *testing.T
	store   *script
	domain  *clock.Manual
	config  entity.Config
	idle    time.Duration
	runtime *entity.Runtime
	engine  *engine.Engine

	mu     sync.Mutex
	pushes []*clusterv1.Push
	heard  []string // what left, in order: "push" or the name a test gave its call
}

// newWorld starts a world; set changes its configuration first.
func newWorld(t *testing.T, set ...func(*world)) *world {
	t.Helper()
	w := &world{t: t, domain: clock.NewManual(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)), idle: time.Hour}
	w.config = entity.Config{ScanEvery: 5 * time.Millisecond, RetryFirst: time.Millisecond}
	for _, s := range set {
		s(w)
	}
	if w.store == nil {
		w.store = newScript(memstore.New(memstore.Options{}))
	}
	w.start()
	t.Cleanup(func() {
		w.store.flow()
		w.stop()
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) start() {
	w.t.Helper()
	w.config.Store, w.config.Domain = w.store, w.domain
	w.runtime = entity.NewRuntime(w.config)
	e, err := engine.Start(engine.Config{IdleAfter: w.idle, OnPush: w.take}, []engine.Kind{w.runtime.Kind(counterKind), w.runtime.Kind(thingKind)}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.engine = e
	w.runtime.Start(e)
}

func (w *world) stop() {
	w.t.Helper()
	w.runtime.Stop()
	if err := w.engine.Stop(context.Background()); err != nil {
		w.t.Error(err)
	}
}

// restart is a new process over the same store.
func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.start()
}

func (w *world) take(p *clusterv1.Push) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pushes = append(w.pushes, p)
	w.heard = append(w.heard, "push")
}

// pushed returns the pushes so far that hold a frame, of one stream.
func (w *world) pushed(path string) []*clusterv1.Push {
	w.mu.Lock()
	defer w.mu.Unlock()
	var some []*clusterv1.Push
	for _, p := range w.pushes {
		if p.GetMethod() == messages.ByPath(path).Name && p.GetFrame() != nil {
			some = append(some, p)
		}
	}
	return some
}

// order returns what left so far.
func (w *world) order() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.heard...)
}

// call asks on without waiting; name is what order calls the answer.
func (w *world) call(name, path, subject, command string, req proto.Message) <-chan *clusterv1.Response {
	w.t.Helper()
	m := messages.ByPath(path)
	if m == nil {
		m = messages.ByRequest(req.ProtoReflect().Descriptor().FullName())
	}
	id, err := m.ActorID(subject, command, req)
	if err != nil {
		w.t.Fatal(err)
	}
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(req)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.raw(name, &clusterv1.Request{Kind: m.Actor, Id: id, Method: m.Name, Payload: payload, Subject: subject, CommandId: command})
}

func (w *world) raw(name string, req *clusterv1.Request) <-chan *clusterv1.Response {
	answer := make(chan *clusterv1.Response, 2) // a second one would be seen
	w.engine.Call(req, callFor, func(r *clusterv1.Response) {
		w.mu.Lock()
		w.heard = append(w.heard, name)
		w.mu.Unlock()
		answer <- r
	})
	return answer
}

// grant has an operator give credit.
func (w *world) grant(command string, amount int64, note string) <-chan *clusterv1.Response {
	w.t.Helper()
	return w.call("grant", "cloud-operator/grant-credit", "olga", command, &marketplacev1.GrantCreditRequest{UserId: who, Amount: amount, Note: note})
}

// granted is grant under a new command id, waited for.
func (w *world) granted(amount int64, note string) *clusterv1.Response {
	w.t.Helper()
	return w.ok(w.grant(messages.NewCommandID(), amount, note))
}

// read asks for the account.
func (w *world) read() <-chan *clusterv1.Response {
	w.t.Helper()
	return w.call("read", "cloud-user/get-account", who, "", &marketplacev1.GetAccountRequest{})
}

// account is read, waited for.
func (w *world) account() *marketplacev1.Account {
	w.t.Helper()
	r := &marketplacev1.GetAccountResponse{}
	w.decode(w.ok(w.read()), r)
	return r.GetAccount()
}

// list asks for the newest page of a list.
func (w *world) list(path string) <-chan *clusterv1.Response {
	w.t.Helper()
	return w.call("list", path, who, "", messages.ByPath(path).Request())
}

// barrier waits until the entity has taken all that was asked before: a page
// of a list passes no gate.
func (w *world) barrier() {
	w.t.Helper()
	w.ok(w.list("cloud-user/list-transactions"))
}

// watch asks to hear a stream.
func (w *world) watch(path string, from *clusterv1.Watch) <-chan *clusterv1.Response {
	w.t.Helper()
	payload, err := proto.Marshal(from)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.raw("watch", &clusterv1.Request{Kind: "user", Id: who, Method: messages.ByPath(path).Name, Subject: who, Payload: payload})
}

// watching decodes the answer to a watch.
func (w *world) watching(answer <-chan *clusterv1.Response) *clusterv1.Watching {
	w.t.Helper()
	r := &clusterv1.Watching{}
	w.decode(w.ok(answer), r)
	return r
}

// ok waits for an answer that is no refusal.
func (w *world) ok(answer <-chan *clusterv1.Response) *clusterv1.Response {
	w.t.Helper()
	r := within(w.t, answer, "an answer")
	if r.GetError() != nil {
		w.t.Fatal(messages.FromStatus(r.GetError()))
	}
	return r
}

// refused waits for a refusal and returns its reason.
func (w *world) refused(answer <-chan *clusterv1.Response) string {
	w.t.Helper()
	r := within(w.t, answer, "a refusal")
	if r.GetError() == nil {
		w.t.Fatalf("answered with %q, not refused", r.GetPayload())
	}
	return messages.ReasonName(messages.FromStatus(r.GetError()).Reason)
}

func (w *world) decode(r *clusterv1.Response, to proto.Message) {
	w.t.Helper()
	if err := proto.Unmarshal(r.GetPayload(), to); err != nil {
		w.t.Fatal(err)
	}
}

// stored is what the store has of the entity.
func (w *world) stored() persistence.Loaded {
	w.t.Helper()
	l, err := w.store.Store.Load(w.t.Context(), persistence.Entity{Kind: "user", ID: who})
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}
