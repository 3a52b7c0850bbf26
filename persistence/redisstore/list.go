package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

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
	items, err := s.items(ctx, e, list, []any{"XREVRANGE", from, "-", "COUNT", n + 1}, func(items []persistence.ListItem, oldest persistence.ListItem) []persistence.ListItem {
		if cursor == "" || before(oldest, cursor) {
			return append(items, oldest)
		}
		return items
	})
	if err != nil || len(items) <= n {
		return items, "", err
	}
	if n == 0 {
		return nil, cursor, nil
	}
	return items[:n], persistence.FormatCursor(items[n-1].Version, items[n-1].Index), nil
}

// before says whether an item lies before a cursor that is well formed.
func before(i persistence.ListItem, cursor string) bool {
	version, index, _ := persistence.ParseCursor(cursor)
	return i.Version < version || i.Version == version && i.Index < index
}

// Since returns up to n items of a list after a place, oldest first.
func (s *Store) Since(ctx context.Context, e persistence.Entity, list string, version uint64, index uint32, n int) ([]persistence.ListItem, error) {
	err := s.mayRead(ctx, e, list)
	after := persistence.FormatCursor(version, index)
	var items []persistence.ListItem
	if err == nil {
		items, err = s.items(ctx, e, list, []any{"XRANGE", "(" + after, "+", "COUNT", n}, func(items []persistence.ListItem, oldest persistence.ListItem) []persistence.ListItem {
			if before(persistence.ListItem{Version: version, Index: index}, persistence.FormatCursor(oldest.Version, oldest.Index)) {
				return slices.Insert(items, 0, oldest)
			}
			return items
		})
	}
	if err != nil {
		return nil, fmt.Errorf("read list %s of %s: %w", list, e, err)
	}
	return items[:min(n, len(items))], nil
}

// items reads a list, and adds what stands for archived items: that lies before
// all others.
func (s *Store) items(ctx context.Context, e persistence.Entity, list string, command []any,
	add func([]persistence.ListItem, persistence.ListItem) []persistence.ListItem,
) ([]persistence.ListItem, error) {
	state, entries, err := s.readBoth(ctx, s.keys.state(e), s.keys.list(e, list), archived(list), command...)
	if err != nil {
		return nil, err
	}
	items, err := listItems(list, entries)
	beside, has := state[archived(list)]
	if err != nil || !has {
		return items, err
	}
	oldest, err := archivedItem(list, beside)
	if err != nil {
		return nil, err
	}
	return add(items, oldest), nil
}

// archivedItem reads what replace.lua wrote.
func archivedItem(list, text string) (persistence.ListItem, error) {
	at, data, _ := strings.Cut(text, ":")
	version, index, err := place(at)
	return persistence.ListItem{List: list, Data: []byte(data), Version: version, Index: index}, err
}

// Replace drops the older items of a list.
func (s *Store) Replace(ctx context.Context, e persistence.Entity, list string, version uint64, index uint32, data []byte) (int, error) {
	err := errors.Join(e.Validate(), persistence.ValidateName(list))
	dropped := 0
	if err == nil {
		after := persistence.FormatCursor(version, index+1)
		if index == math.MaxUint32 {
			after = persistence.FormatCursor(version+1, 0)
		}
		dropped, err = s.run(ctx, replaceScript, []string{s.keys.list(e, list), s.keys.state(e)},
			archived(list), persistence.FormatCursor(version, index), after, data != nil, data).Int()
	}
	if err != nil {
		return 0, fmt.Errorf("drop items of list %s of %s: %w", list, e, s.wrap(err))
	}
	return dropped, nil
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
