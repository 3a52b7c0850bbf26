package entity_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// script is a store whose commits go where the test says: while it holds, each
// waits for its verdict.
type script struct {
	persistence.Store
	held chan *pending

	mu      sync.Mutex
	holding bool
	load    func(persistence.Entity) error
	since   func()
	page    func() error
	halt    func() error
}

// pending is a commit that waits for its verdict.
type pending struct {
	*persistence.Commit
	store *script
	done  func(error)
}

func newScript(inner persistence.Store) *script {
	return &script{Store: inner, held: make(chan *pending, 1000)}
}

func (s *script) Commit(c *persistence.Commit, done func(error)) {
	s.mu.Lock()
	holding := s.holding
	s.mu.Unlock()
	if holding {
		s.held <- &pending{c, s, done}
		return
	}
	s.Store.Commit(c, done)
}

// Load loads, unless the test says otherwise.
func (s *script) Load(ctx context.Context, e persistence.Entity) (persistence.Loaded, error) {
	s.mu.Lock()
	load := s.load
	s.mu.Unlock()
	if load != nil {
		if err := load(e); err != nil {
			return persistence.Loaded{}, err
		}
	}
	return s.Store.Load(ctx, e)
}

// Since reads what is there first, and then lets the test hold the answer back.
func (s *script) Since(ctx context.Context, e persistence.Entity, list string, version uint64, index uint32, n int) ([]persistence.ListItem, error) {
	items, err := s.Store.Since(ctx, e, list, version, index, n)
	s.mu.Lock()
	since := s.since
	s.mu.Unlock()
	if since != nil {
		since()
	}
	return items, err
}

// Halt halts, unless the test says otherwise.
func (s *script) Halt(ctx context.Context, e persistence.Entity, why string) error {
	s.mu.Lock()
	halt := s.halt
	s.mu.Unlock()
	if halt != nil {
		if err := halt(); err != nil {
			return err
		}
	}
	return s.Store.Halt(ctx, e, why)
}

func (s *script) Page(ctx context.Context, e persistence.Entity, list, cursor string, n int) ([]persistence.ListItem, string, error) {
	s.mu.Lock()
	page := s.page
	s.mu.Unlock()
	if page != nil {
		if err := page(); err != nil {
			return nil, "", err
		}
	}
	return s.Store.Page(ctx, e, list, cursor, n)
}

// set changes what the store does.
func (s *script) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *script) hold() { s.set(func() { s.holding = true }) }

// flow lets commits through again, those that wait first.
func (s *script) flow() {
	s.set(func() { s.holding = false })
	for {
		select {
		case p := <-s.held:
			p.pass()
		default:
			return
		}
	}
}

// next waits for a commit to be handed over.
func (s *script) next(t *testing.T) *pending {
	t.Helper()
	return within(t, s.held, "a commit")
}

// pass stores the commit and says so.
func (p *pending) pass() { p.store.Store.Commit(p.Commit, p.done) }

// lose stores the commit and says that nobody knows.
func (p *pending) lose() {
	p.store.Store.Commit(p.Commit, func(error) { p.done(persistence.ErrUnknown) })
}

// fail stores nothing.
func (p *pending) fail(err error) { p.done(err) }

// within receives, or fails the test after a while.
func within[T any](t *testing.T, ch <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s did not come", what)
	}
	return v
}

// eventually asks until it holds, or fails the test after a while.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-tick.C {
		if holds() {
			return
		}
	}
	t.Fatalf("it never came to this: %s", what)
}
