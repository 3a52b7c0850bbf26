// Package memstore is a store in memory, for simulations and tests: it keeps
// the contract to the letter, and breaks it on demand.
//
// # Faults
//
// A Fault is chosen for each commit: its answer may be lost although it was
// stored, it may not be stored although nobody is told, the store may be
// overloaded. Copy and Restore play a backup that somebody brings back.
//
// # Scheduling
//
// Commits take effect, and their outcomes are told, when the Schedule of the
// Options runs what it is given; without one, on a goroutine of the store. A
// simulation runs everything on one goroutine in an order of its own.
package memstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// Fault is how a commit goes wrong.
type Fault uint8

// The faults of a commit.
const (
	None       Fault = iota
	LostAnswer       // it is stored, and its owner hears ErrUnknown
	LostCommit       // it is not stored, and its owner hears ErrUnknown
	Overloaded       // it is not stored, and its owner hears ErrOverloaded
)

// Options are how a store behaves. The zero value is a store without faults.
type Options struct {
	// Epoch names the history; empty: a random one.
	Epoch string
	// Fault chooses what goes wrong with a commit; nil: nothing.
	Fault func(*persistence.Commit) Fault
	// Schedule runs a step of the store, now or later, each once and in any
	// order; nil: on the store's goroutine, in the order of the commits.
	Schedule func(step func())
	// Clock times leases; nil: the real clock.
	Clock clock.Clock
}

// Store keeps entities in memory.
type Store struct {
	options Options
	queue   chan func()
	worker  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	data   *data
	news   map[string]chan struct{} // closed when a topic gets a message
	leases map[string]lease
}

var _ persistence.Store = (*Store)(nil)

// queueLimit is how many steps may wait for the store's goroutine.
const queueLimit = 8192

// New returns an empty store.
func New(o Options) *Store {
	if o.Epoch == "" {
		o.Epoch = rand.Text()
	}
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	s := &Store{options: o, data: newData(), news: map[string]chan struct{}{}, leases: map[string]lease{}}
	if o.Schedule == nil {
		s.queue = make(chan func(), queueLimit)
		s.worker.Go(func() {
			for step := range s.queue {
				step()
			}
		})
	}
	return s
}

// Epoch identifies the history.
func (s *Store) Epoch() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.options.Epoch
}

// Commit stores a commit when its step is run.
func (s *Store) Commit(c *persistence.Commit, done func(error)) {
	if !s.schedule(func() { done(s.commit(c)) }) {
		go done(fmt.Errorf("commit %s: %w", c.Entity, persistence.ErrClosed))
	}
}

// schedule hands a step over; false when the store is closed.
func (s *Store) schedule(step func()) bool {
	s.mu.Lock()
	if s.options.Schedule != nil && !s.closed {
		s.mu.Unlock() // it may run the step at once
		s.options.Schedule(step)
		return true
	}
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	select {
	case s.queue <- step:
		return true
	default:
		return false
	}
}

// commit is the step of a commit.
func (s *Store) commit(c *persistence.Commit) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("commit %s: %w", c.Entity, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("commit %s: %w", c.Entity, persistence.ErrClosed)
	}
	fault := None
	if s.options.Fault != nil {
		fault = s.options.Fault(c)
	}
	switch fault {
	case LostCommit:
		return fmt.Errorf("commit %s: %w", c.Entity, persistence.ErrUnknown)
	case Overloaded:
		return fmt.Errorf("commit %s: %w", c.Entity, persistence.ErrOverloaded)
	case None, LostAnswer:
	}
	topics, err := s.data.commit(c)
	s.tell(topics)
	if err == nil && fault == LostAnswer {
		return fmt.Errorf("commit %s: %w", c.Entity, persistence.ErrUnknown)
	}
	return err
}

// tell wakes those who read topics.
func (s *Store) tell(topics []string) {
	for _, t := range topics {
		if ch := s.news[t]; ch != nil {
			close(ch)
			delete(s.news, t)
		}
	}
}

// Copy returns all that is stored, as a backup would.
func (s *Store) Copy() *Backup {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Backup{s.data.clone()}
}

// Backup is all that a store had at a moment.
type Backup struct{ data *data }

// Restore brings a backup back: what came after it is gone. epoch is the name
// of the history from now on; empty keeps the old one, as a store that lost its
// end without knowing would.
func (s *Store) Restore(b *Backup, epoch string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data = b.data.clone()
	if epoch != "" {
		s.options.Epoch = epoch
	}
}

// Close ends the store. What is still scheduled ends with ErrClosed.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	for t, ch := range s.news {
		close(ch)
		delete(s.news, t)
	}
	if s.queue != nil {
		close(s.queue)
	}
	s.mu.Unlock()
	s.worker.Wait()
	return nil
}

// begin locks the store for a read or says why it cannot be read.
func (s *Store) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return persistence.ErrClosed
	}
	return nil
}
