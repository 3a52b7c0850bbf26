package codec

import (
	"fmt"
	"time"

	backupv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/backup/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// BackupFormat is the version of the parts of a dump.
const BackupFormat = 1

// perPart is how many records, items or messages one part of a dump holds.
const perPart = 500

// Head begins a dump.
func Head(epoch string) *backupv1.Part {
	return &backupv1.Part{Part: &backupv1.Part_Head{Head: &backupv1.Head{Format: BackupFormat, Epoch: epoch}}}
}

// State is an entity but for its journal, lists and wake-up.
func State(e persistence.Entity, l persistence.Loaded, commit string) *backupv1.Part {
	s := &backupv1.State{Kind: e.Kind, Id: e.ID, Version: l.Version, CommitId: commit, Halted: l.Halted, Key: l.Key}
	for _, snap := range l.Snapshots {
		s.Snapshots = append(s.Snapshots, &backupv1.Snapshot{Version: snap.Version, Data: snap.Data})
	}
	return &backupv1.Part{Part: &backupv1.Part_State{State: s}}
}

// LoadedOf reads what State wrote; the tail comes by itself.
func LoadedOf(s *backupv1.State) persistence.Loaded {
	l := persistence.Loaded{Version: s.GetVersion(), Halted: s.GetHalted(), Key: s.GetKey()}
	for _, snap := range s.GetSnapshots() {
		l.Snapshots = append(l.Snapshots, persistence.Snapshot{Version: snap.GetVersion(), Data: snap.GetData()})
	}
	return l
}

// Records are the journal of an entity, which must be contiguous within a part;
// where it is not, another part begins.
func Records(e persistence.Entity, all []persistence.Record) []*backupv1.Part {
	var parts []*backupv1.Part
	var r *backupv1.Records
	for i, record := range all {
		if r == nil || len(r.GetEvents()) == perPart || record.Version != all[i-1].Version+1 {
			r = &backupv1.Records{Kind: e.Kind, Id: e.ID, First: record.Version}
			parts = append(parts, &backupv1.Part{Part: &backupv1.Part_Records{Records: r}})
		}
		r.Events = append(r.Events, record.Events)
	}
	return parts
}

// RecordsOf reads what Records wrote.
func RecordsOf(r *backupv1.Records) []persistence.Record {
	all := make([]persistence.Record, len(r.GetEvents()))
	for i, events := range r.GetEvents() {
		all[i] = persistence.Record{Version: r.GetFirst() + uint64(i), Events: events}
	}
	return all
}

// Items are items of a list, oldest first.
func Items(e persistence.Entity, list string, all []persistence.ListItem) []*backupv1.Part {
	var parts []*backupv1.Part
	for len(all) > 0 {
		i := &backupv1.Items{Kind: e.Kind, Id: e.ID, List: list}
		for _, item := range all[:min(perPart, len(all))] {
			i.Items = append(i.Items, &backupv1.Item{Version: item.Version, Index: item.Index, Data: item.Data})
		}
		parts = append(parts, &backupv1.Part{Part: &backupv1.Part_Items{Items: i}})
		all = all[len(i.GetItems()):]
	}
	return parts
}

// ItemsOf reads what Items wrote.
func ItemsOf(i *backupv1.Items) []persistence.ListItem {
	all := make([]persistence.ListItem, len(i.GetItems()))
	for n, item := range i.GetItems() {
		all[n] = persistence.ListItem{List: i.GetList(), Version: item.GetVersion(), Index: item.GetIndex(), Data: item.GetData()}
	}
	return all
}

// Wake is an entity's wake-up, to the next millisecond.
func Wake(e persistence.Entity, at time.Time) *backupv1.Part {
	return &backupv1.Part{Part: &backupv1.Part_Wake{Wake: &backupv1.Wake{Kind: e.Kind, Id: e.ID, TimeMs: at.Add(time.Millisecond - 1).UnixMilli()}}}
}

// WakeOf reads what Wake wrote.
func WakeOf(w *backupv1.Wake) time.Time { return time.UnixMilli(w.GetTimeMs()) }

// Topic is a topic but for its messages.
func Topic(name string, end uint64) *backupv1.Part {
	return &backupv1.Part{Part: &backupv1.Part_Topic{Topic: &backupv1.Topic{Name: name, End: end}}}
}

// Messages are messages of a topic, in their order.
func Messages(topic string, all []persistence.Message) []*backupv1.Part {
	var parts []*backupv1.Part
	for len(all) > 0 {
		m := &backupv1.Messages{Topic: topic}
		for i := range all[:min(perPart, len(all))] {
			number, err := all[i].Position.Number()
			if err != nil {
				number = 0 // no store makes such a position
			}
			m.Messages = append(m.Messages, &backupv1.Message{Number: number, Entry: AppendMessage(nil, &all[i], all[i].Origin)})
		}
		parts = append(parts, &backupv1.Part{Part: &backupv1.Part_Messages{Messages: m}})
		all = all[len(m.GetMessages()):]
	}
	return parts
}

// MessagesOf reads what Messages wrote.
func MessagesOf(m *backupv1.Messages) ([]persistence.Message, error) {
	all := make([]persistence.Message, len(m.GetMessages()))
	for i, message := range m.GetMessages() {
		var err error
		if all[i], err = DecodeMessage(message.GetEntry()); err != nil {
			return nil, fmt.Errorf("message %d of %s: %w", message.GetNumber(), m.GetTopic(), err)
		}
		all[i].Topic, all[i].Position = m.GetTopic(), persistence.FormatPosition(message.GetNumber())
	}
	return all, nil
}

// Group is how far a consumer group has come.
func Group(topic, group string, at uint64) *backupv1.Part {
	return &backupv1.Part{Part: &backupv1.Part_Group{Group: &backupv1.Group{Topic: topic, Group: group, At: at}}}
}
