package boltstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// Halt marks an entity. A second reason does not replace the first.
func (s *Store) Halt(ctx context.Context, e persistence.Entity, why string) error {
	err := e.Validate()
	if err == nil {
		err = s.write(ctx, func(c *change) (refused, err error) {
			key := appendEntity(nil, e)
			if c.halted.Get(key) != nil {
				return nil, nil
			}
			return nil, c.halted.Put(key, []byte(why))
		})
	}
	if err != nil {
		return fmt.Errorf("halt %s: %w", e, err)
	}
	return nil
}

// Clear removes the mark and renames the history.
func (s *Store) Clear(ctx context.Context, e persistence.Entity) error {
	err := e.Validate()
	if err == nil {
		epoch := rand.Text()
		cleared := false
		err = s.writeThen(ctx, func(c *change) (refused, err error) {
			key := appendEntity(nil, e)
			if cleared = c.halted.Get(key) != nil; !cleared {
				return nil, nil
			}
			return nil, errors.Join(c.halted.Delete(key), c.halted.Tx().Bucket(bucketMeta).Put(keyEpoch, []byte(epoch)))
		}, func() {
			if cleared {
				s.epoch.Store(epoch)
			}
		})
	}
	if err != nil {
		return fmt.Errorf("clear %s: %w", e, err)
	}
	return nil
}

// HaltedEntities returns what is marked.
func (s *Store) HaltedEntities(ctx context.Context) ([]persistence.Halted, error) {
	var all []persistence.Halted
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketHalted).ForEach(func(k, v []byte) error {
			e, err := parseEntity(k)
			all = append(all, persistence.Halted{Entity: e, Why: string(v)})
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read what is halted: %w", err)
	}
	return all, nil
}
