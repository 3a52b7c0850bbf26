package memstore

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// data is everything that is stored. What lies in it is never changed, only replaced.
type data struct {
	entities map[persistence.Entity]*record
	topics   map[string]*topic
	cursors  map[groupTopic]uint64
	halted   map[persistence.Entity]string // why
	keys     map[persistence.Entity][]byte // wrapped data keys
}

type groupTopic struct{ group, topic string }

// topic is what is left of a topic: its newest messages.
type topic struct {
	end      uint64
	messages []persistence.Message
}

// end is the number of the newest message of a topic.
func (d *data) end(name string) uint64 {
	if t := d.topics[name]; t != nil {
		return t.end
	}
	return 0
}

// after returns the messages after a place.
func (t *topic) after(number uint64) []persistence.Message {
	if t == nil || number >= t.end {
		return nil
	}
	gone := t.end - uint64(len(t.messages))
	return t.messages[max(number, gone)-gone:]
}

// record is one entity.
type record struct {
	version   uint64
	commitID  string
	snapshots []persistence.Snapshot
	journal   []persistence.Record // after the older of two snapshots, from the first event otherwise
	lists     map[string][]persistence.ListItem
	wake      time.Time
}

func newData() *data {
	return &data{entities: map[persistence.Entity]*record{}, topics: map[string]*topic{}, cursors: map[groupTopic]uint64{}, halted: map[persistence.Entity]string{}, keys: map[persistence.Entity][]byte{}}
}

func (d *data) clone() *data {
	n := &data{entities: make(map[persistence.Entity]*record, len(d.entities)), topics: map[string]*topic{}, cursors: maps.Clone(d.cursors), halted: maps.Clone(d.halted), keys: maps.Clone(d.keys)}
	for e, r := range d.entities {
		c := *r
		c.snapshots, c.journal, c.lists = slices.Clone(r.snapshots), slices.Clone(r.journal), map[string][]persistence.ListItem{}
		for name, items := range r.lists {
			c.lists[name] = slices.Clone(items)
		}
		n.entities[e] = &c
	}
	for name, t := range d.topics {
		n.topics[name] = &topic{end: t.end, messages: slices.Clone(t.messages)}
	}
	return n
}

// commit stores a commit and returns the topics that got messages.
func (d *data) commit(c *persistence.Commit) ([]string, error) {
	if why, halted := d.halted[c.Entity]; halted {
		return nil, fmt.Errorf("commit %s, halted: %s: %w", c.Entity, why, persistence.ErrLost)
	}
	r := d.entities[c.Entity]
	if r == nil {
		r = &record{lists: map[string][]persistence.ListItem{}}
	}
	if r.commitID == c.ID {
		return nil, nil // our own earlier success
	}
	if r.version != c.Expect {
		cause := persistence.ErrStale
		if r.version < c.Expect {
			cause = persistence.ErrLost
		}
		return nil, fmt.Errorf("commit %s after version %d, the store has %d: %w", c.Entity, c.Expect, r.version, cause)
	}
	d.entities[c.Entity] = r
	r.commitID, r.wake = c.ID, c.Wake
	if c.Events != nil {
		r.version++
		r.journal = append(r.journal, persistence.Record{Version: r.version, Events: slices.Clone(c.Events)})
	}
	if c.Snapshot != nil {
		r.snapshot(slices.Clone(c.Snapshot))
	}
	counts := map[string]uint32{}
	for _, i := range c.Lists {
		r.lists[i.List] = append(r.lists[i.List], persistence.ListItem{List: i.List, Data: slices.Clone(i.Data), Version: r.version, Index: counts[i.List]})
		counts[i.List]++
	}
	var topics []string
	for i, m := range c.Out {
		origin := persistence.Origin{Entity: c.Entity, Version: r.version, Index: uint32(i)}
		if m.UUID == "" {
			m.UUID = fmt.Sprintf("%s/%d-%d", c.Entity, r.version, i)
		}
		topics = append(topics, d.publish(m, origin))
	}
	return topics, nil
}

// snapshot keeps the last two snapshots and the events after the older.
func (r *record) snapshot(state []byte) {
	n := len(r.snapshots)
	if n > 0 && r.snapshots[n-1].Version == r.version {
		r.snapshots[n-1].Data = state
		return
	}
	r.snapshots = append(r.snapshots, persistence.Snapshot{Version: r.version, Data: state})
	if len(r.snapshots) > 2 {
		r.snapshots = slices.Clone(r.snapshots[1:])
	}
	if len(r.snapshots) == 2 {
		older := r.snapshots[0].Version
		r.journal = slices.DeleteFunc(slices.Clone(r.journal), func(p persistence.Record) bool { return p.Version <= older })
	}
}

// publish appends a message to its topic.
func (d *data) publish(m persistence.Message, origin persistence.Origin) string {
	m.Payload, m.Metadata, m.Origin = slices.Clone(m.Payload), maps.Clone(m.Metadata), origin
	t := d.topic(m.Topic)
	t.end++
	m.Position = persistence.FormatPosition(t.end)
	t.messages = append(t.messages, m)
	return m.Topic
}
