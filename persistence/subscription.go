package persistence

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
)

// retryDelay is how long a subscription leaves a store alone that did not answer.
const retryDelay = time.Second

// subscription is one channel of messages and the goroutine that fills it.
type subscription struct {
	store  Store
	config SubscriberConfig
	group  string // empty: fan-out
	topic  string
	holder string // names this subscription where the group's reader is chosen
	out    chan *message.Message
	cancel context.CancelFunc
}

// run fills the channel until ctx ends or the store is closed.
func (n *subscription) run(ctx context.Context, after Position) {
	defer close(n.out)
	defer n.cancel()
	if n.group == "" {
		n.follow(ctx, after, nil)
		return
	}
	if !n.join(ctx) {
		return
	}
	for {
		t, ok := n.campaign(ctx)
		if !ok {
			return
		}
		n.read(ctx, t)
		if ctx.Err() != nil {
			return
		}
	}
}

// join makes the group known, also while another is its reader: from now on
// nothing is trimmed that it has not read. False means that ctx ended first.
func (n *subscription) join(ctx context.Context) bool {
	for {
		err := n.store.Advance(ctx, n.group, n.topic, "")
		if err == nil {
			return true
		}
		if !n.recover(ctx, "consumer group not made known", err) {
			return false
		}
	}
}

// read is one tenure: it goes on where the group is, until the place is lost.
func (n *subscription) read(ctx context.Context, t *tenure) {
	ctx, cancel := context.WithCancel(ctx)
	defer t.end(ctx)
	defer cancel()
	t.begin(ctx, cancel)
	for {
		after, err := n.store.Cursor(ctx, n.group, n.topic)
		if err == nil {
			n.follow(ctx, after, t)
			return
		}
		if !n.recover(ctx, "consumer group not found out", err) {
			return
		}
	}
}

// follow delivers what comes after a position, and has the next batch read and
// made ready meanwhile. A nil tenure is fan-out: nobody needs to know how far it
// has come.
func (n *subscription) follow(ctx context.Context, after Position, t *tenure) {
	ctx, cancel := context.WithCancel(ctx)
	batches := make(chan []*turn)
	var fetching sync.WaitGroup
	fetching.Go(func() {
		defer close(batches)
		n.fetch(ctx, after, batches, t)
	})
	defer fetching.Wait()
	defer cancel()
	for batch := range batches {
		for _, first := range batch {
			if !n.deliver(ctx, first, t) {
				return
			}
			t.handled(first.of.Position)
		}
	}
}

// fetch reads what comes after a position, one batch ahead of who takes them.
//
// A store that lost its end numbers what comes then as it numbered what is gone.
// A group goes on where the store says that it is; a fan-out goes on at the end,
// and hears of a gap.
func (n *subscription) fetch(ctx context.Context, after Position, batches chan<- []*turn, t *tenure) {
	lost := uint64(0)
	for {
		ms, err := n.store.Read(ctx, n.topic, after, n.config.Batch)
		if err != nil {
			if !n.recover(ctx, "topic not read", err) {
				return
			}
			end, err := n.store.End(ctx, n.topic)
			if err == nil && behind(end, after) {
				n.config.Log.ErrorContext(ctx, "ALARM: the topic ends before what was read of it", slog.String("topic", n.topic),
					slog.String("group", n.group), slog.String("end", string(end)), slog.String("read", string(after)))
				if t != nil {
					t.disown()
					return // the store knows how far the group has come of what is left
				}
				after, lost = end, 1
			}
			continue
		}
		gap := missing(after, ms[0].Position) + lost // what is read at once is contiguous
		lost = 0
		if gap > 0 {
			n.config.Log.WarnContext(ctx, "messages were trimmed unread",
				slog.String("topic", n.topic), slog.String("group", n.group), slog.Uint64("messages", gap))
		}
		batch := make([]*turn, len(ms))
		for i := range ms {
			batch[i] = newTurn(ctx, &ms[i], gap)
			gap = 0
		}
		after = ms[len(ms)-1].Position
		select {
		case batches <- batch:
		case <-ctx.Done():
			return
		}
	}
}

// behind says whether a position is before another.
func behind(p, of Position) bool {
	a, err := p.Number()
	b, wrong := of.Number()
	return err == nil && wrong == nil && a < b
}

// missing returns how many messages are between two positions of a topic. Those
// that a reader does not get were trimmed, for positions are contiguous.
func missing(after, next Position) uint64 {
	from, err := after.Number()
	to, wrong := next.Number()
	if err != nil || wrong != nil || to <= from {
		return 0 // no store makes such positions
	}
	return to - from - 1
}

// deliver offers a message until it is acked; false ends the reading.
func (n *subscription) deliver(ctx context.Context, u *turn, t *tenure) bool {
	for {
		if !t.holds() {
			return false
		}
		acked, ok := n.offer(ctx, u)
		if acked || !ok {
			return ok
		}
		if !clock.Pause(ctx, n.config.NackDelay) {
			return false
		}
		u = newTurn(ctx, u.of, u.gap)
	}
}

// offer hands a message over once and waits for the verdict.
func (n *subscription) offer(ctx context.Context, u *turn) (acked, ok bool) {
	defer u.end()
	select {
	case n.out <- u.message:
	case <-ctx.Done():
		return false, false
	}
	select {
	case <-u.message.Acked():
		return true, true
	case <-u.message.Nacked():
		return false, true
	case <-ctx.Done():
		return false, false
	}
}

// recover waits after a store's error; false means that there is nothing to wait for.
func (n *subscription) recover(ctx context.Context, what string, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	if errors.Is(err, ErrClosed) {
		n.cancel()
		return false
	}
	n.config.Log.ErrorContext(ctx, "subscription waits for its store",
		slog.String("trouble", what), slog.String("topic", n.topic),
		slog.String("group", n.group), slog.Any("error", err))
	return clock.Pause(ctx, retryDelay)
}
