package entity

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/internal/fault"
	"github.com/threefoldtech/cloud-marketplace/internal/keyring"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// defaultTimeout bounds an attempt of a task that does not say how long.
const defaultTimeout = 10 * time.Second

// worker is the supervised child that makes one attempt of a task.
type worker struct {
	rt      *Runtime
	task    Task
	turn    *turn // given back when the attempt has ended, also if nobody waits for it any more
	box     *keyring.Box
	subject string
	cancel  context.CancelFunc
}

// Receive takes one message.
func (w *worker) Receive(ctx actor.Context) {
	switch ctx.Message().(type) {
	case *actor.Started:
		w.attempt(ctx)
	case *actor.Stopping:
		if w.cancel != nil {
			w.cancel()
		}
	}
}

// attempt asks another entity, or an executor; nothing here waits for the answer.
func (w *worker) attempt(ctx actor.Context) {
	parent, self, root := ctx.Parent(), ctx.Self(), ctx.ActorSystem().Root
	done := func(result proto.Message, err error) {
		root.Send(parent, &reported{id: w.task.ID, pid: self, result: result, err: err})
	}
	timeout := w.task.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	if m := messages.ByRequest(name(w.task)); m != nil {
		w.ask(m, timeout, done)
		return
	}
	limited, cancel := context.WithTimeout(context.Background(), timeout)
	w.cancel = cancel
	w.rt.Scheduler.Go(func() {
		defer cancel()
		result, err := w.execute(limited)
		w.turn.leave()
		done(result, err)
	})
}

// ask has another entity decide. Tasks state absolutes, so asking twice is asking once.
func (w *worker) ask(m *messages.Method, timeout time.Duration, done func(proto.Message, error)) {
	id, err := m.ActorID(w.subject, "", w.task.Do)
	if err != nil {
		done(nil, err)
		return
	}
	body, err := opened(w.task.Do, strings.TrimPrefix(w.subject, "$"), w.box)
	if err != nil {
		done(nil, err)
		return
	}
	req := &clusterv1.Request{Kind: m.Actor, Id: id, Method: m.Name, Payload: encode(body), Subject: w.subject}
	w.rt.engine.Call(req, timeout, func(r *clusterv1.Response) {
		if r.GetError() != nil {
			done(nil, messages.FromStatus(r.GetError()))
			return
		}
		result := m.Response()
		if err := proto.Unmarshal(r.GetPayload(), result); err != nil {
			done(nil, fmt.Errorf("answer of %s: %w", m.Name, err))
			return
		}
		done(result, nil)
	})
}

// execute has the outside do the task. A panic of an executor is an error like others.
func (w *worker) execute(ctx context.Context) (result proto.Message, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("executor of %s panicked: %v", w.task.ID, r)
		}
	}()
	do := w.rt.Executors[name(w.task)]
	if do == nil {
		return nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_INTERNAL, "nobody executes %s", name(w.task))
	}
	task, err := opened(w.task.Do, strings.TrimPrefix(w.subject, "$"), w.box)
	if err != nil {
		return nil, err
	}
	fault.Point(fault.BeforeEffect)
	result, err = do(ctx, w.task.ID, task)
	fault.Point(fault.AfterEffect)
	return result, err
}
