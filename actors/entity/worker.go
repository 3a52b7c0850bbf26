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

// worker is the supervised child that runs one task; its I/O has a goroutine of its own.
type worker struct {
	rt      *Runtime
	task    Task
	subject string
	cancel  context.CancelFunc
	last    chan struct{} // closed when there are to be no more attempts
}

// attempted is what a worker's goroutine came to.
type attempted struct {
	result proto.Message
	err    *messages.Error
	vain   bool // it was told to finish before there was one of them
}

// Receive takes one message.
func (w *worker) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		run, cancel := context.WithCancel(context.Background())
		w.cancel, w.last = cancel, make(chan struct{})
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
	case *finish:
		close(w.last)
	case *attempted:
		ctx.Send(ctx.Parent(), &reported{w.task.ID, ctx.Self(), *m})
	}
}

// persist tries until there is something to report or it was told to finish;
// nil when it was stopped.
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
		switch w.pause(ctx, backoff(w.rt.RetryFirst, n)) {
		case finished:
			return &attempted{vain: true}
		case stopped:
			return nil
		case again:
		}
	}
}

// pause waits before the next attempt, and says whether there is to be one.
func (w *worker) pause(ctx context.Context, d time.Duration) verdict {
	t := time.NewTimer(d) //nolint:forbidigo // a pause between attempts, not a time that anything is decided by
	defer t.Stop()
	select {
	case <-t.C:
	case <-w.last:
	case <-ctx.Done():
		return stopped
	}
	select {
	case <-w.last:
		return finished
	default:
		return again
	}
}

// verdict is whether a worker tries again.
type verdict uint8

const (
	again    verdict = iota
	finished         // it is not wanted any more
	stopped          // whoever wanted it has stopped
)

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
