package boltstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"go.etcd.io/bbolt"

	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/boltstore"
)

// remains looks at what a power loss has left.
type remains struct {
	store    *boltstore.Store
	versions []uint64 // what is stored of each entity
	wrong    []error
}

// note keeps an error.
func (r *remains) note(err error) {
	if err != nil {
		r.wrong = append(r.wrong, err)
	}
}

// checkRemains opens a store and returns all that is wrong with it, given what
// was acknowledged.
func checkRemains(ctx context.Context, path string, acked []uint64) error {
	s, err := boltstore.Open(path, boltstore.Options{Gather: -1})
	if err != nil {
		return fmt.Errorf("the store does not open: %w", err)
	}
	r := remains{store: s, versions: make([]uint64, powerEntities)}
	for entity := range powerEntities {
		r.note(r.entity(ctx, entity, acked[entity]))
	}
	for _, topic := range []string{powerTopic, powerSide} {
		r.note(r.topic(ctx, topic))
	}
	r.note(r.group(ctx))
	r.note(r.wakes(ctx)) // It writes: a store that came back must also go on.
	r.note(s.Close())
	r.note(checkPages(path))
	return errors.Join(r.wrong...)
}

// entity looks at what one entity has of its own.
func (r *remains) entity(ctx context.Context, entity int, acked uint64) error {
	e := powerEntity(entity)
	l, err := r.store.Load(ctx, e) // It also checks that the journal is contiguous.
	if err != nil {
		return err
	}
	r.versions[entity] = l.Version
	if l.Version < acked || l.Version > powerVersions(entity) || l.Halted != "" {
		return fmt.Errorf("%s: version %d was acknowledged, %d is stored, of %d; halted %q", e, acked, l.Version, powerVersions(entity), l.Halted)
	}
	for _, record := range l.Tail {
		if !bytes.Equal(record.Events, powerCommit(entity, record.Version).Events) {
			return fmt.Errorf("%s: the events of version %d are others", e, record.Version)
		}
	}
	if err := sameSnapshots(entity, &l); err != nil {
		return err
	}
	return r.list(ctx, entity, l.Version)
}

// sameSnapshots looks for the last two snapshots and the tail after the older.
func sameSnapshots(entity int, l *persistence.Loaded) error {
	var want []persistence.Snapshot
	for version := uint64(1); version <= l.Version; version++ {
		if c := powerCommit(entity, version); c.Snapshot != nil {
			want = append(want, persistence.Snapshot{Version: version, Data: c.Snapshot})
		}
	}
	want = want[max(0, len(want)-2):]
	equal := func(a, b persistence.Snapshot) bool { return a.Version == b.Version && bytes.Equal(a.Data, b.Data) }
	if !slices.EqualFunc(l.Snapshots, want, equal) {
		return fmt.Errorf("%s at %d: the snapshots are %v", powerEntity(entity), l.Version, l.Snapshots)
	}
	tail := l.Version
	if len(want) == 2 {
		tail -= want[0].Version
	}
	if uint64(len(l.Tail)) != tail {
		return fmt.Errorf("%s at %d: %d records, want %d", powerEntity(entity), l.Version, len(l.Tail), tail)
	}
	return nil
}

// list looks for every item of every version, once.
func (r *remains) list(ctx context.Context, entity int, version uint64) error {
	var want []persistence.ListItem
	for v := uint64(1); v <= version; v++ {
		for i, item := range powerCommit(entity, v).Lists {
			item.Version, item.Index = v, uint32(i)
			want = append(want, item)
		}
	}
	e := powerEntity(entity)
	items, err := r.store.Since(ctx, e, powerList, 0, 0, len(want)+1)
	if err != nil {
		return err
	}
	equal := func(a, b persistence.ListItem) bool {
		return a.Version == b.Version && a.Index == b.Index && bytes.Equal(a.Data, b.Data)
	}
	if !slices.EqualFunc(items, want, equal) {
		return fmt.Errorf("%s at %d: %d list items, want %d, or others", e, version, len(items), len(want))
	}
	return nil
}

// topic looks for every message of every version of every entity, once and in order.
func (r *remains) topic(ctx context.Context, topic string) error {
	want := make(map[persistence.Entity][]persistence.Message)
	total := 0
	for entity, version := range r.versions {
		for v := uint64(1); v <= version; v++ {
			c := powerCommit(entity, v)
			for i, m := range c.Out {
				if m.Topic == topic {
					m.Origin = persistence.Origin{Entity: c.Entity, Version: v, Index: uint32(i)}
					want[c.Entity] = append(want[c.Entity], m)
					total++
				}
			}
		}
	}
	ms, err := r.messages(ctx, topic, total+1)
	if err != nil {
		return err
	}
	if len(ms) != total {
		return fmt.Errorf("topic %s: %d messages, want %d", topic, len(ms), total)
	}
	for _, m := range ms {
		next := want[m.Origin.Entity]
		if len(next) == 0 || m.Origin != next[0].Origin || !bytes.Equal(m.Payload, next[0].Payload) {
			return fmt.Errorf("topic %s: message %v comes twice, too early or with other content", topic, m.Origin)
		}
		want[m.Origin.Entity] = next[1:]
	}
	return nil
}

// messages reads a topic. It does not wait where there is nothing.
func (r *remains) messages(ctx context.Context, topic string, n int) ([]persistence.Message, error) {
	end, err := r.store.End(ctx, topic)
	if err != nil || end == "" {
		return nil, err
	}
	return r.store.Read(ctx, topic, "", n)
}

// group looks whether a consumer group is ahead of its topic: it would never see
// what is published until then.
func (r *remains) group(ctx context.Context) error {
	at, err := r.store.Cursor(ctx, powerGroup, powerTopic)
	if err != nil || at == "" {
		return err
	}
	end, err := r.store.End(ctx, powerTopic)
	if err != nil {
		return err
	}
	a, errA := strconv.Atoi(string(at))
	b, errB := strconv.Atoi(string(end))
	if a > b {
		err = fmt.Errorf("the group is at %d of %d", a, b)
	}
	return errors.Join(errA, errB, err)
}

// wakes claims what is due, which must be those that asked for it at last.
func (r *remains) wakes(ctx context.Context) error {
	want := make(map[persistence.Entity]bool)
	for entity, version := range r.versions {
		if version > 0 && !powerCommit(entity, version).Wake.IsZero() {
			want[powerEntity(entity)] = true
		}
	}
	due, err := r.store.Due(ctx, time.Unix(1e6, 0), powerEntities+1, time.Hour)
	if err != nil {
		return err
	}
	if len(due) != len(want) {
		return fmt.Errorf("%d wake-ups, want %d", len(due), len(want))
	}
	for _, e := range due {
		if !want[e] {
			return fmt.Errorf("%s is woken, and did not ask for it", e)
		}
	}
	return nil
}

// checkPages lets bbolt look for what contradicts itself.
func checkPages(path string) error {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	err = db.View(func(tx *bbolt.Tx) error {
		var wrong []error
		for err := range tx.Check() {
			wrong = append(wrong, err)
		}
		return errors.Join(wrong...)
	})
	return errors.Join(err, db.Close())
}
