package actors_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/threefoldtech/cloud-marketplace/actors"
	"github.com/threefoldtech/cloud-marketplace/actors/deployment"
	"github.com/threefoldtech/cloud-marketplace/actors/engine"
	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/internal/keyring"
	"github.com/threefoldtech/cloud-marketplace/internal/schedule"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/memstore"
)

// simulation is one seed's world: processes that die, a store that answers late
// or not at all, a grid that fails, and people who ask until they are answered.
// All of it runs on one goroutine.
type simulation struct {
	seed    uint64
	time    *schedule.Manual
	rand    *rand.Rand
	store   *memstore.Store
	kinds   map[string]*entity.Kind
	process []*process
	grid    grid
	people  people
	readers []*reader
	calm    bool // nothing fails any more
	// thorough checks after every step, not only now and then: it takes a
	// hundred times as long, and so few seeds are.
	thorough bool
	steps    int
	stats    map[string]int
	traced   bool
	rhythm   rhythm
	trace    []string
	wrong    []string
}

// rhythm is how often entities are written whole.
type rhythm struct {
	snapshotEvery int
	idleAfter     time.Duration
}

var (
	often = rhythm{7, 2 * time.Second}
	never = rhythm{1_000_000, time.Hour}
)

// simScale is how many hours pass for the kinds while one passes for the rest.
const simScale = 36_000

// domain is the clock that the kinds see.
type domain struct{ time *schedule.Manual }

var simStart = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func (d domain) Now() time.Time { return d.In(0) }
func (d domain) In(after time.Duration) time.Time {
	return simStart.Add(d.time.In(after).Sub(simStart) * simScale)
}

// process is one owner of actors. What a dead one had scheduled never runs.
type process struct {
	sim     *simulation
	number  int
	dead    bool
	engine  *engine.Engine
	runtime *entity.Runtime
}

// Go runs fn unless the process is dead by then.
func (p *process) Go(fn func()) { p.sim.time.Go(p.living(fn)) }

// After runs fn later unless the process is dead by then.
func (p *process) After(d time.Duration, fn func()) { p.sim.time.After(d, p.living(fn)) }

func (p *process) living(fn func()) func() {
	return func() {
		if !p.dead {
			fn()
		}
	}
}

func newSimulation(seed uint64, traced bool, rhythm rhythm) *simulation {
	t := schedule.NewManual(seed, simStart)
	s := &simulation{seed: seed, time: t, rand: t.Rand(), traced: traced, rhythm: rhythm, stats: map[string]int{}, kinds: map[string]*entity.Kind{}}
	for _, k := range actors.Kinds(s.terms()) {
		s.kinds[k.Name] = k
	}
	s.store = memstore.New(memstore.Options{Epoch: "e", Clock: t, Fault: s.fault, Schedule: s.storeStep})
	s.grid = grid{sim: s, contracts: map[string]bool{}, orphans: map[string]bool{}}
	s.people = people{sim: s}
	s.spawn()
	return s
}

// terms give a step an hour of the grid's time, which is a tenth of a second here.
func (s *simulation) terms() deployment.Terms {
	return deployment.Terms{StepLimit: 20 * time.Hour * simScale / 36_000 * 10}
}

// simKeys are the same in every process: what one has sealed the next opens.
func simKeys() *keyring.Ring {
	ring, err := keyring.New(make([]byte, keyring.Size))
	if err != nil {
		panic(err)
	}
	return ring
}

// fault chooses what goes wrong with a commit.
func (s *simulation) fault(c *persistence.Commit) memstore.Fault {
	s.sayCommit(c)
	if s.calm {
		return memstore.None
	}
	switch n := s.rand.IntN(100); {
	case n < 4:
		s.stats["answers of the store lost"]++
		return memstore.LostAnswer
	case n < 8:
		s.stats["commits lost"]++
		return memstore.LostCommit
	case n < 10:
		s.stats["store overloaded"]++
		return memstore.Overloaded
	}
	return memstore.None
}

// storeStep runs a step of the store, mostly soon and sometimes much later. What
// was on its way when a backup was brought back is lost.
func (s *simulation) storeStep(do func()) {
	epoch := s.store.Epoch()
	step := func() {
		if s.store.Epoch() == epoch {
			do()
		}
	}
	switch {
	case s.calm || s.rand.IntN(10) > 0:
		s.time.Go(step)
	default:
		s.stats["slow commits"]++
		s.time.After(time.Duration(s.rand.IntN(3000))*time.Millisecond, step)
	}
}

