package memstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// Load returns what is stored of an entity.
func (s *Store) Load(ctx context.Context, e persistence.Entity) (persistence.Loaded, error) {
	if err := e.Validate(); err != nil {
		return persistence.Loaded{}, fmt.Errorf("load %s: %w", e, err)
	}
	if err := s.begin(ctx); err != nil {
		return persistence.Loaded{}, fmt.Errorf("load %s: %w", e, err)
	}
	defer s.mu.Unlock()
	l := persistence.Loaded{Halted: s.data.halted[e], Key: s.data.keys[e]}
	r := s.data.entities[e]
	if r == nil {
		return l, nil
	}
	l.Version, l.Snapshots = r.version, slices.Clone(r.snapshots)
	l.Tail = slices.Clone(r.journal)
	if err := r.contiguous(); err != nil && l.Halted == "" {
		return persistence.Loaded{}, fmt.Errorf("load %s: %w", e, err)
	}
	return l, nil
}

// contiguous checks that the journal leads from the older of two snapshots, or
// the beginning, to the version. Only what was filled in can fail it.
func (r *record) contiguous() error {
	last := uint64(0)
	if len(r.snapshots) == 2 {
		last = r.snapshots[0].Version
	}
	for _, p := range r.journal {
		if p.Version != last+1 {
			return fmt.Errorf("the journal goes from version %d to %d: %w", last, p.Version, persistence.ErrCorrupt)
		}
		last = p.Version
	}
	if last != r.version {
		return fmt.Errorf("the journal ends at version %d of %d: %w", last, r.version, persistence.ErrCorrupt)
	}
	return nil
}

// Exists says whether an entity has ever committed an event.
func (s *Store) Exists(ctx context.Context, e persistence.Entity) (bool, error) {
	l, err := s.Load(ctx, e)
	return l.Version > 0, err
}

// items returns a list, oldest first.
func (s *Store) items(ctx context.Context, e persistence.Entity, list string) ([]persistence.ListItem, error) {
	err := e.Validate()
	if err == nil {
		err = persistence.ValidateName(list)
	}
	if err == nil {
		err = s.begin(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("read list %s of %s: %w", list, e, err)
	}
	defer s.mu.Unlock()
	if r := s.data.entities[e]; r != nil {
		return slices.Clone(r.lists[list]), nil
	}
	return nil, nil
}

// comparePlace orders list items.
func comparePlace(i persistence.ListItem, version uint64, index uint32) int {
	return cmp.Or(cmp.Compare(i.Version, version), cmp.Compare(i.Index, index))
}

// Page returns up to n items of a list, newest first.
func (s *Store) Page(ctx context.Context, e persistence.Entity, list, cursor string, n int) ([]persistence.ListItem, string, error) {
	all, err := s.items(ctx, e, list)
	if err != nil {
		return nil, "", err
	}
	if cursor != "" {
		version, index, err := persistence.ParseCursor(cursor)
		if err != nil {
			return nil, "", err
		}
		all = slices.DeleteFunc(all, func(i persistence.ListItem) bool { return comparePlace(i, version, index) >= 0 })
	}
	slices.Reverse(all)
	if len(all) <= n {
		return all, "", nil
	}
	return all[:n], persistence.FormatCursor(all[n-1].Version, all[n-1].Index), nil
}

// Since returns up to n items of a list after a place, oldest first.
func (s *Store) Since(ctx context.Context, e persistence.Entity, list string, version uint64, index uint32, n int) ([]persistence.ListItem, error) {
	all, err := s.items(ctx, e, list)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(i persistence.ListItem) bool { return comparePlace(i, version, index) <= 0 })
	return all[:min(n, len(all))], nil
}

// Replace drops the older items of a list.
func (s *Store) Replace(ctx context.Context, e persistence.Entity, list string, version uint64, index uint32, data []byte) (int, error) {
	if _, err := s.items(ctx, e, list); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.data.entities[e]
	if r == nil {
		return 0, nil
	}
	var kept []persistence.ListItem
	for _, i := range r.lists[list] {
		if comparePlace(i, version, index) > 0 {
			kept = append(kept, i)
		}
	}
	dropped := len(r.lists[list]) - len(kept)
	if dropped > 0 && data != nil {
		kept = slices.Insert(kept, 0, persistence.ListItem{List: list, Data: slices.Clone(data), Version: version, Index: index})
	}
	r.lists[list] = kept
	return dropped, nil
}

// Entities returns up to n entities of a kind in the order of their ids.
func (s *Store) Entities(ctx context.Context, kind, cursor string, n int) ([]persistence.Ref, string, error) {
	if err := s.begin(ctx); err != nil {
		return nil, "", fmt.Errorf("list the entities of kind %s: %w", kind, err)
	}
	defer s.mu.Unlock()
	var refs []persistence.Ref
	for e, r := range s.data.entities {
		if e.Kind == kind && e.ID > cursor && r.version > 0 {
			refs = append(refs, persistence.Ref{Entity: e, Version: r.version})
		}
	}
	slices.SortFunc(refs, func(a, b persistence.Ref) int { return strings.Compare(a.Entity.ID, b.Entity.ID) })
	if len(refs) <= n {
		return refs, "", nil
	}
	return refs[:n], refs[n-1].Entity.ID, nil
}

// Due claims up to n entities whose wake-up is due, the earliest first.
func (s *Store) Due(ctx context.Context, now time.Time, n int, lease time.Duration) ([]persistence.Entity, error) {
	if err := s.begin(ctx); err != nil {
		return nil, fmt.Errorf("claim due wake-ups: %w", err)
	}
	defer s.mu.Unlock()
	var due []persistence.Entity
	for e, r := range s.data.entities {
		if !r.wake.IsZero() && !r.wake.After(now) {
			due = append(due, e)
		}
	}
	slices.SortFunc(due, func(a, b persistence.Entity) int {
		return cmp.Or(s.data.entities[a].wake.Compare(s.data.entities[b].wake), strings.Compare(a.String(), b.String()))
	})
	due = due[:min(n, len(due))]
	for _, e := range due {
		s.data.entities[e].wake = now.Add(lease)
	}
	return due, nil
}
