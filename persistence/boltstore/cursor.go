package boltstore

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"go.etcd.io/bbolt"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// member names a consumer group and a topic that it reads.
type member struct{ group, topic string }

// key is where the cursor lies.
func (m member) key() []byte { return []byte(m.topic + "\x00" + m.group) }

// cursors remembers how far consumer groups have come, and lets the writer
// write that with whatever else it writes: a transaction per message would cost
// more than the message.
type cursors struct {
	moved chan struct{} // holds one token when something waits to be written

	mu      sync.Mutex
	at      map[member]uint64
	unknown map[member]bool // not in the file yet: to be written also at the beginning
	dirty   map[member]struct{}
	writing []member
}

// newCursors returns cursors of which nothing is known.
func newCursors() *cursors {
	return &cursors{
		moved: make(chan struct{}, 1),
		at:    make(map[member]uint64), unknown: make(map[member]bool),
		dirty: make(map[member]struct{}),
	}
}

// Cursor returns how far a consumer group has come.
func (s *Store) Cursor(ctx context.Context, group, topic string) (persistence.Position, error) {
	number, err := s.cursor(ctx, member{group, topic})
	if err != nil {
		return "", fmt.Errorf("find group %s in topic %s: %w", group, topic, err)
	}
	return persistence.FormatPosition(number), nil
}

// cursor asks the memory, then the file, and remembers what that says.
func (s *Store) cursor(ctx context.Context, m member) (uint64, error) {
	if number, known := s.cursors.get(m); known {
		return number, ctx.Err()
	}
	var number uint64
	stored := false
	err := s.view(ctx, func(tx *bbolt.Tx) (err error) {
		if v := tx.Bucket(bucketGroups).Get(m.key()); v != nil {
			stored = true
			number, err = parseNumber(v)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return s.cursors.learn(m, number, stored), nil
}

// Groups returns the consumer groups of a topic.
func (s *Store) Groups(ctx context.Context, topic string) ([]persistence.Group, error) {
	var stored map[string]uint64
	err := s.view(ctx, func(tx *bbolt.Tx) (err error) {
		stored, err = groupsOf(tx.Bucket(bucketGroups), topic)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the groups of topic %s: %w", topic, err)
	}
	s.cursors.over(topic, stored)
	all := make([]persistence.Group, 0, len(stored))
	for _, name := range slices.Sorted(maps.Keys(stored)) {
		all = append(all, persistence.Group{Name: name, At: persistence.FormatPosition(stored[name])})
	}
	return all, nil
}

// groupsOf reads how far the groups of a topic have come.
func groupsOf(b *bbolt.Bucket, topic string) (map[string]uint64, error) {
	all := map[string]uint64{}
	prefix := member{topic: topic}.key()
	c := b.Cursor()
	for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
		number, err := parseNumber(v)
		if err != nil {
			return nil, err
		}
		all[string(k[len(prefix):])] = number
	}
	return all, nil
}

// Advance moves a consumer group; it waits for nothing but memory.
func (s *Store) Advance(ctx context.Context, group, topic string, to persistence.Position) error {
	err := persistence.ValidateName(group)
	if err == nil {
		err = persistence.ValidateName(topic)
	}
	if err == nil {
		err = s.advance(ctx, member{group, topic}, to)
	}
	if err != nil {
		return fmt.Errorf("advance group %s in topic %s: %w", group, topic, err)
	}
	return nil
}

// advance moves a cursor that is known by then.
func (s *Store) advance(ctx context.Context, m member, to persistence.Position) error {
	number, err := to.Number()
	if err != nil {
		return err
	}
	if _, err := s.cursor(ctx, m); err != nil {
		return err
	}
	end := uint64(0)
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		if b := tx.Bucket(bucketTopics).Bucket([]byte(m.topic)); b != nil {
			end = b.Sequence()
		}
		return nil
	})
	if err == nil && number > end {
		err = fmt.Errorf("to %d, which ends at %d: %w", number, end, persistence.ErrInvalid)
	}
	if err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return persistence.ErrClosed
	}
	s.cursors.move(m, number)
	return nil
}

// get returns a cursor if it is known.
func (c *cursors) get(m member) (uint64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	number, known := c.at[m]
	return number, known
}

// learn notes what the file says, unless more is known by now.
func (c *cursors) learn(m member, number uint64, stored bool) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.at[m]; !known && !stored {
		c.unknown[m] = true
	}
	number = max(number, c.at[m])
	c.at[m] = number
	return number
}

// over puts what is newer than the file over what the file says of a topic.
func (c *cursors) over(topic string, stored map[string]uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for m, at := range c.at {
		if m.topic == topic && !c.unknown[m] {
			stored[m.group] = max(stored[m.group], at)
		}
	}
}

// move moves a cursor, never back.
func (c *cursors) move(m member, to uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if to <= c.at[m] && !c.unknown[m] {
		return
	}
	delete(c.unknown, m)
	c.at[m] = max(c.at[m], to)
	c.dirty[m] = struct{}{}
	select {
	case c.moved <- struct{}{}:
	default:
	}
}

// waiting says whether there is something to write.
func (c *cursors) waiting() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.dirty) > 0
}

// write puts what has moved into a transaction.
func (c *cursors) write(to *change) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for m := range c.dirty {
		from := len(to.arena)
		to.arena = appendNumber(to.arena, c.at[m])
		if err := to.groups.Put(m.key(), to.cut(from)); err != nil {
			return fmt.Errorf("put the cursor of group %s in topic %s: %w", m.group, m.topic, err)
		}
		c.writing = append(c.writing, m)
	}
	clear(c.dirty)
	return nil
}

// written says what became of the transaction; what failed is written again.
func (c *cursors) written(ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !ok {
		for _, m := range c.writing {
			c.dirty[m] = struct{}{}
		}
	}
	c.writing = c.writing[:0]
}
