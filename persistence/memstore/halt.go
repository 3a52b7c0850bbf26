package memstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// Halt marks an entity. A second reason does not replace the first.
func (s *Store) Halt(ctx context.Context, e persistence.Entity, why string) error {
	err := e.Validate()
	if err == nil {
		err = s.begin(ctx)
	}
	if err != nil {
		return fmt.Errorf("halt %s: %w", e, err)
	}
	defer s.mu.Unlock()
	if _, halted := s.data.halted[e]; !halted {
		s.data.halted[e] = why
	}
	return nil
}

// Clear removes the mark and renames the history.
func (s *Store) Clear(ctx context.Context, e persistence.Entity) error {
	err := e.Validate()
	if err == nil {
		err = s.begin(ctx)
	}
	if err != nil {
		return fmt.Errorf("clear %s: %w", e, err)
	}
	defer s.mu.Unlock()
	if _, halted := s.data.halted[e]; halted {
		delete(s.data.halted, e)
		s.options.Epoch = rand.Text()
	}
	return nil
}

// HaltedEntities returns what is marked.
func (s *Store) HaltedEntities(ctx context.Context) ([]persistence.Halted, error) {
	if err := s.begin(ctx); err != nil {
		return nil, fmt.Errorf("read what is halted: %w", err)
	}
	defer s.mu.Unlock()
	var all []persistence.Halted
	for e, why := range s.data.halted {
		all = append(all, persistence.Halted{Entity: e, Why: why})
	}
	slices.SortFunc(all, func(a, b persistence.Halted) int {
		return a.Entity.Compare(b.Entity)
	})
	return all, nil
}
