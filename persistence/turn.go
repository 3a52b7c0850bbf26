package persistence

import (
	"context"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
)

// turn is one handing over of a message, and the context that the message has
// while its handler works on it. It ends with the verdict or with the
// subscription, whichever comes first.
//
// Most handlers never ask whether it has ended, so it does not cost what a
// context with a cancel function does: whoever offers the message waits for
// both anyway and calls end.
type turn struct {
	context.Context //nolint:containedctx // A context is made of the one it is part of.

	of      *Message
	gap     uint64 // how many messages before it were trimmed unread
	message *message.Message

	mu   sync.Mutex
	done chan struct{} // made when somebody asks
	err  error         // why it has ended
}

// newTurn makes a message ready to be handed over within ctx.
func newTurn(ctx context.Context, m *Message, gap uint64) *turn {
	t := &turn{Context: ctx, of: m, gap: gap, message: received(m, gap)}
	t.message.SetContext(t) //nolint:contextcheck // It is made of ctx.
	return t
}

// Done returns a channel that is closed when the turn has ended.
func (t *turn) Done() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done == nil {
		t.done = make(chan struct{})
		if t.err != nil {
			close(t.done)
		}
	}
	return t.done
}

// Err returns why the turn has ended: context.Canceled, or the subscription's error.
func (t *turn) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// end ends the turn.
func (t *turn) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err = t.Context.Err(); t.err == nil {
		t.err = context.Canceled
	}
	if t.done != nil {
		close(t.done)
	}
}
