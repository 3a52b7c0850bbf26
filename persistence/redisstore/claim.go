package redisstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// Due claims up to n entities whose wake-up is due.
func (s *Store) Due(ctx context.Context, now time.Time, n int, lease time.Duration) ([]persistence.Entity, error) {
	names, err := s.run(ctx, dueScript, []string{s.keys.wakes()}, now.UnixMilli(), n, millis(now.Add(lease))).StringSlice()
	var due []persistence.Entity
	if err == nil {
		due, err = entitiesOf(names)
	}
	if err != nil {
		return nil, fmt.Errorf("claim wake-ups: %w", s.wrap(err))
	}
	return due, nil
}

// Lease lets one holder have a name. It runs out in the server's time.
func (s *Store) Lease(ctx context.Context, name, holder string, ttl time.Duration) (bool, error) {
	err := errors.Join(persistence.ValidateName(name), persistence.ValidateName(holder))
	var held bool
	if err == nil {
		held, err = s.run(ctx, leaseScript, []string{s.keys.lease(name)}, holder, max(ttl, 0).Milliseconds()).Bool()
	}
	if err != nil {
		return false, fmt.Errorf("lease %s: %w", name, s.wrap(err))
	}
	return held, nil
}
