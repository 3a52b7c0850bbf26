package entity

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/threefoldtech/cloud-marketplace/actors/engine"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

type mode uint8

const (
	loading mode = iota // what comes is kept until the store has answered
	alive
	halted // the store contradicts what was acknowledged: nothing is answered until a person decides
	gone   // stopping: everything is bounced
)

// entity is one incarnation of a durable actor.
type entity struct {
	rt      *Runtime
	kind    *Kind
	life    engine.Life
	id      string
	machine machine
	nonce   uint64 // tells the commits of two incarnations apart
	version uint64 // committed
	batches uint64 // begun by this incarnation
	since   int    // commits since the last snapshot
	lastMS  int64  // time of the last decision, by the domain's clock
	mode    mode
	leaving bool // a snapshot for passivation is in flight
	waiting []waiting
	flight  *batch
	next    *batch
	memory  memory
	streams map[string]*stream
	joiners []*joiner
	runs    map[string]*run
	asked   waiting // the request that is being taken
}

// waiting is a request that came while the entity was loading.
type waiting struct {
	from *actor.PID
	req  *clusterv1.Request
}

// loaded is the store's answer to the entity's first question.
type loaded struct {
	stored persistence.Loaded
	err    error
}

// loadTimeout bounds the store's answer.
const loadTimeout = 10 * time.Second

// Receive takes one message.
func (e *entity) Receive(ctx actor.Context) {
	defer e.recovered(ctx)
	switch m := ctx.Message().(type) {
	case *actor.Started:
		e.start(ctx)
	case *actor.Stopping:
		e.stopping(ctx)
	case *clusterv1.Request:
		e.request(ctx, ctx.Sender(), m)
	case *loaded:
		e.begin(ctx, m)
	case *committed:
		e.committed(ctx, m)
	case *resubmit:
		if m.b == e.flight && e.mode == alive {
			e.submit(ctx)
		}
	case *reported:
		e.reported(ctx, m)
	case *rerun:
		e.rerun(ctx, m)
	case *paged:
		e.paged(ctx, m)
	case *compared:
		e.compared(ctx, m)
	case *engine.Passivate:
		e.passivate(ctx)
	}
}

// recovered turns a panic of a kind into one INTERNAL answer and the end of
// this incarnation: its state may be half applied.
func (e *entity) recovered(ctx actor.Context) {
	r := recover()
	if r == nil {
		return
	}
	e.rt.counts.panics.Add(1)
	e.rt.Log.Error("entity panicked", slog.String("kind", e.kind.Name), slog.String("id", e.id), slog.Any("panic", r))
	if a := e.asked; a.req != nil && a.from != nil {
		ctx.Send(a.from, e.refusal(a.req.GetCall(), marketplacev1.ErrorReason_ERROR_REASON_INTERNAL, "something went wrong here"))
	}
	e.abandon(ctx)
}

// start asks the store who the entity is; nothing blocks meanwhile.
func (e *entity) start(ctx actor.Context) {
	e.life.PID = ctx.Self()
	e.id = engine.Identity(ctx.Self())
	e.machine = e.kind.blank(e.id)
	e.rt.engine.Track(&e.life)
	self, root := ctx.Self(), ctx.ActorSystem().Root
	e.rt.Scheduler.Go(func() {
		load, cancel := context.WithTimeout(context.Background(), loadTimeout)
		defer cancel()
		l, err := e.rt.Store.Load(load, e.entity())
		root.Send(self, &loaded{l, err})
	})
}

func (e *entity) entity() persistence.Entity {
	return persistence.Entity{Kind: e.kind.Name, ID: e.id}
}

