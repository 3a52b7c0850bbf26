package engine_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/threefoldtech/cloud-marketplace/actors/engine"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
)

// player is an actor that does what the method of a request says.
type player struct {
	w    *world
	life engine.Life
	id   string
	late []*clusterv1.Request // kept until they are asked for
}

// world is an engine with players.
type world struct {
	*engine.Engine
	t        *testing.T
	born     atomic.Int64
	mu       sync.Mutex
	alive    map[string]int // incarnations of an id that are in the directory
	doubled  bool
	children bool
}

func newWorld(t *testing.T, idle time.Duration) *world {
	t.Helper()
	w := &world{t: t, alive: map[string]int{}}
	e, err := engine.Start(engine.Config{IdleAfter: idle}, []engine.Kind{{Name: "player", New: func() actor.Actor { return &player{w: w} }}},
		map[string]engine.Reader{"reader": func(r *clusterv1.Request) *clusterv1.Response {
			return &clusterv1.Response{Call: r.GetCall(), Payload: []byte(r.GetId())}
		}})
	if err != nil {
		t.Fatal(err)
	}
	w.Engine = e
	t.Cleanup(func() {
		if err := e.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (p *player) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		p.id, p.life.PID = engine.Identity(ctx.Self()), ctx.Self()
		p.w.count(p.id, 1)
		p.w.born.Add(1)
		p.w.Track(&p.life)
		if p.w.children { // so that it takes a while to stop
			ctx.Spawn(actor.PropsFromFunc(func(actor.Context) {}))
		}
	case *actor.Stopping:
		p.w.count(p.id, -1)
		p.w.Gone(&p.life, "player", p.id)
	case *engine.Passivate:
		if p.w.Idle(&p.life) {
			ctx.Stop(ctx.Self())
		}
	case *clusterv1.Request:
		p.life.Touch(p.w.NowMS())
		p.request(ctx, m)
	}
}

func (p *player) request(ctx actor.Context, m *clusterv1.Request) {
	answer := func(r *clusterv1.Request) {
		ctx.Send(ctx.Sender(), &clusterv1.Response{Call: r.GetCall(), Payload: []byte(p.id)})
	}
	switch m.GetMethod() {
	case "answer":
		answer(m)
	case "answer and leave":
		answer(m)
		ctx.Stop(ctx.Self())
	case "answer and poison":
		answer(m)
		ctx.Poison(ctx.Self())
	case "bounce and leave":
		engine.Bounce(ctx, ctx.Sender(), m.GetCall())
		ctx.Stop(ctx.Self())
	case "bounce":
		engine.Bounce(ctx, ctx.Sender(), m.GetCall())
	case "answer twice":
		answer(m)
		answer(m)
	case "keep":
		p.late = append(p.late, m)
	case "answer what was kept":
		for _, r := range p.late {
			answer(r)
		}
		answer(m)
	case "bounce at first, then say so late":
		if p.late = append(p.late, m); len(p.late) == 1 {
			engine.Bounce(ctx, ctx.Sender(), m.GetCall())
			return
		}
		ctx.Send(ctx.Sender(), &clusterv1.Response{Call: p.late[0].GetCall(), Payload: []byte("late")})
		answer(m)
	case "panic":
		panic("a bug")
	}
}

func (w *world) count(id string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.alive[id] += n
	w.doubled = w.doubled || w.alive[id] > 1
}

// twice says whether two incarnations of an id were in the directory at once.
func (w *world) twice() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.doubled
}

// ask asks a player, and waits for nothing.
func (w *world) ask(id, method string, within time.Duration) <-chan *clusterv1.Response {
	answer := make(chan *clusterv1.Response, 4)
	w.Call(&clusterv1.Request{Kind: "player", Id: id, Method: method}, within, func(r *clusterv1.Response) { answer <- r })
	return answer
}

func reason(r *clusterv1.Response) string {
	if r.GetError() == nil {
		return ""
	}
	return messages.ReasonName(messages.FromStatus(r.GetError()).Reason)
}

// wait receives, or fails the test after a while.
func wait[T any](t *testing.T, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(20 * time.Second):
		t.Fatal("it did not come")
	}
	return v
}

// eventually asks until it holds, or fails the test after a while.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-tick.C {
		if holds() {
			return
		}
	}
	t.Fatalf("it never came to this: %s", what)
}
