package boltstore

import (
	"bytes"
	"context"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// Page returns up to n items of a list, newest first. The cursor is the place
// of the last item of the page.
func (s *Store) Page(ctx context.Context, e persistence.Entity, list, cursor string, n int) ([]persistence.ListItem, string, error) {
	var items []persistence.ListItem
	var next string
	prefix, err := listPrefix(e, list)
	if err == nil {
		err = s.view(ctx, func(tx *bbolt.Tx) (err error) {
			items, next, err = page(tx.Bucket(bucketEntities).Cursor(), prefix, list, cursor, n)
			return err
		})
	}
	if err != nil {
		return nil, "", fmt.Errorf("page through list %s of %s: %w", list, e, err)
	}
	return items, next, nil
}

// page reads onwards: the newest item comes first.
func page(c *bbolt.Cursor, prefix []byte, list, cursor string, n int) ([]persistence.ListItem, string, error) {
	k, v := c.Seek(prefix)
	if cursor != "" {
		version, index, err := persistence.ParseCursor(cursor)
		if err != nil {
			return nil, "", err
		}
		place := appendPlace(bytes.Clone(prefix), version, index)
		if k, v = c.Seek(place); bytes.Equal(k, place) {
			k, v = c.Next()
		}
	}
	var items []persistence.ListItem
	for ; bytes.HasPrefix(k, prefix); k, v = c.Next() {
		if len(items) >= n {
			return items, cursor, nil
		}
		item, err := listItem(list, k[len(prefix):], v)
		if err != nil {
			return nil, "", err
		}
		cursor = persistence.FormatCursor(item.Version, item.Index)
		items = append(items, item)
	}
	return items, "", nil
}

// Since returns up to n items of a list after a place, oldest first.
func (s *Store) Since(ctx context.Context, e persistence.Entity, list string, version uint64, index uint32, n int) ([]persistence.ListItem, error) {
	var items []persistence.ListItem
	prefix, err := listPrefix(e, list)
	if err == nil {
		err = s.view(ctx, func(tx *bbolt.Tx) (err error) {
			items, err = since(tx.Bucket(bucketEntities).Cursor(), prefix, list, appendPlace(bytes.Clone(prefix), version, index), n)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("read list %s of %s: %w", list, e, err)
	}
	return items, nil
}

// since reads backwards from a place: the oldest item comes last.
func since(c *bbolt.Cursor, prefix []byte, list string, place []byte, n int) ([]persistence.ListItem, error) {
	var k, v []byte
	if beyond, _ := c.Seek(place); beyond == nil {
		k, v = c.Last()
	} else {
		k, v = c.Prev()
	}
	var items []persistence.ListItem
	for ; bytes.HasPrefix(k, prefix) && len(items) < n; k, v = c.Prev() {
		item, err := listItem(list, k[len(prefix):], v)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

// Replace drops the older items of a list.
func (s *Store) Replace(ctx context.Context, e persistence.Entity, list string, version uint64, index uint32, data []byte) (int, error) {
	prefix, err := listPrefix(e, list)
	dropped := 0
	if err == nil {
		err = s.write(ctx, func(c *change) (refused, err error) {
			dropped, err = c.replace(prefix, appendPlace(bytes.Clone(prefix), version, index), data)
			return nil, err
		})
	}
	if err != nil {
		return 0, fmt.Errorf("drop items of list %s of %s: %w", list, e, err)
	}
	return dropped, nil
}

// replace drops the items from a key on, which is that of the newest of them.
func (c *change) replace(prefix, newest, data []byte) (int, error) {
	var keys [][]byte
	cursor := c.entities.Cursor()
	for k, _ := cursor.Seek(newest); bytes.HasPrefix(k, prefix); k, _ = cursor.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	for _, k := range keys {
		if err := c.entities.Delete(k); err != nil {
			return 0, err
		}
	}
	if data == nil || len(keys) == 0 {
		return len(keys), nil
	}
	return len(keys), c.entities.Put(newest, bytes.Clone(data))
}

// listPrefix is what the keys of a list's items have in common.
func listPrefix(e persistence.Entity, list string) ([]byte, error) {
	if err := e.Validate(); err != nil {
		return nil, err
	}
	if err := persistence.ValidateName(list); err != nil {
		return nil, err
	}
	return appendList(appendEntity(nil, e), list), nil
}

// listItem is an item as it was stored.
func listItem(list string, place, data []byte) (persistence.ListItem, error) {
	version, index, err := parsePlace(place)
	if err != nil {
		return persistence.ListItem{}, err
	}
	return persistence.ListItem{List: list, Data: clone(data), Version: version, Index: index}, nil
}
