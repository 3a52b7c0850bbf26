package memstore

import (
	"context"
	"fmt"
	"maps"
	"slices"

	backupv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/backup/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/codec"
)

// Dump hands over everything that is stored.
func (s *Store) Dump(ctx context.Context, take func(*backupv1.Part) error) error {
	if err := s.begin(ctx); err != nil {
		return fmt.Errorf("dump the store: %w", err)
	}
	epoch, d := s.options.Epoch, s.data.clone()
	s.mu.Unlock()
	for _, p := range d.parts(epoch) {
		if err := take(p); err != nil {
			return err
		}
	}
	return nil
}

// parts are everything there is, in a fixed order.
func (d *data) parts(epoch string) []*backupv1.Part {
	all := []*backupv1.Part{codec.Head(epoch)}
	entities := map[persistence.Entity]bool{}
	for e := range d.entities {
		entities[e] = true
	}
	for e := range d.halted {
		entities[e] = true
	}
	for e := range d.keys {
		entities[e] = true
	}
	for _, e := range slices.SortedFunc(maps.Keys(entities), persistence.Entity.Compare) {
		r := d.entities[e]
		if r == nil {
			r = &record{}
		}
		l := persistence.Loaded{Version: r.version, Snapshots: r.snapshots, Halted: d.halted[e], Key: d.keys[e]}
		all = append(all, codec.State(e, l, r.commitID))
		all = append(all, codec.Records(e, r.journal)...)
		for _, list := range slices.Sorted(maps.Keys(r.lists)) {
			all = append(all, codec.Items(e, list, r.lists[list])...)
		}
		if !r.wake.IsZero() {
			all = append(all, codec.Wake(e, r.wake))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.topics)) {
		all = append(all, codec.Topic(name, d.topics[name].end))
		all = append(all, codec.Messages(name, d.topics[name].messages)...)
	}
	for k, at := range d.cursors {
		all = append(all, codec.Group(k.topic, k.group, at))
	}
	return all
}

// Fill stores a part of a dump; the store must not be in use.
func (s *Store) Fill(p *backupv1.Part) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.data
	of := func(kind, id string) *record {
		e := persistence.Entity{Kind: kind, ID: id}
		if d.entities[e] == nil {
			d.entities[e] = &record{lists: map[string][]persistence.ListItem{}}
		}
		return d.entities[e]
	}
	switch p := p.GetPart().(type) {
	case *backupv1.Part_State:
		e := persistence.Entity{Kind: p.State.GetKind(), ID: p.State.GetId()}
		l := codec.LoadedOf(p.State)
		if l.Halted != "" {
			d.halted[e] = l.Halted
		}
		if l.Key != nil {
			d.keys[e] = l.Key
		}
		if l.Version > 0 || p.State.GetCommitId() != "" {
			r := of(e.Kind, e.ID)
			r.version, r.snapshots, r.commitID = l.Version, l.Snapshots, p.State.GetCommitId()
		}
	case *backupv1.Part_Records:
		r := of(p.Records.GetKind(), p.Records.GetId())
		r.journal = append(r.journal, codec.RecordsOf(p.Records)...)
	case *backupv1.Part_Items:
		r := of(p.Items.GetKind(), p.Items.GetId())
		r.lists[p.Items.GetList()] = append(r.lists[p.Items.GetList()], codec.ItemsOf(p.Items)...)
	case *backupv1.Part_Wake:
		of(p.Wake.GetKind(), p.Wake.GetId()).wake = codec.WakeOf(p.Wake)
	case *backupv1.Part_Topic:
		d.topic(p.Topic.GetName()).end = p.Topic.GetEnd()
	case *backupv1.Part_Messages:
		ms, err := codec.MessagesOf(p.Messages)
		if err != nil {
			return err
		}
		t := d.topic(p.Messages.GetTopic())
		t.messages = append(t.messages, ms...)
	case *backupv1.Part_Group:
		d.cursors[groupTopic{p.Group.GetGroup(), p.Group.GetTopic()}] = p.Group.GetAt()
	}
	return nil
}

// topic returns a topic, and makes it if there is none.
func (d *data) topic(name string) *topic {
	if d.topics[name] == nil {
		d.topics[name] = &topic{}
	}
	return d.topics[name]
}
