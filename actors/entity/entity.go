package entity

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/threefoldtech/cloud-marketplace/actors/engine"
	"github.com/threefoldtech/cloud-marketplace/internal/keyring"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

type mode uint8

const (
	loading mode = iota // what comes is kept until the store has answered
	alive
	halted // nothing is answered until a person decides
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
	streams []*stream // those that somebody hears, by name
	joiners []*joiner
	runs    map[string]*run
	asked   waiting         // the request that is being taken
	box     *keyring.Box    // seals with the entity's data key; nil while there is none
	keying  bool            // one is being stored, and requests wait
	ending  string          // the task whose end is being taken
	barred  *messages.Error // what everybody is answered while halted
	served  bool            // somebody's request was taken
	rests   bool            // halted, and the next incarnation will find that out
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
	case *keyed:
		e.keyed(ctx, m)
	case *marked:
		e.marked(ctx, m)
	case *remark:
		e.mark(ctx, m.why)
	case *reported:
		e.reported(ctx, m)
	case *rerun:
		e.rerun(ctx, m)
	case *proceed:
		e.proceed(ctx, m)
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
	trace := e.rt.fresh()
	e.rt.counts.panics.Add(1)
	e.rt.Log.Error("entity panicked", slog.String("entity", e.entity().String()), slog.String("trace", trace), slog.Any("panic", r), slog.String("stack", string(debug.Stack())))
	switch a := e.asked; {
	case a.req != nil:
		e.killed(requestPrint(e.entity(), a.req), trace)
		if a.from != nil {
			ctx.Send(a.from, e.respond(a.req.GetCall(), internal(trace)))
		}
	case e.ending != "":
		e.killed(taskPrint(e.entity(), e.ending), trace)
	}
	e.abandon(ctx)
}

func (e *entity) killed(by fingerprint, trace string) {
	if e.rt.poison.killed(by, e.rt.Real.Now()) == poisonLimit {
		e.rt.Log.Error("ALARM: refused from now on, for it ends its actor every time", slog.String("entity", e.entity().String()), slog.String("trace", trace))
	}
}

// internal is what a caller hears of a bug; the log has the trace.
func internal(trace string) *messages.Error {
	return messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_INTERNAL, "something went wrong here").With("trace", trace)
}

// start asks the store who the entity is; nothing blocks meanwhile.
func (e *entity) start(ctx actor.Context) {
	e.life.PID = ctx.Self()
	e.id = engine.Identity(ctx.Self())
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
	e.openBox(l.stored.Key)
	err := l.err
	if err == nil && l.stored.Halted == "" {
		err = e.recoverState(l.stored)
	}
	switch {
	case l.stored.Halted != "":
		e.mode, e.barred, e.rests = halted, errHalted, true
	case errors.Is(err, ErrNewer):
		e.rt.Log.Error("ALARM: entity of a later version", slog.String("entity", e.entity().String()), slog.Any("error", err))
		e.mode, e.barred, e.rests = halted, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_ACTOR_UNAVAILABLE, "%v", err), true
	case err != nil:
		e.halt(ctx, err)
	default:
		e.reconcile(ctx, e.machine.tasks(), e.batches)
		e.flush(ctx)
	}
	e.drain(ctx, false)
}

// recoverState takes what the store has.
func (e *entity) recoverState(l persistence.Loaded) error {
	f, err := fold(e.kind, e.id, l)
	if err != nil {
		return err
	}
	if f.damage != nil {
		f.since = e.rt.SnapshotEvery // the next commit brings a good one
		e.rt.counts.damaged.Add(1)
		e.rt.Log.Error("ALARM: snapshot passed over", slog.String("entity", e.entity().String()), slog.Any("error", f.damage))
	}
	e.machine, e.version, e.memory, e.lastMS, e.since = f.machine, f.version, f.memory, f.lastMS, f.since
	return nil
}

// stopping may come at any time. Commits in flight are not waited for: their
// callers are bounced, and the next incarnation either finds the commit or wins
// the version itself.
func (e *entity) stopping(ctx actor.Context) {
	e.mode = gone
	e.bounceAll(ctx)
	e.stopRuns(ctx)
	for _, s := range e.streams {
		for _, w := range s.watchers {
			ctx.Send(w.to, &clusterv1.Push{Kind: e.kind.Name, Id: e.id, Method: s.method.Name}) // no frame: watch again
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

// errHalted is what is heard of a halted entity.
var errHalted = messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_ACTOR_UNAVAILABLE, "an operator must look at this first")

type (
	// marked is the store's word on the mark of a halted entity.
	marked struct{ why, err error }
	// remark tries to mark it again.
	remark struct{ why error }
)

// halt stops answering: the store contradicts what people were told, and only a
// person can say which is right. The mark outlives this process.
func (e *entity) halt(ctx actor.Context, why error) {
	e.mode, e.barred = halted, errHalted
	e.rt.counts.lost.Add(1)
	e.rt.Log.Error("ALARM: entity halted", slog.String("entity", e.entity().String()), slog.Any("error", why))
	for _, b := range []*batch{e.flight, e.next} {
		for _, o := range b.held() {
			ctx.Send(o.to, e.respond(o.call(), e.barred))
		}
	}
	for _, j := range e.joiners {
		ctx.Send(j.watch.to, e.respond(j.watch.call, e.barred))
	}
	e.flight, e.next, e.joiners = nil, nil, nil
	e.stopRuns(ctx)
	e.mark(ctx, why)
}

func (e *entity) mark(ctx actor.Context, why error) {
	self, root := ctx.Self(), ctx.ActorSystem().Root
	e.rt.Scheduler.Go(func() {
		limited, cancel := context.WithTimeout(context.Background(), loadTimeout)
		defer cancel()
		root.Send(self, &marked{why, e.rt.Store.Halt(limited, e.entity(), why.Error())})
	})
}

// marked ends the incarnation; the next finds the mark. Without the mark it
// might believe the store, and so this one stays until it is there.
func (e *entity) marked(ctx actor.Context, m *marked) {
	if m.err == nil {
		e.rests = true
		e.rest(ctx)
		return
	}
	self, root := ctx.Self(), ctx.ActorSystem().Root
	e.rt.Log.Error("ALARM: halted entity not marked", slog.String("entity", e.entity().String()), slog.Any("error", m.err))
	e.rt.Scheduler.After(e.rt.backoff(retryFirst, 6), func() { root.Send(self, &remark{m.why}) })
}

// rest ends a halted incarnation, though not before it has answered the request
// that it was made for: else that might meet one after the other as they end.
func (e *entity) rest(ctx actor.Context) {
	if e.rests && e.served {
		ctx.Stop(ctx.Self())
	}
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
	busy := e.mode != alive || e.keying || e.flight != nil || e.next != nil || len(e.streams) > 0 || len(e.joiners) > 0 || len(e.runs) > 0
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