// spawn starts a process.
func (s *simulation) spawn() {
	p := &process{sim: s, number: len(s.process)}
	log := slog.New(slog.DiscardHandler)
	if s.traced {
		log = slog.New(slog.NewTextHandler(traceWriter{s}, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
	}
	executors := map[protoreflect.FullName]entity.Executor{}
	for _, name := range []protoreflect.FullName{"CreateContract", "DeployWorkload", "CancelContract"} {
		executors["marketplace.task.v1."+name] = func(_ context.Context, _ string, task proto.Message) (proto.Message, error) { return s.grid.do(task) }
	}
	p.runtime = entity.NewRuntime(entity.Config{
		Store: s.store, Executors: executors, Domain: domain{s.time}, Real: s.time, Keys: simKeys(), Scheduler: p, Random: s.rand.Uint64, Log: log, Shared: true,
		SnapshotEvery: s.rhythm.snapshotEvery, ScanEvery: 200 * time.Millisecond, TaskGuard: 2 * time.Second,
	})
	var kinds []engine.Kind
	for _, name := range slices.Sorted(maps.Keys(s.kinds)) {
		kinds = append(kinds, p.runtime.Kind(s.kinds[name]))
	}
	var err error
	p.engine, err = engine.Start(engine.Config{IdleAfter: s.rhythm.idleAfter, Beat: 100 * time.Millisecond, Clock: s.time, Scheduler: p, Log: log, OnPush: p.push}, kinds, nil)
	if err != nil {
		s.say("process %d did not start: %v", p.number, err)
		s.wrong = append(s.wrong, err.Error())
		return
	}
	p.runtime.Start(p.engine)
	s.process = append(s.process, p)
	s.say("process %d starts", p.number)
}

// push gives what an actor says to the readers of the process.
func (p *process) push(m *clusterv1.Push) {
	for _, r := range p.sim.readers {
		if r.at == p {
			r.hear(m)
		}
	}
}

// restore brings a backup back some time after it was made. All processes are
// gone by then; the grid knows what it knows, and people ask again for whatever
// they were promised since.
func (s *simulation) restore() {
	s.time.After(time.Duration(2000+s.rand.IntN(8000))*time.Millisecond, func() {
		backup, made := s.store.Copy(), s.time.Now()
		s.say("a backup is made")
		s.time.After(time.Duration(s.rand.IntN(6000))*time.Millisecond, func() {
			s.stats["backups brought back"]++
			s.say("the backup is brought back")
			for _, p := range s.process {
				p.dead = true
			}
			s.store.Restore(backup, "after")
			for id, there := range s.grid.contracts {
				if there {
					s.grid.orphans[id] = true // who comes back may not know of it
				} else {
					delete(s.grid.contracts, id) // it may be asked for again
				}
			}
			s.spawn()
			for _, r := range s.readers {
				r.move()
			}
			s.people.askAnew(made)
		})
	})
}

// replace starts another process and kills the old one in the middle of whatever
// it does: before, or after a while in which both own the same actors.
func (s *simulation) replace() {
	old := s.process[len(s.process)-1]
	if s.rand.IntN(2) == 0 {
		s.stats["processes killed"]++
		s.kill(old)
		s.spawn()
	} else {
		s.stats["processes moved away from"]++
		s.spawn()
		s.time.After(time.Duration(s.rand.IntN(3000))*time.Millisecond, func() { s.kill(old) })
	}
}

func (s *simulation) kill(p *process) {
	p.dead = true
	s.say("process %d is killed", p.number)
	s.time.Go(func() { // when there is another
		for _, r := range s.readers {
			if r.at == p {
				r.move()
			}
		}
	})
}

// somewhere returns a process that lives: any may be asked, so that two own the same actor.
func (s *simulation) somewhere() *process {
	last := len(s.process) - 1
	if last > 0 && !s.process[last-1].dead && s.rand.IntN(2) == 0 {
		return s.process[last-1]
	}
	return s.process[last]
}

// fail notes that something is not as it must be.
func (s *simulation) fail(format string, args ...any) {
	s.say("WRONG: "+format, args...)
	s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
}

// run lets the world go on for a while, with a person or a fault acting now and then.
func (s *simulation) run(length time.Duration, act func()) {
	for end := s.time.Now().Add(length); s.time.Now().Before(end) && len(s.wrong) == 0; {
		for s.time.Step() {
			s.steps++
			if s.thorough {
				s.check()
			}
		}
		next, ok := s.time.Next()
		if !ok {
			return
		}
		s.time.Advance(max(next, time.Millisecond))
		act()
	}
}
