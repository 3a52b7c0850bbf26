package engine

import (
	"errors"
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

// errStopped says that the engine makes no more actors.
var errStopped = errors.New("the engine has stopped")

// directory knows the actors of this process that live.
type directory struct {
	closed *atomic.Bool // no more actors are made
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
	d := directory{closed: &atomic.Bool{}, seed: maphash.MakeSeed(), number: &atomic.Uint64{}}
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
	if e.places.closed.Load() {
		return nil, errStopped
	}
	name := a.kind + "/" + a.id + "$" + strconv.FormatUint(e.places.number.Add(1), 36)
	pid, err := e.root.SpawnNamed(props, name)
	if err != nil {
		return nil, fmt.Errorf("make %s/%s: %w", a.kind, a.id, err)
	}
	s.pids[a] = pid
	return pid, nil
}

// close sees that no more actors are made, and returns those that live; false
// when it was closed before.
func (d *directory) close() (pids []*actor.PID, first bool) {
	if d.closed.Swap(true) {
		return nil, false
	}
	for _, s := range d.shards {
		s.mu.Lock() // whoever makes one now has looked before
		for _, pid := range s.pids {
			pids = append(pids, pid)
		}
		s.mu.Unlock()
	}
	return pids, true
}

// forget drops an address if it still means pid.
func (d *directory) forget(a address, pid *actor.PID) {
	s := d.shard(a)
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.pids[a]; now != nil && now.Equal(pid) {
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
		actor.WithMailbox(func() actor.Mailbox {
			l := &lossless{system: e.system}
			l.mailbox = actor.Unbounded(l)()
			return l.mailbox
		}),
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
