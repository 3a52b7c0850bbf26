package entity

import (
	"errors"
	"log/slog"
	"maps"
	"slices"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/threefoldtech/cloud-marketplace/internal/fault"
	"github.com/threefoldtech/cloud-marketplace/messages"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
)

// run is a task whose attempt is being written down or runs, that waits for its
// next attempt, or that has reported.
type run struct {
	task      Task
	pid       *actor.PID
	turn      *turn // its place in the lane of its key, until the attempt has it
	attempt   int
	announced uint64 // the batch that writes the coming attempt down; 0: none
	reported  uint64 // the batch that holds its result; 0: none
	last      bool   // it is not wanted any more: the attempt under way is its last
	anew      bool   // it is wanted again since
}

type (
	// reported is the end of an attempt, from its worker. An err that is no
	// refusal, or one that allows it, is tried again.
	reported struct {
		id     string
		pid    *actor.PID
		result proto.Message
		err    error
	}
	// rerun starts a task again.
	rerun struct{ r *run }
	// proceed says that its turn has come in the lane of its key.
	proceed struct{ r *run }
)

// reconcile compares what a durable state wants with what runs.
//
// batch is the one that made the state durable. A task whose result lies in a
// later batch is left alone: the state that wants it does not know the result
// yet, and the state that knows it is not durable yet.
func (e *entity) reconcile(ctx actor.Context, want []Task, batch uint64) {
	if len(want) == 0 && len(e.runs) == 0 {
		return
	}
	wanted := make(map[string]bool, len(want))
	for _, t := range want {
		wanted[t.ID] = true
		r := e.runs[t.ID]
		switch {
		case r == nil:
			if e.runs == nil {
				e.runs = map[string]*run{}
			}
			r = &run{task: t}
			e.runs[t.ID] = r
			e.try(ctx, r)
		case r.last:
			r.anew = true
		case r.reported != 0 && r.reported <= batch: // its result is durable, and yet it is wanted
			r.reported = 0
			e.later(ctx, r)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(e.runs)) {
		if r := e.runs[id]; !wanted[id] && r.reported <= batch {
			e.cancel(id, r)
		}
	}
	if len(e.runs) == 0 {
		e.runs = nil
	}
}

// try makes an attempt. One that touches the outside waits for its turn, and is
// written down before: an owner that is fenced cannot start it any more.
func (e *entity) try(ctx actor.Context, r *run) {
	if e.rt.poison.is(func() fingerprint { return taskPrint(e.entity(), r.task.ID) }, e.rt.Real.Now()) {
		e.later(ctx, r)
		return
	}
	if messages.ByRequest(name(r.task)) != nil {
		e.spawn(ctx, r)
		return
	}
	if r.task.Key == "" {
		e.announce(r)
		return
	}
	self, root := ctx.Self(), ctx.ActorSystem().Root
	r.turn = e.rt.lanes.enter(r.task.Key, func() { root.Send(self, &proceed{r}) })
}

// proceed goes on once the turn has come.
func (e *entity) proceed(ctx actor.Context, m *proceed) {
	if e.mode == alive && e.runs[m.r.task.ID] == m.r && m.r.turn != nil {
		e.announce(m.r)
		e.flush(ctx)
	}
}

// announce writes down that an attempt begins.
func (e *entity) announce(r *run) {
	if e.next == nil {
		e.next = e.newBatch()
	}
	e.next.journal.Records = append(e.next.journal.Records, &journalv1.Record{
		TimeMs: e.lastMS, Attempt: &journalv1.Attempt{TaskId: r.task.ID, Number: uint64(r.attempt) + 1}, //nolint:gosec // a count is not negative
	})
	r.announced = e.next.number
}

// launch starts the attempts that a batch has written down.
func (e *entity) launch(ctx actor.Context, batch uint64) {
	for _, id := range slices.Sorted(maps.Keys(e.runs)) {
		if r := e.runs[id]; r.announced == batch {
			r.announced = 0
			e.spawn(ctx, r)
		}
	}
}

func name(t Task) protoreflect.FullName { return t.Do.ProtoReflect().Descriptor().FullName() }

func (e *entity) stopRuns(ctx actor.Context) {
	for _, id := range slices.Sorted(maps.Keys(e.runs)) {
		r := e.runs[id]
		r.turn.leave()
		if r.pid != nil {
			ctx.Stop(r.pid)
		}
	}
	e.runs = nil
}

// cancel starts no more attempts of a task. One that is under way may have had
// its effect already: it is let finish, and the kind hears what came of it.
func (e *entity) cancel(id string, r *run) {
	r.anew = false
	if r.pid == nil {
		r.turn.leave()
		delete(e.runs, id)
	} else {
		r.last = true
	}
}

func (e *entity) spawn(ctx actor.Context, r *run) {
	w := &worker{rt: e.rt, task: r.task, turn: r.turn, box: e.box, subject: "$" + e.kind.Name + "/" + e.id}
	r.turn = nil
	r.pid = ctx.Spawn(actor.PropsFromProducer(func() actor.Actor { return w },
		actor.WithDispatcher(e.rt.engine.Dispatcher())))
}

// later makes another attempt after a pause that grows.
func (e *entity) later(ctx actor.Context, r *run) {
	self, root := ctx.Self(), ctx.ActorSystem().Root
	e.rt.Scheduler.After(e.rt.backoff(e.rt.RetryFirst, r.attempt), func() { root.Send(self, &rerun{r}) })
	r.attempt++
}

func (e *entity) rerun(ctx actor.Context, m *rerun) {
	if e.mode == alive && e.runs[m.r.task.ID] == m.r && m.r.reported == 0 && m.r.announced == 0 && m.r.pid == nil && m.r.turn == nil {
		e.try(ctx, m.r)
		e.flush(ctx)
	}
}

// reported tries again, or lets the kind decide what follows from the end of a task.
func (e *entity) reported(ctx actor.Context, m *reported) {
	r := e.runs[m.id]
	if e.mode != alive || r == nil || r.reported != 0 || !r.pid.Equal(m.pid) {
		return // not wanted any more
	}
	ctx.Stop(r.pid)
	r.pid = nil
	last := r.last && !r.anew
	r.last, r.anew = false, false
	if e.concluded(r, m) {
		e.flush(ctx)
	} else if last {
		delete(e.runs, m.id)
	} else {
		e.later(ctx, r) // no commit will compare again
	}
}

// concluded lets the kind decide what follows from an attempt; false when there
// is to be another, or when nothing follows.
func (e *entity) concluded(r *run, m *reported) bool {
	refusal, final := errors.AsType[*messages.Error](m.err)
	if m.err != nil && (!final || messages.Rule(refusal.Reason).GetRetry()) {
		e.rt.Log.Info("task tried in vain", slog.String("entity", e.entity().String()), slog.String("task", m.id), slog.Int("attempt", r.attempt+1), slog.Any("error", m.err))
		return false
	}
	if m.result != nil {
		e.sealBody(m.result)
	}
	e.ending = m.id // until it is taken: not by defer, for a panic is to find it
	d := e.machine.taskDone(Done{Task: r.task, Result: m.result, Err: refusal}, e.own())
	e.ending = ""
	if len(d.events) == 0 {
		e.rt.Log.Info("task result leads to nothing yet", slog.String("entity", e.entity().String()), slog.String("task", m.id))
		return false
	}
	e.keep(d, nil)
	fault.Point(fault.Reported)
	r.reported = e.next.number
	return true
}
