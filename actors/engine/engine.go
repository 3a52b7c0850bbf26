// Package engine is protoactor-go made safe: actors found by kind and id, calls
// that survive the stop of their target, and an idle sweeper.
//
// # Addressing
//
// An actor is made when it is first called and lives until it stops itself. A
// directory keeps who is alive; nothing is scanned when one comes or goes. One
// process is one member: the address of an actor is its kind and id, and where
// it lives is this package's own business.
//
// # Calls
//
// Call returns at once. Each attempt of a call has a number of its own; a stop
// or a move of the target bounces the attempt, and the call is sent again until
// its deadline. Then its caller is told ACTOR_TIMEOUT, which means that the
// outcome is not known.
//
// # Concurrency
//
// What is given as done runs on the goroutine of whoever answers and must not
// block. Answers and pushes of one actor arrive in the order in which it sent them.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/internal/schedule"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
)

// Kind is a kind of actor.
type Kind struct {
	Name string
	New  func() actor.Actor
}

// Reader answers requests that no actor of its own is needed for: a read model.
// It must not block.
type Reader func(req *clusterv1.Request) *clusterv1.Response

// Config configures an Engine.
type Config struct {
	IdleAfter time.Duration      // when an actor is asked to go; zero: one minute
	Beat      time.Duration      // how often deadlines are looked at; zero: 20 ms
	Clock     clock.Clock        // nil: the real one
	Scheduler schedule.Scheduler // where actors run; nil: goroutines
	Log       *slog.Logger       // nil: none
	// OnPush takes what actors say to this process unasked. It must not block.
	OnPush func(*clusterv1.Push)
}

// Engine runs the actors of one process.
type Engine struct {
	config  Config
	system  *actor.ActorSystem
	root    *actor.RootContext
	gate    *actor.PID
	kinds   map[string]*actor.Props
	readers map[string]Reader
	places  directory
	calls   calls
	lives   lives
	nowMS   atomic.Int64
	bounces atomic.Uint64
	late    atomic.Uint64
	stopped atomic.Bool
}

// Start starts an engine for these kinds and read models.
func Start(config Config, kinds []Kind, readers map[string]Reader) (*Engine, error) {
	if config.IdleAfter == 0 {
		config.IdleAfter = time.Minute
	}
	if config.Beat == 0 {
		config.Beat = 20 * time.Millisecond
	}
	if config.Clock == nil {
		config.Clock = clock.Real{}
	}
	if config.Scheduler == nil {
		config.Scheduler = schedule.Real{}
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{config: config, kinds: map[string]*actor.Props{}, readers: readers, places: newDirectory(), calls: newCalls(), lives: newLives()}
	e.nowMS.Store(config.Clock.Now().UnixMilli())
	e.system = actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(warnings{config.Log.Handler()}) }),
		actor.WithDeadLetterRequestLogging(false))
	e.root = e.system.Root.Copy().WithGuardian(stopping{})
	e.system.EventStream.Subscribe(func(event any) {
		if d, ok := event.(*actor.DeadLetterEvent); ok {
			if req, ok := d.Message.(*clusterv1.Request); ok { // whoever went without a word is not asked again
				e.places.forget(address{req.GetKind(), req.GetId()}, d.PID)
			}
			bounce(e.system, d.Sender, d.Message)
		}
	})
	var free bool
	if e.gate, free = e.system.ProcessRegistry.Add((*gate)(e), "gate"); !free {
		return nil, errors.New("start engine: the name of the gate is taken")
	}
	for _, k := range kinds {
		if e.kinds[k.Name] != nil || readers[k.Name] != nil {
			return nil, fmt.Errorf("start engine: there are two kinds named %s", k.Name)
		}
		e.kinds[k.Name] = e.props(k)
	}
	e.pulse(0)
	return e, nil
}

// Stop stops every actor and waits until all have stopped or ctx ends. Calls
// that are open end with ACTOR_TIMEOUT, and no actor is made any more. The
// store must be closed after it, not before.
func (e *Engine) Stop(ctx context.Context) error {
	pids, first := e.places.close()
	if !first {
		return nil
	}
	e.stopped.Store(true)
	var err error
	for some := range slices.Chunk(pids, stopBatch) {
		if err = e.stopSome(ctx, some); err != nil {
			break
		}
	}
	for _, c := range e.calls.expired(math.MaxInt64) {
		c.done(timedOut())
	}
	e.system.Shutdown()
	return err
}

// stopBatch is how many actors are told to stop before they are waited for.
const stopBatch = 1024

func (e *Engine) stopSome(ctx context.Context, pids []*actor.PID) error {
	stopped := make([]*actor.Future, len(pids))
	for i, pid := range pids {
		stopped[i] = e.root.StopFuture(pid)
	}
	for i, f := range stopped {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f.Wait(); err != nil && !errors.Is(err, actor.ErrDeadLetter) {
			return fmt.Errorf("stop %s: %w", pids[i].GetId(), err)
		}
	}
	return nil
}

// NowMS returns Unix time in milliseconds, to within a beat, for next to nothing.
func (e *Engine) NowMS() int64 { return e.nowMS.Load() }

// Stats are counts since the start, and how many actors live now.
type Stats struct{ Live, Bounces, Late uint64 }

// Stats returns the engine's counts.
func (e *Engine) Stats() Stats {
	return Stats{Live: uint64(e.lives.count()), Bounces: e.bounces.Load(), Late: e.late.Load()} //nolint:gosec // a count is not negative
}

// warnings lets through what the library warns of, and not what it merely tells.
type warnings struct{ slog.Handler }

// Enabled says no to everything below a warning.
func (h warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
}

// stopping is the supervision of every actor: one that fails is stopped, never
// restarted, for what it had in memory is worth nothing.
type stopping struct{}

// HandleFailure stops the child.
func (stopping) HandleFailure(_ *actor.ActorSystem, s actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, _, _ any) {
	s.StopChildren(child)
}
