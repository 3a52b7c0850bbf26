package engine

import (
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/threefoldtech/cloud-marketplace/internal/schedule"
)

// address names an actor.
type address struct{ kind, id string }

// directory knows the actors of this process that live.
type directory struct {
	seed   maphash.Seed
	number *atomic.Uint64 // tells the incarnations of one address apart
	shards []*placeShard
}

type placeShard struct {
	mu   sync.RWMutex
	pids map[address]*actor.PID
}

const shards = 64

func newDirectory() directory {
	d := directory{seed: maphash.MakeSeed(), number: &atomic.Uint64{}}
	for range shards {
		d.shards = append(d.shards, &placeShard{pids: map[address]*actor.PID{}})
	}
	return d
}

func (d *directory) shard(a address) *placeShard {
	return d.shards[maphash.Comparable(d.seed, a)%shards]
}

// place returns the actor of an address, and makes it when there is none.
func (e *Engine) place(a address) (*actor.PID, error) {
	s := e.places.shard(a)
	s.mu.RLock()
	pid := s.pids[a]
	s.mu.RUnlock()
	if pid != nil {
		return pid, nil
	}
	props := e.kinds[a.kind]
	if props == nil {
		return nil, fmt.Errorf("there is no kind %s", a.kind)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if pid := s.pids[a]; pid != nil {
		return pid, nil
	}
	name := a.kind + "/" + a.id + "$" + strconv.FormatUint(e.places.number.Add(1), 36)
	pid, err := e.root.SpawnNamed(props, name)
	if err != nil {
		return nil, fmt.Errorf("make %s/%s: %w", a.kind, a.id, err)
	}
	s.pids[a] = pid
	return pid, nil
}

// forget drops an address if it still means pid.
func (d *directory) forget(a address, pid *actor.PID) {
	s := d.shard(a)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pids[a].Equal(pid) {
		delete(s.pids, a)
	}
}

// Identity returns the id of an actor, which its name holds: "<kind>/<id>$<number>".
func Identity(pid *actor.PID) string {
	name := pid.GetId()
	if i := strings.IndexByte(name, '/'); i >= 0 {
		name = name[i+1:]
	}
	if i := strings.LastIndexByte(name, '$'); i >= 0 {
		name = name[:i]
	}
	return name
}

// props are shared by all actors of a kind; an actor reads its id from its name.
func (e *Engine) props(k Kind) *actor.Props {
	return actor.PropsFromProducer(k.New,
		actor.WithMailbox(func() actor.Mailbox { return actor.Unbounded(&lossless{system: e.system})() }),
		actor.WithDispatcher(e.Dispatcher()))
}

// Dispatcher returns where actors run, for those that actors spawn.
func (e *Engine) Dispatcher() actor.Dispatcher { return dispatcher{e.config.Scheduler} }

// dispatcher runs mailboxes where the scheduler says.
type dispatcher struct{ scheduler schedule.Scheduler }

// Schedule runs fn.
func (d dispatcher) Schedule(fn func()) { d.scheduler.Go(fn) }

// Throughput is how many messages an actor handles before others get their turn.
func (dispatcher) Throughput() int { return 300 }
