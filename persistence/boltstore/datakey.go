package boltstore

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// SwapKey puts a wrapped data key in place of another.
func (s *Store) SwapKey(ctx context.Context, e persistence.Entity, was, to []byte) ([]byte, error) {
	err := e.Validate()
	var now []byte
	if err == nil {
		err = s.write(ctx, func(c *change) (refused, err error) {
			keys, entity := c.entities.Tx().Bucket(bucketKeys), appendEntity(nil, e)
			now = bytes.Clone(keys.Get(entity))
			switch {
			case !bytes.Equal(now, was):
				return nil, nil
			case to == nil:
				err = keys.Delete(entity)
			default:
				err = keys.Put(entity, bytes.Clone(to))
			}
			now = to
			return nil, err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("swap the key of %s: %w", e, err)
	}
	return now, nil
}

// Keys returns wrapped data keys in the order of their entities.
func (s *Store) Keys(ctx context.Context, cursor string, n int) ([]persistence.EntityKey, string, error) {
	after, err := hex.DecodeString(cursor)
	if err != nil {
		return nil, "", fmt.Errorf("cursor %q: %w", cursor, persistence.ErrInvalid)
	}
	var all []persistence.EntityKey
	next := ""
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketKeys).Cursor()
		k, v := c.Seek(after)
		if k != nil && bytes.Equal(k, after) {
			k, v = c.Next()
		}
		for ; k != nil; k, v = c.Next() {
			if len(all) == n {
				next = hex.EncodeToString(appendEntity(nil, all[n-1].Entity))
				return nil
			}
			e, err := parseEntity(k)
			if err != nil {
				return err
			}
			all = append(all, persistence.EntityKey{Entity: e, Key: bytes.Clone(v)})
		}
		return nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("read keys: %w", err)
	}
	return all, next, nil
}
