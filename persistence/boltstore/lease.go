package boltstore

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// leases says who holds which name. They need not outlive the process: no
// other can have the file before it ends.
type leases struct {
	clock clock.Clock

	mu   sync.Mutex
	held map[string]lease
}

// lease is a name that is held.
type lease struct {
	holder string
	until  time.Time
}

// newLeases returns leases of which none is held.
func newLeases(c clock.Clock) *leases {
	return &leases{clock: c, held: make(map[string]lease)}
}

// Lease lets one holder have a name.
func (s *Store) Lease(ctx context.Context, name, holder string, ttl time.Duration) (bool, error) {
	err := ctx.Err()
	if err == nil {
		err = persistence.ValidateName(name)
	}
	if err == nil {
		err = persistence.ValidateName(holder)
	}
	if err != nil {
		return false, fmt.Errorf("lease %s: %w", name, err)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return false, fmt.Errorf("lease %s: %w", name, persistence.ErrClosed)
	}
	return s.leases.take(name, holder, ttl), nil
}

// take gives a name to a holder, or back, unless another has it.
func (l *leases) take(name, holder string, ttl time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.Now()
	if h, held := l.held[name]; held && h.holder != holder && now.Before(h.until) {
		return false
	}
	if ttl <= 0 {
		delete(l.held, name)
		return true
	}
	l.held[name] = lease{holder: holder, until: now.Add(ttl)}
	return true
}
