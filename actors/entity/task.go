package entity

import (
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// run is a task that runs, waits for its next attempt, or has reported.
type run struct {
	task     Task
	pid      *actor.PID
	attempt  int
	reported uint64 // the batch that holds its result; 0: none
	last     bool   // it is not wanted any more: the attempt under way is its last
	anew     bool   // it is wanted again since
}

type (
	// reported is the end of a task, from its worker.
	reported struct {
		id  string
		pid *actor.PID
		attempted
	}
	// finish tells a worker to try no more.
	finish struct{}
	// rerun starts a task again.
	rerun struct{ r *run }
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
			e.spawn(ctx, r)
		case r.last:
			r.anew = true
		case r.reported != 0 && r.reported <= batch: // its result is durable, and yet it is wanted
			r.reported = 0
			e.later(ctx, r)
		}
	}
	for id, r := range e.runs {
		if !wanted[id] && r.reported <= batch {
			e.cancel(ctx, id, r)
		}
	}
	if len(e.runs) == 0 {
		e.runs = nil
	}
}

func (e *entity) stopRuns(ctx actor.Context) {
	for _, r := range e.runs {
		if r.pid != nil {
			ctx.Stop(r.pid)
		}
	}
	e.runs = nil
}

// cancel starts no more attempts of a task. One that is under way may have had
// its effect already: it is let finish, and the kind hears what came of it.
func (e *entity) cancel(ctx actor.Context, id string, r *run) {
	r.anew = false
	switch {
	case r.pid == nil:
		delete(e.runs, id)
	case !r.last:
		r.last = true
		ctx.Send(r.pid, &finish{})
	}
}

func (e *entity) spawn(ctx actor.Context, r *run) {
	subject := "$" + e.kind.Name + "/" + e.id
	r.pid = ctx.Spawn(actor.PropsFromProducer(func() actor.Actor { return &worker{rt: e.rt, task: r.task, subject: subject} }))
}

func (e *entity) later(ctx actor.Context, r *run) {
	self, root := ctx.Self(), ctx.ActorSystem().Root
	time.AfterFunc(backoff(e.rt.RetryFirst, r.attempt), func() { root.Send(self, &rerun{r}) }) //nolint:forbidigo // a pause between attempts, not a time that anything is decided by
	r.attempt++
}

func (e *entity) rerun(ctx actor.Context, m *rerun) {
	if e.mode == alive && e.runs[m.r.task.ID] == m.r && m.r.reported == 0 && m.r.pid == nil {
		e.spawn(ctx, m.r)
	}
}

// reported lets the kind decide what follows from the end of a task.
func (e *entity) reported(ctx actor.Context, m *reported) {
	r := e.runs[m.id]
	if e.mode != alive || r == nil || r.reported != 0 || !r.pid.Equal(m.pid) {
		return // not wanted any more
	}
	ctx.Stop(r.pid)
	r.pid = nil
	last := r.last && !r.anew
	r.last, r.anew = false, false
	if !m.vain {
		d := e.machine.taskDone(Done{Task: r.task, Result: m.result, Err: m.err}, e.env(System, ""))
		if len(d.events) > 0 {
			e.keep(d, nil)
			r.reported = e.next.number
			e.flush(ctx)
			return
		}
		e.rt.Log.Info("task result leads to nothing yet", slog.String("entity", e.entity().String()), slog.String("task", m.id))
	}
	if last {
		delete(e.runs, m.id)
	} else {
		e.later(ctx, r) // no commit will compare again
	}
}
