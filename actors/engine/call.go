package engine

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// call is one attempt to have a request answered.
type call struct {
	req     *clusterv1.Request
	attempt int
	done    func(*clusterv1.Response)
}

// calls are the attempts under way, by number.
type calls struct {
	next   *atomic.Uint64
	shards []*callShard
}

type callShard struct {
	mu   sync.Mutex
	open map[uint64]*call
}

func newCalls() calls {
	c := calls{next: &atomic.Uint64{}}
	for range shards {
		c.shards = append(c.shards, &callShard{open: map[uint64]*call{}})
	}
	return c
}

func (c *calls) put(one *call) {
	n := c.next.Add(1)
	one.req.Call = n
	s := c.shards[n%shards]
	s.mu.Lock()
	s.open[n] = one
	s.mu.Unlock()
}

func (c *calls) take(n uint64) *call {
	s := c.shards[n%shards]
	s.mu.Lock()
	one := s.open[n]
	delete(s.open, n)
	s.mu.Unlock()
	return one
}

// expired takes every attempt whose deadline has passed.
func (c *calls) expired(nowMS int64) []*call {
	var late []*call
	for _, s := range c.shards {
		s.mu.Lock()
		for n, one := range s.open {
			if one.req.GetDeadlineMs() <= nowMS {
				delete(s.open, n)
				late = append(late, one)
			}
		}
		s.mu.Unlock()
	}
	slices.SortFunc(late, func(a, b *call) int { return cmp.Compare(a.req.GetCall(), b.req.GetCall()) })
	return late
}

// Call asks an actor or a read model. done is called once, with the answer or
// with ACTOR_TIMEOUT after timeout. req must not be used by the caller any more.
func (e *Engine) Call(req *clusterv1.Request, timeout time.Duration, done func(*clusterv1.Response)) {
	req.DeadlineMs = e.config.Clock.Now().Add(timeout).UnixMilli()
	if read := e.readers[req.GetKind()]; read != nil {
		e.config.Scheduler.Go(func() { done(read(req)) })
		return
	}
	e.send(&call{req: req, done: done})
}

// Ask is Call for goroutines that may wait.
func (e *Engine) Ask(ctx context.Context, req *clusterv1.Request, timeout time.Duration) (*clusterv1.Response, error) {
	answer := make(chan *clusterv1.Response, 1)
	e.Call(req, timeout, func(r *clusterv1.Response) { answer <- r })
	select {
	case r := <-answer:
		return r, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (e *Engine) send(c *call) {
	pid, err := e.place(address{c.req.GetKind(), c.req.GetId()})
	switch {
	case errors.Is(err, errStopped) && c.attempt > 0: // the attempt before may have been decided
		c.done(timedOut())
		return
	case err != nil:
		c.done(refusal(marketplacev1.ErrorReason_ERROR_REASON_ACTOR_UNAVAILABLE, err.Error()))
		return
	}
	e.calls.put(c)
	e.system.Root.RequestWithCustomSender(pid, c.req, e.gate)
}

// again sends a call anew that nobody decided. The request is copied: the old
// one may still lie in a mailbox, and numbers tell the attempts apart.
func (e *Engine) again(c *call) {
	e.bounces.Add(1)
	wait := time.Millisecond << min(c.attempt, 7)
	if e.config.Clock.Now().Add(wait).UnixMilli() >= c.req.GetDeadlineMs() {
		c.done(timedOut())
		return
	}
	next := &call{req: proto.CloneOf(c.req), attempt: c.attempt + 1, done: c.done}
	e.config.Scheduler.After(wait, func() { e.send(next) })
}

func timedOut() *clusterv1.Response {
	return refusal(marketplacev1.ErrorReason_ERROR_REASON_ACTOR_TIMEOUT, "no answer in time: whether it was done is not known; ask again under the same command id")
}

func refusal(reason marketplacev1.ErrorReason, text string) *clusterv1.Response {
	return &clusterv1.Response{Error: messages.Refuse(reason, "%s", text).Status()}
}

// gate receives all that actors say to this process.
type gate Engine

// SendUserMessage takes an answer, a bounce or a push.
func (g *gate) SendUserMessage(_ *actor.PID, m any) {
	e := (*Engine)(g)
	switch m := actor.UnwrapEnvelopeMessage(m).(type) {
	case *clusterv1.Response:
		if c := e.calls.take(m.GetCall()); c != nil {
			c.done(m)
		} else {
			e.late.Add(1)
		}
	case *clusterv1.Bounced:
		if c := e.calls.take(m.GetCall()); c != nil {
			e.again(c)
		}
	case *clusterv1.Push:
		if e.config.OnPush != nil {
			e.config.OnPush(m)
		}
	}
}

// SendSystemMessage is not needed.
func (*gate) SendSystemMessage(*actor.PID, any) {}

// Stop is not needed.
func (*gate) Stop(*actor.PID) {}
