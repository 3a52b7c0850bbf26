package boltstore

import (
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/codec"
)

// maxArena is how much memory for values is kept from one transaction to the next.
const maxArena = 4 << 20

// appendFill is how full bbolt makes the pages of a topic, which only grows at its end.
const appendFill = 0.95

// change is one transaction being written. It is used again for the next.
type change struct {
	entities, snapshots, wakes, groups, halted, all *bbolt.Bucket

	states *bbolt.Cursor            // finds state records
	topics map[string]*bbolt.Bucket // opened in this transaction
	stored uint64                   // commits that changed something
	key    []byte                   // for keys, which bbolt copies
	arena  []byte                   // for values, which bbolt refers to until the transaction ends
}

// begin opens the buckets.
func (c *change) begin(tx *bbolt.Tx) error {
	c.entities, c.snapshots = tx.Bucket(bucketEntities), tx.Bucket(bucketSnapshots)
	c.wakes, c.groups, c.all = tx.Bucket(bucketWakes), tx.Bucket(bucketGroups), tx.Bucket(bucketTopics)
	c.halted = tx.Bucket(bucketHalted)
	for _, b := range []*bbolt.Bucket{c.entities, c.snapshots, c.wakes, c.groups, c.halted, c.all} {
		if b == nil {
			return fmt.Errorf("a bucket is missing: %w", persistence.ErrCorrupt)
		}
	}
	c.states = c.entities.Cursor()
	if c.topics == nil {
		c.topics = make(map[string]*bbolt.Bucket)
	}
	return nil
}

// reset lets go of the transaction.
func (c *change) reset() {
	clear(c.topics)
	topics, key, arena := c.topics, c.key[:0], c.arena[:0]
	if cap(arena) > maxArena {
		arena = nil
	}
	*c = change{topics: topics, key: key, arena: arena}
}

// cut returns what was appended to the arena since from.
func (c *change) cut(from int) []byte { return c.arena[from:len(c.arena):len(c.arena)] }

// state reads a state record. The key must be that of the record.
func (c *change) state(key []byte) (state, error) {
	k, v := c.states.Seek(key)
	if string(k) != string(key) {
		return state{}, nil
	}
	return decodeState(v)
}

// putState writes a state record. The key must be that of the record.
func (c *change) putState(key []byte, s *state, commit string) error {
	from := len(c.arena)
	c.arena = s.appendRecord(c.arena, commit)
	return c.entities.Put(key, c.cut(from))
}

// topic opens a topic, and makes it if there is none.
func (c *change) topic(name string) (*bbolt.Bucket, error) {
	if b := c.topics[name]; b != nil {
		return b, nil
	}
	b, err := c.all.CreateBucketIfNotExists([]byte(name))
	if err != nil {
		return nil, fmt.Errorf("open topic %s: %w", name, err)
	}
	b.FillPercent = appendFill
	c.topics[name] = b
	return b, nil
}

// publish appends messages to their topics.
func (c *change) publish(ms []persistence.Message, o persistence.Origin) error {
	for i := range ms {
		m := &ms[i]
		b, err := c.topic(m.Topic)
		if err != nil {
			return err
		}
		n, err := b.NextSequence()
		if err != nil {
			return fmt.Errorf("number a message of %s: %w", m.Topic, err)
		}
		if o.Version > 0 {
			o.Index = uint32(i)
		}
		from := len(c.arena)
		c.arena = codec.AppendMessage(c.arena, m, o)
		c.key = appendNumber(c.key[:0], n)
		if err := b.Put(c.key, c.cut(from)); err != nil {
			return fmt.Errorf("put a message into %s: %w", m.Topic, err)
		}
	}
	return nil
}
