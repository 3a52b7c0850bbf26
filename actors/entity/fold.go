package entity

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/messages"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// ErrNewer says that an entity was written by a later version of the program,
// and that this one would misread it.
var ErrNewer = errors.New("written by a later version of the program")

// errSnapshot says that a snapshot cannot be read.
var errSnapshot = errors.New("unreadable snapshot")

// folded is what an entity knows after reading what is stored of it.
type folded struct {
	machine machine
	version uint64
	memory  memory
	lastMS  int64
	since   int   // commits after the snapshot that was read
	damage  error // why the newest snapshot was passed over
}

// Replay returns the state that a store tells of, for those who read entities
// without being one: read models, tools, checks. An error says where what is
// stored contradicts itself, or wraps ErrNewer.
func Replay(k *Kind, id string, l persistence.Loaded) (proto.Message, error) {
	f, err := fold(k, id, l)
	if err != nil {
		return nil, err
	}
	return f.machine.message(), nil
}

// Inspection is what an entity is like, as a store tells of it.
type Inspection struct {
	State proto.Message
	// Wakes says that it must be woken some time: its state wants it, or tasks are
	// under way. A store must then have a wake-up for it.
	Wakes bool
	// Damage is what is wrong with its snapshots, though the journal makes up for it.
	Damage error
}

// Inspect is Replay that looks closer: it also holds the newest snapshot to what
// its events lead to from the one before, or from the beginning.
func Inspect(k *Kind, id string, l persistence.Loaded) (Inspection, error) {
	f, err := fold(k, id, l)
	if err != nil {
		return Inspection{}, err
	}
	i := Inspection{State: f.machine.message(), Damage: f.damage}
	i.Wakes = !f.machine.wake().IsZero() || len(f.machine.tasks()) > 0
	if i.Damage == nil && len(l.Snapshots) > 0 {
		i.Damage = compareSnapshots(k, id, l)
	}
	return i, nil
}

// compareSnapshots replays to the newest snapshot: from the one before, or, of the
// only one, from the first event.
func compareSnapshots(k *Kind, id string, l persistence.Loaded) error {
	last := len(l.Snapshots) - 1
	newer := l.Snapshots[last]
	if last == 0 && (len(l.Tail) == 0 || l.Tail[0].Version != 1) {
		return nil // the journal does not reach back so far
	}
	part := persistence.Loaded{Version: newer.Version, Snapshots: l.Snapshots[:last]}
	for _, r := range l.Tail {
		if r.Version <= newer.Version {
			part.Tail = append(part.Tail, r)
		}
	}
	replayed, err := foldFrom(k, id, part, part.Snapshots)
	if err != nil {
		return fmt.Errorf("replay to the newer snapshot: %w", err)
	}
	written := folded{machine: k.blank(id)}
	if err := written.snapshot(newer); err != nil {
		return err
	}
	if !proto.Equal(replayed.machine.message(), written.machine.message()) {
		return fmt.Errorf("the snapshot at %d is not what the events lead to", newer.Version)
	}
	return nil
}

// Items decodes items of a list of a kind into the messages that clients see,
// for those who read lists without being asked by a client. A list that no
// method shows is an error.
func Items(kind, list string, items []persistence.ListItem) ([]proto.Message, error) {
	for _, m := range messages.Methods {
		if m.Actor != kind || m.List != list {
			continue
		}
		field := m.Response().ProtoReflect().Descriptor().Fields().ByNumber(itemsField(m))
		if field == nil {
			continue
		}
		all := make([]proto.Message, len(items))
		for i, item := range items {
			one := m.Response().ProtoReflect().NewField(field).List().NewElement().Message()
			if err := proto.Unmarshal(item.Data, one.Interface()); err != nil {
				return nil, fmt.Errorf("item %d-%d of list %s: %w", item.Version, item.Index, list, err)
			}
			all[i] = one.Interface()
		}
		return all, nil
	}
	return nil, fmt.Errorf("entities of kind %s have no list %s", kind, list)
}

