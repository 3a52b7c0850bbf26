package entity

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// folded is what an entity knows after reading what is stored of it.
type folded struct {
	version uint64
	memory  memory
	lastMS  int64
	since   int // commits after the newest snapshot
}

// Replay returns the state that a store tells of, for those who read entities
// without being one: read models, tools, checks. An error says where what is
// stored contradicts itself.
func Replay(k *Kind, id string, l persistence.Loaded) (proto.Message, error) {
	m := k.blank(id)
	if _, err := fold(m, persistence.Entity{Kind: k.Name, ID: id}, l); err != nil {
		return nil, err
	}
	return m.message(), nil
}

// fold reads the newest snapshot and every record after it into m. An event
// that the kind cannot fold is an error of what is stored, not a panic: reading
// it again would not help.
func fold(m machine, who persistence.Entity, l persistence.Loaded) (f folded, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("journal of %s after %d: %v", who, f.version, r)
		}
	}()
	if n := len(l.Snapshots); n > 0 {
		if err := f.snapshot(m, l.Snapshots[n-1]); err != nil {
			return f, fmt.Errorf("snapshot of %s: %w", who, err)
		}
	}
	for _, r := range l.Tail {
		if r.Version <= f.version {
			continue
		}
		if r.Version != f.version+1 {
			return f, fmt.Errorf("journal of %s: %d follows %d", who, r.Version, f.version)
		}
		if err := f.record(m, r); err != nil {
			return f, fmt.Errorf("journal of %s at %d: %w", who, r.Version, err)
		}
	}
	if f.version != l.Version {
		return f, fmt.Errorf("journal of %s ends at %d, the store says %d", who, f.version, l.Version)
	}
	return f, nil
}

func (f *folded) snapshot(m machine, s persistence.Snapshot) error {
	snap := &journalv1.Snapshot{}
	if err := proto.Unmarshal(s.Data, snap); err != nil {
		return err
	}
	f.memory.restore(snap.GetCommands())
	f.version, f.lastMS = s.Version, snap.GetTimeMs()
	return m.decode(snap.GetState())
}

func (f *folded) record(m machine, r persistence.Record) error {
	b := &journalv1.Batch{}
	if err := proto.Unmarshal(r.Events, b); err != nil {
		return err
	}
	for _, d := range b.GetRecords() {
		f.memory.remember(d.GetCommand())
		f.lastMS = max(f.lastMS, d.GetTimeMs())
		for _, e := range d.GetEvents() {
			if err := m.replay(e); err != nil {
				return err
			}
		}
	}
	f.version = r.Version
	f.since++
	return nil
}
