package entity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// run is a task that runs, waits for its next attempt, or has reported.
type run struct {
	task     Task
	pid      *actor.PID
	attempt  int
	reported uint64 // the batch that holds its result; 0: none
}

type (
	// reported is the end of a task, from its worker.
	reported struct {
		id     string
		pid    *actor.PID
		result proto.Message
		err    *messages.Error
	}
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
		case r.reported != 0 && r.reported <= batch: // its result is durable, and yet it is wanted
			r.reported = 0
			e.later(ctx, r)
		}
	}
	for id, r := range e.runs {
		if !wanted[id] && r.reported <= batch {
			e.drop(ctx, id, r)
		}
	}
	if len(e.runs) == 0 {
		e.runs = nil
	}
}

func (e *entity) stopRuns(ctx actor.Context) {
	for id, r := range e.runs {
		e.drop(ctx, id, r)
	}
}

func (e *entity) drop(ctx actor.Context, id string, r *run) {
	delete(e.runs, id)
	if r.pid != nil {
		ctx.Stop(r.pid)
	}
}

func (e *entity) spawn(ctx actor.Context, r *run) {
	subject := "$" + e.kind.Name + "/" + e.id
	r.pid = ctx.Spawn(actor.PropsFromProducer(func() actor.Actor { return &worker{rt: e.rt, task: r.task, subject: subject} }))
}

func (e *entity) later(ctx actor.Context, r *run) {
	self, root := ctx.Self(), ctx.ActorSystem().Root
	time.AfterFunc(backoff(e.rt.RetryFirst, r.attempt), func() { root.Send(self, &rerun{r}) })
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
	d := e.machine.taskDone(Done{Task: r.task, Result: m.result, Err: m.err}, e.env(System, ""))
	if len(d.events) == 0 { // no commit will compare again
		e.rt.Log.Info("task result leads to nothing yet", slog.String("entity", e.entity().String()), slog.String("task", m.id))
		e.later(ctx, r)
		return
	}
	e.keep(d, nil)
	r.reported = e.next.number
	e.flush(ctx)
}

// worker is the supervised child that runs one task; its I/O has a goroutine of its own.
type worker struct {
	rt      *Runtime
	task    Task
	subject string
	cancel  context.CancelFunc
}

// attempted is what a worker's goroutine came to.
type attempted struct {
	result proto.Message
	err    *messages.Error
}

// Receive takes one message.
func (w *worker) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		run, cancel := context.WithCancel(context.Background())
		w.cancel = cancel
		self, root := ctx.Self(), ctx.ActorSystem().Root
		go func() {
			if a := w.persist(run); a != nil {
				root.Send(self, a)
			}
		}()
	case *actor.Stopping:
		if w.cancel != nil {
			w.cancel()
		}
	case *attempted:
		ctx.Send(ctx.Parent(), &reported{id: w.task.ID, pid: ctx.Self(), result: m.result, err: m.err})
	}
}

// persist tries until there is something to report; nil when it was cancelled.
func (w *worker) persist(ctx context.Context) *attempted {
	for n := 0; ; n++ {
		result, err := w.attempt(ctx)
		var refusal *messages.Error
		switch {
		case err == nil:
			return &attempted{result: result}
		case errors.As(err, &refusal) && !messages.Rule(refusal.Reason).GetRetry():
			return &attempted{err: refusal}
		}
		w.rt.Log.InfoContext(ctx, "task tried in vain", slog.String("task", w.task.ID), slog.String("by", w.subject), slog.Int("attempt", n+1), slog.Any("error", err))
		pause := time.NewTimer(backoff(w.rt.RetryFirst, n)) //nolint:forbidigo // a pause between attempts, not a time that anything is decided by
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil
		}
	}
}

// attempt does the task once. A panic of an executor is an error like others.
func (w *worker) attempt(ctx context.Context) (result proto.Message, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("executor of %s panicked: %v", w.task.ID, r)
		}
	}()
	timeout := w.task.Timeout
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	name := w.task.Do.ProtoReflect().Descriptor().FullName()
	if m := messages.ByRequest(name); m != nil {
		return w.ask(ctx, m, timeout)
	}
	execute := w.rt.Executors[name]
	if execute == nil {
		return nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_INTERNAL, "nobody executes %s", name)
	}
	return execute(ctx, w.task.ID, w.task.Do)
}

// ask has another entity decide. Tasks state absolutes, so asking twice is asking once.
func (w *worker) ask(ctx context.Context, m *messages.Method, timeout time.Duration) (proto.Message, error) {
	id, err := m.ActorID(w.subject, "", w.task.Do)
	if err != nil {
		return nil, err
	}
	resp, err := w.rt.engine.Ask(ctx, &clusterv1.Request{Kind: m.Actor, Id: id, Method: m.Name, Payload: encode(w.task.Do), Subject: w.subject}, timeout)
	if err != nil {
		return nil, err
	}
	if resp.GetError() != nil {
		return nil, messages.FromStatus(resp.GetError())
	}
	result := m.Response()
	if err := proto.Unmarshal(resp.GetPayload(), result); err != nil {
		return nil, fmt.Errorf("answer of %s: %w", m.Name, err)
	}
	return result, nil
}
