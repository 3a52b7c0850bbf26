package memstore

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// SwapKey puts a wrapped data key in place of another.
func (s *Store) SwapKey(ctx context.Context, e persistence.Entity, was, to []byte) ([]byte, error) {
	err := e.Validate()
	if err == nil {
		err = s.begin(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("swap the key of %s: %w", e, err)
	}
	defer s.mu.Unlock()
	now := s.data.keys[e]
	switch {
	case !bytes.Equal(now, was):
		return now, nil
	case to == nil:
		delete(s.data.keys, e)
	default:
		s.data.keys[e] = bytes.Clone(to)
	}
	return to, nil
}

// Keys returns wrapped data keys in the order of their entities.
func (s *Store) Keys(ctx context.Context, cursor string, n int) ([]persistence.EntityKey, string, error) {
	if err := s.begin(ctx); err != nil {
		return nil, "", fmt.Errorf("read keys: %w", err)
	}
	defer s.mu.Unlock()
	name := func(e persistence.Entity) string { return e.Kind + "\x00" + e.ID + "\x00" }
	var all []persistence.EntityKey
	for _, e := range slices.SortedFunc(maps.Keys(s.data.keys), func(a, b persistence.Entity) int { return cmp.Compare(name(a), name(b)) }) {
		if name(e) <= cursor {
			continue
		}
		if len(all) == n {
			return all, name(all[n-1].Entity), nil
		}
		all = append(all, persistence.EntityKey{Entity: e, Key: s.data.keys[e]})
	}
	return all, "", nil
}
