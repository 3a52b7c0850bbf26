package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hdt3213/rdb/model"
	"github.com/hdt3213/rdb/parser"
	"github.com/redis/go-redis/v9"

	backupv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/backup/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/codec"
)

// Dump hands over everything that is stored, out of a snapshot of the server.
func (s *Store) Dump(ctx context.Context, take func(*backupv1.Part) error) error {
	if err := s.dump(ctx, take); err != nil {
		return fmt.Errorf("dump the store: %w", errors.Join(err, ctx.Err()))
	}
	return nil
}

func (s *Store) dump(ctx context.Context, take func(*backupv1.Part) error) (err error) {
	if err := s.open(ctx); err != nil {
		return err
	}
	snapshot, end, err := s.snapshot(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = end() }() // what matters was read
	d := &dump{keys: s.keys, db: s.options.Redis.DB, take: take}
	if err := take(codec.Head(s.Epoch())); err != nil {
		return err
	}
	whole := parser.NewDecoder(snapshot).Parse(func(o parser.RedisObject) bool {
		d.err = d.object(o)
		return d.err == nil
	})
	if err := errors.Join(d.err, whole); err != nil {
		return err
	}
	return d.rest()
}

// dump turns what lies in Redis into parts.
type dump struct {
	keys  keys
	db    int
	take  func(*backupv1.Part) error
	wakes []*backupv1.Part // they come after the states
	err   error
}

// all hands parts over.
func (d *dump) all(parts ...*backupv1.Part) error {
	for _, p := range parts {
		if err := d.take(p); err != nil {
			return err
		}
	}
	return nil
}

func (d *dump) rest() error { return d.all(d.wakes...) }

// object is one key. What is not ours, or follows from the rest, is passed over.
func (d *dump) object(o parser.RedisObject) error {
	part, e, list, ours := d.keys.parse(o.GetKey())
	if !ours || o.GetDBIndex() != d.db {
		return nil
	}
	switch o := o.(type) {
	case *model.HashObject:
		return d.hash(part, e, o)
	case *model.StreamObject:
		return d.stream(part, e, list, o)
	case *model.ZSetObject:
		if part != "wakes" {
			return nil
		}
		for _, entry := range o.Entries {
			e, err := parseName(entry.Member)
			if err != nil {
				return err
			}
			d.wakes = append(d.wakes, codec.Wake(e, time.UnixMilli(int64(entry.Score))))
		}
	}
	return nil
}

func (d *dump) hash(part string, e persistence.Entity, o *model.HashObject) error {
	switch part {
	case "e":
		return d.state(e, o.Hash)
	case "ends":
		for topic, text := range o.Hash {
			n, err := number(string(text))
			if err == nil {
				err = d.take(codec.Topic(topic, n))
			}
			if err != nil {
				return err
			}
		}
	case "groups":
		for field, text := range o.Hash {
			topic, group, _ := strings.Cut(field, "\x00")
			n, err := number(string(text))
			if err == nil {
				err = d.take(codec.Group(topic, group, n))
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *dump) state(e persistence.Entity, hash map[string][]byte) error {
	fields := make(map[string]string, len(hash))
	for k, v := range hash {
		fields[k] = string(v)
	}
	l := persistence.Loaded{Halted: fields["h"], Key: hash["k"]}
	if err := readState(&l, fields); err != nil && l.Halted == "" {
		return fmt.Errorf("%s: %w", e, err)
	}
	if err := d.take(codec.State(e, l, fields["c"])); err != nil {
		return err
	}
	for field, text := range fields {
		list, found := strings.CutPrefix(field, archived(""))
		if !found {
			continue
		}
		item, err := archivedItem(list, text)
		if err == nil {
			err = d.all(codec.Items(e, list, []persistence.ListItem{item})...)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *dump) stream(part string, e persistence.Entity, list string, o *model.StreamObject) error {
	entries := entriesOf(o)
	switch part {
	case "j":
		records := make([]persistence.Record, len(entries))
		for i, m := range entries {
			version, _, err := place(m.ID)
			if err != nil {
				return err
			}
			events, _ := m.Values["e"].(string)
			records[i] = persistence.Record{Version: version, Events: []byte(events)}
		}
		return d.all(codec.Records(e, records)...)
	case "l":
		items, err := listItems(list, entries)
		if err != nil {
			return fmt.Errorf("list %s of %s: %w", list, e, err)
		}
		return d.all(codec.Items(e, list, items)...)
	case "t":
		topic := strings.TrimPrefix(o.Key, d.keys.topic(""))
		ms, err := messages(topic, entries)
		if err != nil {
			return fmt.Errorf("topic %s: %w", topic, err)
		}
		return d.all(codec.Messages(topic, ms)...)
	}
	return nil
}

// entriesOf are the entries of a stream, as a reader would get them.
func entriesOf(o *model.StreamObject) []redis.XMessage {
	var all []redis.XMessage
	for _, node := range o.Entries {
		for _, m := range node.Msgs {
			if m.Deleted {
				continue
			}
			values := make(map[string]any, len(m.Fields))
			for k, v := range m.Fields {
				values[k] = v
			}
			all = append(all, redis.XMessage{ID: fmt.Sprintf("%d-%d", m.Id.Ms, m.Id.Sequence), Values: values})
		}
	}
	return slices.Clip(all)
}
