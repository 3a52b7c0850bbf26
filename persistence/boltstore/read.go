package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// view reads the state of one moment.
func (s *Store) view(ctx context.Context, read func(*bbolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := s.db.View(read)
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return persistence.ErrClosed
	}
	return err
}

// Load returns what is stored of an entity.
func (s *Store) Load(ctx context.Context, e persistence.Entity) (persistence.Loaded, error) {
	var l persistence.Loaded
	err := e.Validate()
	if err == nil {
		err = s.view(ctx, func(tx *bbolt.Tx) (err error) {
			l, err = load(tx, e)
			if why := tx.Bucket(bucketHalted).Get(appendEntity(nil, e)); why != nil {
				l.Halted, err = string(why), nil // whatever else is wrong with it
			}
			l.Key = bytes.Clone(tx.Bucket(bucketKeys).Get(appendEntity(nil, e)))
			return err
		})
	}
	if err != nil {
		return persistence.Loaded{}, fmt.Errorf("load %s: %w", e, err)
	}
	return l, nil
}

// load reads an entity and checks that what it finds fits together.
func load(tx *bbolt.Tx, e persistence.Entity) (persistence.Loaded, error) {
	var l persistence.Loaded
	key := appendEntity(nil, e)
	size := len(key)
	entities := tx.Bucket(bucketEntities)
	s, err := decodeState(entities.Get(appendState(key)))
	if err != nil {
		return l, err
	}
	l.Version = s.version
	for _, version := range s.snapshots[:s.count] {
		data := tx.Bucket(bucketSnapshots).Get(appendNumber(key[:size], version))
		if data == nil {
			return l, fmt.Errorf("the snapshot of version %d is missing: %w", version, persistence.ErrCorrupt)
		}
		l.Snapshots = append(l.Snapshots, persistence.Snapshot{Version: version, Data: bytes.Clone(data)})
	}
	l.Tail, err = tail(entities.Cursor(), key[:size], s.older(), s.version)
	return l, err
}

// tail reads the journal after a version and checks that it is contiguous up to
// another.
func tail(c *bbolt.Cursor, entity []byte, after, upTo uint64) ([]persistence.Record, error) {
	var records []persistence.Record
	prefix := append(bytes.Clone(entity), tagJournal)
	last := after
	for k, v := c.Seek(appendJournal(bytes.Clone(entity), after+1)); bytes.HasPrefix(k, prefix); k, v = c.Next() {
		version, err := parseNumber(k[len(prefix):])
		if err != nil {
			return nil, err
		}
		if version != last+1 || version > upTo {
			return nil, fmt.Errorf("the journal goes from version %d to %d of %d: %w", last, version, upTo, persistence.ErrCorrupt)
		}
		last = version
		records = append(records, persistence.Record{Version: version, Events: clone(v)})
	}
	if last != upTo {
		return nil, fmt.Errorf("the journal ends at version %d of %d: %w", last, upTo, persistence.ErrCorrupt)
	}
	return records, nil
}

// clone copies what is only valid in a transaction; what is empty is not nil.
func clone(b []byte) []byte { return append(make([]byte, 0, len(b)), b...) }

// Exists says whether an entity has ever committed an event.
func (s *Store) Exists(ctx context.Context, e persistence.Entity) (bool, error) {
	var st state
	err := e.Validate()
	if err == nil {
		err = s.view(ctx, func(tx *bbolt.Tx) (err error) {
			st, err = decodeState(tx.Bucket(bucketEntities).Get(appendState(appendEntity(nil, e))))
			return err
		})
	}
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", e, err)
	}
	return st.version > 0, nil
}

// Entities returns up to n entities of a kind that have committed an event. The
// cursor is the last id of the page.
func (s *Store) Entities(ctx context.Context, kind, cursor string, n int) ([]persistence.Ref, string, error) {
	var refs []persistence.Ref
	var next string
	err := persistence.ValidateName(kind)
	if err == nil {
		err = s.view(ctx, func(tx *bbolt.Tx) (err error) {
			refs, next, err = entities(tx.Bucket(bucketEntities), kind, cursor, n)
			return err
		})
	}
	if err != nil {
		return nil, "", fmt.Errorf("list entities of kind %s: %w", kind, err)
	}
	return refs, next, nil
}

// entities goes from one entity to the next without reading what is between.
func entities(b *bbolt.Bucket, kind, cursor string, n int) ([]persistence.Ref, string, error) {
	var refs []persistence.Ref
	c := b.Cursor()
	prefix := append([]byte(kind), 0)
	seek := prefix
	if cursor != "" {
		seek = append(appendEntity(nil, persistence.Entity{Kind: kind, ID: cursor}), tagAfter)
	}
	for {
		k, _ := c.Seek(seek)
		if !bytes.HasPrefix(k, prefix) {
			return refs, "", nil
		}
		end := bytes.IndexByte(k[len(prefix):], 0) + len(prefix) + 1
		entity, err := parseEntity(k[:end])
		if err != nil {
			return nil, "", err
		}
		s, err := decodeState(b.Get(appendState(bytes.Clone(k[:end]))))
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", entity, err)
		}
		seek = append(appendEntity(nil, entity), tagAfter)
		if s.version == 0 {
			continue
		}
		if len(refs) >= n {
			return refs, cursor, nil
		}
		cursor = entity.ID
		refs = append(refs, persistence.Ref{Entity: entity, Version: s.version})
	}
}
