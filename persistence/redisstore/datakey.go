package redisstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// SwapKey puts a wrapped data key in place of another.
func (s *Store) SwapKey(ctx context.Context, e persistence.Entity, was, to []byte) ([]byte, error) {
	err := e.Validate()
	var now string
	if err == nil {
		now, err = s.run(ctx, swapKeyScript, []string{s.keys.state(e), s.keys.dataKeys()}, name(e), was, to).Text()
	}
	if err != nil {
		return nil, fmt.Errorf("swap the key of %s: %w", e, s.wrap(err))
	}
	if now == "" {
		return nil, nil
	}
	return []byte(now), nil
}

// Keys returns wrapped data keys in the order of their entities.
func (s *Store) Keys(ctx context.Context, cursor string, n int) ([]persistence.EntityKey, string, error) {
	all, next, err := s.wrappedKeys(ctx, cursor, n)
	if err != nil {
		return nil, "", fmt.Errorf("read keys: %w", s.wrap(err))
	}
	return all, next, nil
}

func (s *Store) wrappedKeys(ctx context.Context, cursor string, n int) ([]persistence.EntityKey, string, error) {
	names, next, err := s.lexical(ctx, s.keys.dataKeys(), cursor, n)
	if err != nil {
		return nil, "", err
	}
	entities, err := entitiesOf(names)
	if err != nil {
		return nil, "", err
	}
	all := make([]persistence.EntityKey, 0, len(entities))
	for _, e := range entities {
		k, err := s.reads.HGet(ctx, s.keys.state(e), "k").Bytes()
		switch {
		case errors.Is(err, redis.Nil): // taken away meanwhile
		case err != nil:
			return nil, "", err
		default:
			all = append(all, persistence.EntityKey{Entity: e, Key: k})
		}
	}
	return all, next, nil
}
