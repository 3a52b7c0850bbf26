package boltstore

import (
	"context"
	"fmt"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// request is one thing to be written.
type request struct {
	commit *persistence.Commit // nil: do is set
	// do writes something else. What it refuses concerns only itself; err
	// aborts the transaction. It may be run for a transaction that is aborted.
	do   func(*change) (refused, err error)
	done func(error)
	err  error
}

// Commit queues a commit; it never blocks. Every outcome, also a refusal that
// is known at once, is told from another goroutine, so that the caller may hold
// a lock that done takes.
func (s *Store) Commit(c *persistence.Commit, done func(error)) {
	if err := c.Validate(); err != nil {
		go done(fmt.Errorf("commit %s: %w", c.Entity, err))
		return
	}
	s.enqueue(request{commit: c, done: done})
}

// enqueue hands a request to the writer, or refuses it in a goroutine that ends
// when done has returned.
func (s *Store) enqueue(r request) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		go r.done(persistence.ErrClosed)
		return
	}
	select {
	case s.writer.queue <- r:
	default:
		go r.done(fmt.Errorf("%d requests wait: %w", cap(s.writer.queue), persistence.ErrOverloaded))
	}
}

// write queues something other than a commit and waits for it. When ctx ends
// first, it may yet be written.
func (s *Store) write(ctx context.Context, do func(*change) (refused, err error)) error {
	return s.writeThen(ctx, do, func() {})
}

// writeThen is write that does something more once it is written, also when
// nobody waits any more.
func (s *Store) writeThen(ctx context.Context, do func(*change) (refused, err error), then func()) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	result := make(chan error, 1)
	s.enqueue(request{do: do, done: func(err error) {
		if err == nil {
			then()
		}
		result <- err
	}})
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