// begin recovers the state and takes what has come meanwhile.
func (e *entity) begin(ctx actor.Context, l *loaded) {
	if e.mode != loading {
		return
	}
	if l.err != nil && !errors.Is(l.err, persistence.ErrCorrupt) {
		e.rt.Log.Error("entity not loaded", slog.String("kind", e.kind.Name), slog.String("id", e.id), slog.Any("error", l.err))
		e.abandon(ctx)
		return
	}
	e.mode = alive
	err := l.err
	if err == nil {
		err = e.recoverState(l.stored)
	}
	if err != nil {
		e.halt(ctx, err)
	} else {
		e.reconcile(ctx, e.machine.tasks(), e.batches)
		e.flush(ctx)
	}
	for len(e.waiting) > 0 { // one by one: a panic leaves the rest to be bounced
		w := e.waiting[0]
		e.waiting = e.waiting[1:]
		e.request(ctx, w.from, w.req)
	}
	e.waiting = nil
}

// recoverState takes what the store has.
func (e *entity) recoverState(l persistence.Loaded) error {
	f, err := fold(e.machine, e.entity(), l)
	e.version, e.memory, e.lastMS, e.since = f.version, f.memory, f.lastMS, f.since
	return err
}

// stopping may come at any time. Commits in flight are not waited for: their
// callers are bounced, and the next incarnation either finds the commit or wins
// the version itself.
func (e *entity) stopping(ctx actor.Context) {
	e.mode = gone
	e.bounceAll(ctx)
	for _, name := range slices.Sorted(maps.Keys(e.streams)) {
		for _, w := range e.streams[name].watchers {
			ctx.Send(w.to, &clusterv1.Push{Kind: e.kind.Name, Id: e.id, Method: name}) // no frame: watch again
		}
	}
	e.rt.engine.Gone(&e.life, e.kind.Name, e.id)
}

// abandon drops this incarnation; what it had decided in memory is worth nothing.
func (e *entity) abandon(ctx actor.Context) {
	e.mode = gone
	e.bounceAll(ctx)
	ctx.Stop(ctx.Self())
}

// halt stops answering: the store contradicts what people were told, and only a
// person can say which is right.
func (e *entity) halt(ctx actor.Context, err error) {
	e.mode = halted
	e.rt.counts.lost.Add(1)
	e.rt.Log.Error("ALARM: entity halted", slog.String("kind", e.kind.Name), slog.String("id", e.id), slog.Any("error", err))
	for _, b := range []*batch{e.flight, e.next} {
		for _, o := range b.held() {
			ctx.Send(o.to, e.haltedAnswer(o.call()))
		}
	}
	for _, j := range e.joiners {
		ctx.Send(j.watch.to, e.haltedAnswer(j.watch.call))
	}
	e.flight, e.next, e.joiners = nil, nil, nil
	e.stopRuns(ctx)
}

func (e *entity) haltedAnswer(call uint64) *clusterv1.Response {
	return e.refusal(call, marketplacev1.ErrorReason_ERROR_REASON_ACTOR_UNAVAILABLE, "an operator must look at this first")
}

func (e *entity) bounceAll(ctx actor.Context) {
	for _, b := range []*batch{e.flight, e.next} {
		for _, o := range b.held() {
			engine.Bounce(ctx, o.to, o.call())
		}
	}
	for _, j := range e.joiners {
		engine.Bounce(ctx, j.watch.to, j.watch.call)
	}
	for _, w := range e.waiting {
		engine.Bounce(ctx, w.from, w.req.GetCall())
	}
	e.flight, e.next, e.joiners, e.waiting = nil, nil, nil, nil
}

// passivate snapshots and stops an entity that nobody uses.
func (e *entity) passivate(ctx actor.Context) {
	if e.mode == alive {
		e.expireWatchers()
	}
	busy := e.mode != alive || e.flight != nil || e.next != nil || len(e.streams) > 0 || len(e.joiners) > 0 || len(e.runs) > 0
	if busy || !e.rt.engine.Idle(&e.life) {
		return
	}
	if e.since == 0 {
		ctx.Stop(ctx.Self())
		return
	}
	e.leaving = true
	e.next = e.newBatch()
	e.seal(true)
	e.submit(ctx)
}
