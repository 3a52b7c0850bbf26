package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// Halt marks an entity. A second reason does not replace the first.
func (s *Store) Halt(ctx context.Context, e persistence.Entity, why string) error {
	err := e.Validate()
	if err == nil {
		err = s.run(ctx, haltScript, []string{s.keys.state(e), s.keys.halted()}, name(e), why).Err()
	}
	if err != nil {
		return fmt.Errorf("halt %s: %w", e, s.wrap(err))
	}
	return nil
}

// Clear removes the mark and renames the history. The other processes hear of
// it from their keeper.
func (s *Store) Clear(ctx context.Context, e persistence.Entity) error {
	err := e.Validate()
	epoch, cleared := rand.Text(), false
	if err == nil {
		cleared, err = s.run(ctx, clearScript, []string{s.keys.state(e), s.keys.halted(), s.keys.meta()}, name(e), epoch).Bool()
	}
	if err != nil {
		return fmt.Errorf("clear %s: %w", e, s.wrap(err))
	}
	if cleared {
		s.epoch.Store(epoch)
	}
	return nil
}

// HaltedEntities returns what is marked.
func (s *Store) HaltedEntities(ctx context.Context) ([]persistence.Halted, error) {
	all, err := s.haltedEntities(ctx)
	if err != nil {
		return nil, fmt.Errorf("read what is halted: %w", s.wrap(err))
	}
	return all, nil
}

func (s *Store) haltedEntities(ctx context.Context) ([]persistence.Halted, error) {
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	names, err := s.reads.ZRange(ctx, s.keys.halted(), 0, -1).Result()
	if err != nil {
		return nil, err
	}
	entities, err := entitiesOf(names)
	if err != nil {
		return nil, err
	}
	all := make([]persistence.Halted, len(entities))
	for i, e := range entities {
		why, err := s.reads.HGet(ctx, s.keys.state(e), "h").Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return nil, err
		}
		all[i] = persistence.Halted{Entity: e, Why: why}
	}
	return all, nil
}
