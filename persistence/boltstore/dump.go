package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	backupv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/backup/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/codec"
)

// Dump hands over everything that is stored. The writer goes on meanwhile; the
// file grows by what it replaces.
func (s *Store) Dump(ctx context.Context, take func(*backupv1.Part) error) error {
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		d := &dump{ctx: ctx, tx: tx, take: take}
		return errors.Join(take(codec.Head(s.Epoch())), d.entities(), d.marked(), d.topics(), d.groups())
	})
	if err != nil {
		return fmt.Errorf("dump the store: %w", err)
	}
	return nil
}

// dump walks through the file as of one moment.
type dump struct {
	ctx  context.Context //nolint:containedctx // it lives as long as the walk
	tx   *bbolt.Tx
	take func(*backupv1.Part) error
}

// all hands parts over.
func (d *dump) all(parts ...*backupv1.Part) error {
	for _, p := range parts {
		if err := errors.Join(d.ctx.Err(), d.take(p)); err != nil {
			return err
		}
	}
	return nil
}

// entities walks through everything of each entity.
func (d *dump) entities() error {
	c := d.tx.Bucket(bucketEntities).Cursor()
	for k, _ := c.First(); k != nil; {
		end := entityEnd(k)
		e, err := parseEntity(k[:end])
		if err != nil {
			return err
		}
		prefix := bytes.Clone(k[:end])
		if err := d.entity(e, prefix); err != nil {
			return fmt.Errorf("%s: %w", e, err)
		}
		k, _ = c.Seek(append(prefix, tagAfter))
	}
	return nil
}

// entityEnd is where the entity ends in a key.
func entityEnd(k []byte) int {
	kind := bytes.IndexByte(k, 0) + 1
	return kind + bytes.IndexByte(k[kind:], 0) + 1
}

func (d *dump) entity(e persistence.Entity, prefix []byte) error {
	key := func(tag byte) []byte { return append(bytes.Clone(prefix), tag) }
	s, err := decodeState(d.tx.Bucket(bucketEntities).Get(key(tagState)))
	if err != nil {
		return err
	}
	l, err := load(d.tx, e)
	l.Halted = string(d.tx.Bucket(bucketHalted).Get(prefix))
	if err != nil && l.Halted == "" { // what a person knows of must not stand in the way of the rest
		return err
	}
	l.Key = d.tx.Bucket(bucketKeys).Get(prefix)
	if err := d.all(append([]*backupv1.Part{codec.State(e, l, string(s.commit))}, codec.Records(e, l.Tail)...)...); err != nil {
		return err
	}
	if s.wake != 0 {
		if err := d.all(codec.Wake(e, time.Unix(0, int64(min(s.wake, maxStamp-uint64(time.Second)))))); err != nil {
			return err
		}
	}
	return d.lists(e, key(tagList))
}

// lists walks through the lists of an entity.
func (d *dump) lists(e persistence.Entity, prefix []byte) error {
	c := d.tx.Bucket(bucketEntities).Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); {
		name, _, found := bytes.Cut(k[len(prefix):], []byte{0})
		if !found {
			return fmt.Errorf("key %q is not an item of a list: %w", k, persistence.ErrCorrupt)
		}
		list := string(name)
		items := appendList(appendEntity(nil, e), list)
		if err := d.list(e, list, items); err != nil {
			return err
		}
		k, _ = c.Seek(append(items, bytes.Repeat([]byte{0xff}, placeSize+1)...))
	}
	return nil
}

// list walks through a list from its oldest item on, which comes last.
func (d *dump) list(e persistence.Entity, list string, prefix []byte) error {
	version, index := uint64(0), uint32(0)
	for {
		items, err := since(d.tx.Bucket(bucketEntities).Cursor(), prefix, list, appendPlace(bytes.Clone(prefix), version, index), walk)
		if err != nil || len(items) == 0 {
			return err
		}
		if err := d.all(codec.Items(e, list, items)...); err != nil {
			return err
		}
		version, index = items[len(items)-1].Version, items[len(items)-1].Index
	}
}

// walk is how many items or messages are read at once.
const walk = 1000

// marked are entities of which there is only a mark or a key.
func (d *dump) marked() error {
	var prefixes [][]byte
	for _, bucket := range [][]byte{bucketHalted, bucketKeys} {
		err := d.tx.Bucket(bucket).ForEach(func(k, _ []byte) error {
			if first, _ := d.tx.Bucket(bucketEntities).Cursor().Seek(k); !bytes.HasPrefix(first, k) {
				prefixes = append(prefixes, bytes.Clone(k))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	slices.SortFunc(prefixes, bytes.Compare)
	for _, prefix := range slices.CompactFunc(prefixes, bytes.Equal) {
		e, err := parseEntity(prefix)
		if err != nil {
			return err
		}
		l := persistence.Loaded{Halted: string(d.tx.Bucket(bucketHalted).Get(prefix)), Key: d.tx.Bucket(bucketKeys).Get(prefix)}
		if err := d.all(codec.State(e, l, "")); err != nil {
			return err
		}
	}
	return nil
}

func (d *dump) topics() error {
	return d.tx.Bucket(bucketTopics).ForEachBucket(func(name []byte) error {
		topic := string(name)
		if err := d.all(codec.Topic(topic, d.tx.Bucket(bucketTopics).Bucket(name).Sequence())); err != nil {
			return err
		}
		for after := uint64(0); ; {
			ms, err := messages(d.tx, topic, after, walk)
			if errors.Is(err, errNoNews) {
				return nil
			}
			if err == nil {
				err = d.all(codec.Messages(topic, ms)...)
			}
			if err == nil {
				after, err = ms[len(ms)-1].Position.Number()
			}
			if err != nil {
				return err
			}
		}
	})
}

func (d *dump) groups() error {
	return d.tx.Bucket(bucketGroups).ForEach(func(k, v []byte) error {
		topic, group, found := bytes.Cut(k, []byte{0})
		at, err := parseNumber(v)
		if err != nil || !found {
			return fmt.Errorf("group %q: %w", k, persistence.ErrCorrupt)
		}
		return d.all(codec.Group(string(topic), string(group), at))
	})
}
