package boltstore

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// moveWake replaces an entry of the wake index; a zero stamp is none. The
// entity is what appendEntity made.
func (c *change) moveWake(entity []byte, from, to uint64) error {
	begin := len(c.arena)
	if from != 0 {
		c.arena = append(appendNumber(c.arena, from), entity...)
		if err := c.wakes.Delete(c.cut(begin)); err != nil {
			return fmt.Errorf("drop a wake-up: %w", err)
		}
	}
	c.arena = c.arena[:begin]
	if to != 0 {
		c.arena = append(appendNumber(c.arena, to), entity...)
		if err := c.wakes.Put(c.cut(begin), nil); err != nil {
			return fmt.Errorf("put a wake-up: %w", err)
		}
	}
	c.arena = c.arena[:begin] // bbolt copies keys.
	return nil
}

// Due claims up to n entities whose wake-up is due.
func (s *Store) Due(ctx context.Context, now time.Time, n int, lease time.Duration) ([]persistence.Entity, error) {
	limit := stamp(now)
	var some bool
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		key, _ := tx.Bucket(bucketWakes).Cursor().First()
		some = n > 0 && isDue(key, limit)
		return nil
	})
	if err != nil || !some { // Nothing due must not cost a transaction.
		return nil, err
	}
	var due []persistence.Entity
	err = s.write(ctx, func(c *change) (refused, err error) {
		due, err = c.claim(limit, n, stamp(now.Add(lease)))
		return nil, err
	})
	if err != nil {
		return nil, fmt.Errorf("claim wake-ups: %w", err)
	}
	return due, nil
}

// isDue says whether a key of the wake index is due at a stamp.
func isDue(key []byte, limit uint64) bool {
	return len(key) > versionSize && bytes.Compare(key[:versionSize], appendNumber(nil, limit)) <= 0
}

// claim moves up to n wake-ups that are due.
func (c *change) claim(limit uint64, n int, to uint64) ([]persistence.Entity, error) {
	var keys [][]byte
	cursor := c.wakes.Cursor()
	for k, _ := cursor.First(); isDue(k, limit) && len(keys) < n; k, _ = cursor.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	due := make([]persistence.Entity, 0, len(keys))
	for _, k := range keys {
		e, err := c.claimOne(k, to)
		if err != nil {
			return nil, err
		}
		if e != (persistence.Entity{}) {
			due = append(due, e)
		}
	}
	return due, nil
}

// claimOne moves one wake-up. What the index says wrongly is dropped from it: an
// entity whose record cannot be read is handed out a last time, so that loading
// it tells what is wrong, and cannot keep the others from being woken.
func (c *change) claimOne(key []byte, to uint64) (persistence.Entity, error) {
	from, entity := key[:versionSize], key[versionSize:]
	e, err := parseEntity(entity)
	if err != nil {
		return persistence.Entity{}, c.wakes.Delete(key)
	}
	c.key = appendState(append(c.key[:0], entity...))
	s, err := c.state(c.key)
	if err != nil || s.wake == 0 || string(appendNumber(nil, s.wake)) != string(from) {
		return e, c.wakes.Delete(key)
	}
	was := s.wake
	s.wake = to
	if err := c.putState(c.key, &s, string(s.commit)); err != nil {
		return persistence.Entity{}, err
	}
	return e, c.moveWake(entity, was, to)
}
