package redisstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// Page returns up to n items of a list, newest first. The cursor is the place
// of the last item of the page.
func (s *Store) Page(ctx context.Context, e persistence.Entity, list, cursor string, n int) ([]persistence.ListItem, string, error) {
	items, next, err := s.page(ctx, e, list, cursor, n)
	if err != nil {
		return nil, "", fmt.Errorf("page through list %s of %s: %w", list, e, err)
	}
	return items, next, nil
}

func (s *Store) page(ctx context.Context, e persistence.Entity, list, cursor string, n int) ([]persistence.ListItem, string, error) {
	if err := s.mayRead(ctx, e, list); err != nil {
		return nil, "", err
	}
	from := "+"
	if cursor != "" {
		if _, _, err := persistence.ParseCursor(cursor); err != nil {
			return nil, "", err
		}
		from = "(" + cursor
	}
	// One more than asked for tells whether there is a next page.
	entries, err := s.reads.XRevRangeN(ctx, s.keys.list(e, list), from, "-", int64(n)+1).Result()
	if err != nil {
		return nil, "", s.wrap(err)
	}
	more := len(entries) > n
	if more {
		entries = entries[:n]
	}
	items, err := listItems(list, entries)
	if err != nil || !more || n == 0 {
		return items, "", err
	}
	return items, persistence.FormatCursor(items[n-1].Version, items[n-1].Index), nil
}

// Since returns up to n items of a list after a place, oldest first.
func (s *Store) Since(ctx context.Context, e persistence.Entity, list string, version uint64, index uint32, n int) ([]persistence.ListItem, error) {
	err := s.mayRead(ctx, e, list)
	var items []persistence.ListItem
	if err == nil {
		var entries []redis.XMessage
		entries, err = s.reads.XRangeN(ctx, s.keys.list(e, list), "("+persistence.FormatCursor(version, index), "+", int64(n)).Result()
		if err == nil {
			items, err = listItems(list, entries)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read list %s of %s: %w", list, e, s.wrap(err))
	}
	return items, nil
}

func (s *Store) mayRead(ctx context.Context, e persistence.Entity, list string) error {
	return errors.Join(e.Validate(), persistence.ValidateName(list), s.open(ctx))
}

// listItems are items as they were stored.
func listItems(list string, entries []redis.XMessage) ([]persistence.ListItem, error) {
	items := make([]persistence.ListItem, len(entries))
	for i, m := range entries {
		version, index, err := place(m.ID)
		if err != nil {
			return nil, err
		}
		data, has := m.Values["d"].(string)
		if !has {
			return nil, fmt.Errorf("item %s has no data: %w", m.ID, persistence.ErrCorrupt)
		}
		items[i] = persistence.ListItem{List: list, Data: []byte(data), Version: version, Index: index}
	}
	return items, nil
}
