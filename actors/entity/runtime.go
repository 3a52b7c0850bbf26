package entity

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/threefoldtech/cloud-marketplace/actors/engine"
	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/internal/fault"
	"github.com/threefoldtech/cloud-marketplace/internal/keyring"
	"github.com/threefoldtech/cloud-marketplace/internal/schedule"
	"github.com/threefoldtech/cloud-marketplace/internal/telemetry"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// Executor does what a task asks of the outside. id is the task's and serves as
// idempotency key. A *messages.Error whose rule does not say retry is final;
// every other error is tried again.
type Executor func(ctx context.Context, id string, task proto.Message) (proto.Message, error)

// Config configures a Runtime. Zero values have the defaults that are named.
type Config struct {
	Store persistence.Store
	// Executors do tasks, by the full name of the task's message.
	Executors     map[protoreflect.FullName]Executor
	Keys          *keyring.Ring      // wraps the data keys of entities; nil: nothing can be sealed
	Domain        clock.Clock        // what kinds see; nil: the real clock
	Real          clock.Clock        // what guards leases and memory; nil: the real clock
	Scheduler     schedule.Scheduler // where work runs; nil: goroutines
	Random        func() uint64      // what ids and pauses are made of; nil: math/rand/v2
	Log           *slog.Logger       // nil: none
	Tracer        *telemetry.Tracer  // nil: nothing is traced
	SnapshotEvery int                // commits between snapshots; 100
	GateLimit     int                // answers that one entity holds back; 2048
	Shared        bool               // several processes share the store: a renewed watch is compared with it
	Lease         time.Duration      // how long a watch lives unrenewed; 15 s
	RetryFirst    time.Duration      // first pause before a task is tried again; 100 ms
	ScanEvery     time.Duration      // how often due wake-ups are looked for; 250 ms
	TaskGuard     time.Duration      // pending tasks of a dead process are taken up after this; 30 s
}

// Runtime is what all entities of a process share.
type Runtime struct {
	Config
	engine  *engine.Engine
	counts  counts
	poison  poison
	lanes   lanes
	stopped atomic.Bool
}

type counts struct {
	fenced, lost, unknown, repeats, overloaded, panics, damaged, commits, commands atomic.Uint64
}

// Stats are counts since the start.
type Stats struct {
	Fenced     uint64 // incarnations ended by another owner's commit
	Lost       uint64 // entities halted because the store is behind or contradicts itself
	Unknown    uint64 // commits handed over again because their outcome was not known
	Repeats    uint64 // commands answered from memory
	Overloaded uint64 // requests refused because the gate was full
	Panics     uint64 // incarnations ended by a panic of their kind
	Damaged    uint64 // snapshots passed over because they could not be read
	Commits    uint64 // commits with events
	Commands   uint64 // decisions with events
}

// NewRuntime returns a Runtime; Start sets it going.
func NewRuntime(c Config) *Runtime {
	set := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	set(&c.Lease, 15*time.Second)
	set(&c.RetryFirst, 100*time.Millisecond)
	set(&c.ScanEvery, 250*time.Millisecond)
	set(&c.TaskGuard, 30*time.Second)
	if c.SnapshotEvery == 0 {
		c.SnapshotEvery = 100
	}
	if c.GateLimit == 0 {
		c.GateLimit = 2048
	}
	if c.Domain == nil {
		c.Domain = clock.Real{}
	}
	if c.Real == nil {
		c.Real = clock.Real{}
	}
	if c.Scheduler == nil {
		c.Scheduler = schedule.Real{}
	}
	if c.Random == nil {
		c.Random = rand.Uint64
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Runtime{Config: c}
}

// Kind returns what the engine needs to make entities of a kind.
func (rt *Runtime) Kind(k *Kind) engine.Kind {
	return engine.Kind{Name: k.Name, New: func() actor.Actor {
		return &entity{rt: rt, kind: k, nonce: rt.Random()}
	}}
}

// Start lets entities be woken, from now on by e.
func (rt *Runtime) Start(e *engine.Engine) {
	rt.engine = e
	rt.scan()
}

// Stop ends the waking. Stop the engine after it.
func (rt *Runtime) Stop() {
	rt.stopped.Store(true)
}

// Stats returns the counts.
func (rt *Runtime) Stats() Stats {
	c := &rt.counts
	return Stats{
		Fenced: c.fenced.Load(), Lost: c.lost.Load(), Unknown: c.unknown.Load(), Repeats: c.repeats.Load(),
		Overloaded: c.overloaded.Load(), Panics: c.panics.Load(), Damaged: c.damaged.Load(), Commits: c.commits.Load(), Commands: c.commands.Load(),
	}
}

const (
	// System is the subject of what the runtime itself asks.
	System = "$system"
	// wakeMethod is the one request that the schema does not know: the time has come.
	wakeMethod = "$wake"

	scanBatch = 500
	scanLease = 10 * time.Second
)

// scan wakes what is due, and again after a while until the runtime stops. A
// claim that leads to nothing comes back after its lease.
func (rt *Runtime) scan() {
	for !rt.stopped.Load() && rt.wakeDue() == scanBatch {
	}
	if !rt.stopped.Load() {
		rt.Scheduler.After(rt.ScanEvery, rt.scan)
	}
}

func (rt *Runtime) wakeDue() int {
	ctx, cancel := context.WithTimeout(context.Background(), scanLease)
	defer cancel()
	now := rt.Domain.Now()
	due, err := rt.Store.Due(ctx, now, scanBatch, rt.Domain.In(scanLease).Sub(now))
	if err != nil {
		if !errors.Is(err, persistence.ErrClosed) {
			rt.Log.ErrorContext(ctx, "due wake-ups not read", slog.Any("error", err))
		}
		return 0
	}
	if len(due) > 0 {
		fault.Point(fault.Woken)
	}
	for _, e := range due {
		rt.engine.Call(&clusterv1.Request{Kind: e.Kind, Id: e.ID, Method: wakeMethod, Subject: System}, scanLease, func(*clusterv1.Response) {})
	}
	return len(due)
}

// backoff doubles up to 30 s, with full jitter over its upper half.
func (rt *Runtime) backoff(first time.Duration, attempt int) time.Duration {
	d := min(first<<min(attempt, 12), 30*time.Second)
	return d/2 + time.Duration(rt.Random()%uint64(d/2+1)) //nolint:gosec // a pause is not negative
}

// fresh returns an id that nothing else has: a random UUID.
func (rt *Runtime) fresh() string {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], rt.Random())
	binary.BigEndian.PutUint64(id[8:], rt.Random())
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id.String()
}