// fold reads the newest snapshot and every record after it. A snapshot that
// cannot be read costs no more than the way from the one before, or from the
// first event: the journal reaches back to there, and no further.
func fold(k *Kind, id string, l persistence.Loaded) (folded, error) {
	n := len(l.Snapshots)
	f, err := foldFrom(k, id, l, l.Snapshots)
	if errors.Is(err, errSnapshot) {
		damage := err
		f, err = foldFrom(k, id, l, l.Snapshots[:n-1])
		f.damage = damage
	}
	return f, err
}

// foldFrom reads the last of the snapshots and the journal after it. An event
// that the kind cannot fold is an error of what is stored, not a panic: reading
// it again would not help.
func foldFrom(k *Kind, id string, l persistence.Loaded, snapshots []persistence.Snapshot) (f folded, err error) {
	f.machine = k.blank(id)
	who := persistence.Entity{Kind: k.Name, ID: id}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("journal of %s after %d: %v", who, f.version, r)
		}
	}()
	if n := len(snapshots); n > 0 {
		if err := f.snapshot(snapshots[n-1]); err != nil {
			return f, fmt.Errorf("snapshot of %s at %d: %w", who, snapshots[n-1].Version, err)
		}
	}
	for _, r := range l.Tail {
		if r.Version <= f.version {
			continue
		}
		if r.Version != f.version+1 {
			return f, fmt.Errorf("journal of %s: %d follows %d", who, r.Version, f.version)
		}
		if err := f.record(r); err != nil {
			return f, fmt.Errorf("journal of %s at %d: %w", who, r.Version, err)
		}
	}
	if f.version != l.Version {
		return f, fmt.Errorf("journal of %s ends at %d, the store says %d", who, f.version, l.Version)
	}
	return f, nil
}

func (f *folded) snapshot(s persistence.Snapshot) error {
	snap := &journalv1.Snapshot{}
	if err := proto.Unmarshal(s.Data, snap); err != nil {
		return fmt.Errorf("%w: %w", errSnapshot, err)
	}
	if !intact(snap) {
		return fmt.Errorf("%w: it is not what was written", errSnapshot)
	}
	if err := f.machine.decode(snap.GetState()); err != nil {
		return fmt.Errorf("%w: %w", errSnapshot, err)
	}
	if err := newer(snap.GetSchema(), snap, f.machine.message()); err != nil {
		return err
	}
	f.memory.restore(snap.GetCommands())
	f.version, f.lastMS = s.Version, snap.GetTimeMs()
	return nil
}

// intact says whether a snapshot is what was written. The first had no checksum,
// but a state; how later versions make theirs is not known here.
func intact(s *journalv1.Snapshot) bool {
	switch schema := s.GetSchema(); {
	case schema == 0:
		return len(s.GetState()) > 0
	case schema <= messages.Schema:
		return s.GetChecksum() == checksum(s)
	}
	return true
}

func (f *folded) record(r persistence.Record) error {
	b := &journalv1.Batch{}
	if err := proto.Unmarshal(r.Events, b); err != nil {
		return err
	}
	if err := newer(b.GetSchema(), b); err != nil {
		return err
	}
	if !wholeBatch(r.Events, b) {
		return errors.New("it is not what was written")
	}
	for _, d := range b.GetRecords() {
		f.memory.remember(d.GetCommand())
		f.lastMS = max(f.lastMS, d.GetTimeMs())
		for _, e := range d.GetEvents() {
			if err := f.machine.replay(e, b.GetSchema()); err != nil {
				return err
			}
		}
	}
	f.version = r.Version
	f.since++
	return nil
}

// newer is an error when something in what was written under a schema is not
// known here. Under our own, and those before it, all is.
func newer(schema uint32, what ...proto.Message) error {
	if schema <= messages.Schema {
		return nil
	}
	for _, m := range what {
		if path := messages.Unknown(m); path != "" {
			return fmt.Errorf("%w: %s is not known under schema %d, it needs schema %d", ErrNewer, path, messages.Schema, schema)
		}
	}
	return nil
}
