package engine

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
)

// Life is what the sweeper knows of an actor that lives.
type Life struct {
	PID  *actor.PID
	last atomic.Int64
}

// Touch says that the actor is in use.
func (l *Life) Touch(nowMS int64) { l.last.Store(nowMS) }

// Passivate asks an idle actor to go.
type Passivate struct{}

var passivate = &Passivate{}

// lives are the actors under the sweeper.
type lives struct {
	mu  *sync.Mutex
	set map[*Life]struct{}
}

func newLives() lives { return lives{mu: &sync.Mutex{}, set: map[*Life]struct{}{}} }

func (l *lives) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.set)
}

// idle returns up to n actors that were not used since a moment.
func (l *lives) idle(beforeMS int64, n int) []*actor.PID {
	l.mu.Lock()
	defer l.mu.Unlock()
	var pids []*actor.PID
	for one := range l.set {
		if one.last.Load() < beforeMS {
			pids = append(pids, one.PID)
		}
	}
	slices.SortFunc(pids, func(a, b *actor.PID) int { return strings.Compare(a.GetId(), b.GetId()) })
	return pids[:min(n, len(pids))]
}

// Track puts an actor under the sweeper.
func (e *Engine) Track(l *Life) {
	l.Touch(e.NowMS())
	e.lives.mu.Lock()
	e.lives.set[l] = struct{}{}
	e.lives.mu.Unlock()
}

// Gone says that an actor stops: calls from now on go to its next incarnation.
func (e *Engine) Gone(l *Life, kind, id string) {
	e.places.forget(address{kind, id}, l.PID)
	e.lives.mu.Lock()
	delete(e.lives.set, l)
	e.lives.mu.Unlock()
}

// Idle says whether an actor has been idle for long enough to go.
func (e *Engine) Idle(l *Life) bool {
	return e.NowMS()-l.last.Load() >= e.config.IdleAfter.Milliseconds()
}

// batch is how many actors are asked to go at once.
const batch = 5000

// pulse looks up, and again after a beat until the engine stops.
func (e *Engine) pulse(n int) {
	if e.stopped.Load() {
		return
	}
	now := e.config.Clock.Now().UnixMilli()
	e.nowMS.Store(now)
	if n%5 == 0 {
		for _, c := range e.calls.expired(now) {
			c.done(timedOut())
		}
	}
	if n%50 == 0 {
		for _, pid := range e.lives.idle(now-e.config.IdleAfter.Milliseconds(), batch) {
			e.system.Root.Send(pid, passivate)
		}
	}
	e.config.Scheduler.After(e.config.Beat, func() { e.pulse(n + 1) })
}
