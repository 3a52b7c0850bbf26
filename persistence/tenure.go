package persistence

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
)

// reportPause is how long a tenure leaves the store alone after it told how far
// the group has come: telling of every message costs more than delivering it.
const reportPause = 10 * time.Millisecond

// goodbye bounds what a tenure still says to the store after its context ended.
const goodbye = 5 * time.Second

// tenure is the time during which a subscription is its group's reader. It
// keeps the lease alive and tells the store how far the group has come, both
// in the background: delivery waits for neither.
//
// A nil tenure always holds and tells nobody.
type tenure struct {
	n     *subscription
	until atomic.Int64  // when the lease runs out, in nanoseconds of the clock
	news  chan struct{} // holds one token when a position waits to be told
	wait  sync.WaitGroup

	mu   sync.Mutex
	at   Position // handled
	told Position // handled and known to the store
	gone bool     // what was handled is not in the store: nothing more is told
}

// campaign waits until the subscription is its group's reader; false means
// that it ended first.
func (n *subscription) campaign(ctx context.Context) (*tenure, bool) {
	t := &tenure{n: n, news: make(chan struct{}, 1)}
	for {
		switch held, err := t.renew(ctx); {
		case err != nil:
			if !n.recover(ctx, "place of the reader not asked for", err) {
				return nil, false
			}
		case held:
			return t, true
		case !clock.Pause(ctx, n.config.Lease/20):
			return nil, false
		}
	}
}

// leaseName is what the readers of a group compete for.
func (n *subscription) leaseName() string { return "reader/" + n.group + "/" + n.topic }

// renew takes or prolongs the lease. It counts from before the call, so that
// we never believe in it longer than the store does.
func (t *tenure) renew(ctx context.Context) (bool, error) {
	until := t.n.config.Clock.In(t.n.config.Lease).UnixNano()
	held, err := t.n.store.Lease(ctx, t.n.leaseName(), t.n.holder, t.n.config.Lease)
	if err == nil && held {
		t.until.Store(until)
	}
	return held, err
}

// begin keeps the tenure going in the background; lost is called when the
// lease has gone to another or can no longer be renewed.
func (t *tenure) begin(ctx context.Context, lost context.CancelFunc) {
	t.wait.Go(func() {
		defer lost()
		t.keep(ctx)
	})
	t.wait.Go(func() { t.report(ctx) })
}

// keep renews the lease three times before it would run out. Errors are
// survived while the lease lasts.
func (t *tenure) keep(ctx context.Context) {
	for clock.Pause(ctx, t.n.config.Lease/3) {
		held, err := t.renew(ctx)
		if err != nil && ctx.Err() == nil {
			t.n.config.Log.WarnContext(ctx, "lease not renewed",
				slog.String("lease", t.n.leaseName()), slog.Any("error", err))
		}
		if err == nil && !held || !t.holds() {
			return
		}
	}
}

// holds says whether the lease still lasts. A process that was suspended finds
// out here before it delivers.
func (t *tenure) holds() bool {
	return t == nil || t.n.config.Clock.Now().UnixNano() < t.until.Load()
}

// handled notes that everything up to a position was acked.
func (t *tenure) handled(to Position) {
	if t == nil {
		return
	}
	t.mu.Lock()
	t.at = to
	t.mu.Unlock()
	select {
	case t.news <- struct{}{}:
	default:
	}
}

// disown keeps positions from being told that the store has lost: what it
// publishes next will have the same.
func (t *tenure) disown() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gone = true
}

// report tells the store how far the group has come; what comes up while it
// does so, and soon after, is told in one call.
func (t *tenure) report(ctx context.Context) {
	for {
		select {
		case <-t.news:
			t.tell(ctx)
		case <-ctx.Done():
			return
		}
		if !clock.Pause(ctx, reportPause) {
			return
		}
	}
}

// tell moves the group's cursor to what was handled.
func (t *tenure) tell(ctx context.Context) {
	t.mu.Lock()
	at, told, gone := t.at, t.told, t.gone
	t.mu.Unlock()
	if at == told || gone {
		return
	}
	err := t.n.store.Advance(ctx, t.n.group, t.n.topic, at)
	if errors.Is(err, ErrInvalid) {
		t.disown()
	}
	if err != nil {
		if ctx.Err() == nil {
			t.n.config.Log.WarnContext(ctx, "consumer group not advanced",
				slog.String("group", t.n.group), slog.String("topic", t.n.topic), slog.Any("error", err))
		}
		return // The next position or the end of the tenure tries again.
	}
	t.mu.Lock()
	t.told = at
	t.mu.Unlock()
}

// end tells the last position and gives the lease back, so that the next
// reader need not wait for it to run out. Its ctx has ended.
func (t *tenure) end(ctx context.Context) {
	t.wait.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
	defer cancel()
	t.tell(ctx)
	if _, err := t.n.store.Lease(ctx, t.n.leaseName(), t.n.holder, 0); err != nil {
		t.n.config.Log.WarnContext(ctx, "lease not given back",
			slog.String("lease", t.n.leaseName()), slog.Any("error", err))
	}
}
