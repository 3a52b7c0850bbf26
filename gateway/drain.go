package gateway

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
)

// drainLook is how often those who are to go are looked at.
const drainLook = 20 * time.Millisecond

// leaver is a session on its way out.
type leaver struct {
	s     *Session
	after time.Duration // since the draining began
}

// Drain sends everyone away: no new connections, a notice with a moment to come
// back at, then closes spread over half of within, each when its requests are
// answered. When within is over, or ctx ends, the rest is closed as it is: what
// was not answered is asked again elsewhere, under the same command ids.
func (g *Gateway) Drain(ctx context.Context, within time.Duration) {
	g.draining.Store(true)
	var leaving []leaver
	for _, s := range g.registry.all() {
		after := time.Duration(rand.Int64N(int64(within)/2 + 1)) //nolint:gosec // spreads reconnects, guards nothing
		s.notify("session/draining", `{"reconnectMs":`+itoa(after.Milliseconds())+`}`)
		leaving = append(leaving, leaver{s, after})
	}
	slices.SortFunc(leaving, func(a, b leaver) int { return cmp.Compare(a.after, b.after) })
	for passed := time.Duration(0); len(leaving) > 0; passed += drainLook {
		over := passed >= within || ctx.Err() != nil
		leaving = slices.DeleteFunc(leaving, func(l leaver) bool {
			goes := over || l.after <= passed && l.s.idle()
			if goes {
				l.s.close(CodeDraining, "this server stops; another one answers")
			}
			return goes
		})
		if len(leaving) > 0 {
			_ = clock.Pause(ctx, drainLook)
		}
	}
}

// Stop ends what Start began. Whoever is still there is sent away, and has a
// moment to take the news.
func (g *Gateway) Stop() {
	g.draining.Store(true)
	for _, s := range g.registry.all() {
		s.close(CodeDraining, "the server stops")
	}
	for waited := time.Duration(0); g.registry.count.Load() > 0 && waited < closeWithin; waited += drainLook {
		_ = clock.Pause(context.Background(), drainLook)
	}
	if g.quit != nil { // else it was never started
		g.quit()
	}
	g.done.Wait()
}
