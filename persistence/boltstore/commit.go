package boltstore

import (
	"fmt"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// commit stores a commit. It refuses before it writes; err aborts the transaction.
func (c *change) commit(m *persistence.Commit) (refused, err error) {
	c.key = appendEntity(c.key[:0], m.Entity)
	size := len(c.key)
	if why := c.halted.Get(c.key); why != nil {
		return fmt.Errorf("commit %s, halted: %s: %w", m.Entity, why, persistence.ErrLost), nil
	}
	c.key = appendState(c.key)
	old, err := c.state(c.key)
	if err != nil {
		return fmt.Errorf("commit %s: %w", m.Entity, err), nil
	}
	if string(old.commit) == m.ID {
		return nil, nil // Our own earlier success.
	}
	if old.version != m.Expect {
		return fence(m, old.version), nil
	}
	s := old
	s.wake = stamp(m.Wake)
	if m.Events != nil {
		s.version++
	}
	if m.Snapshot != nil {
		s.addSnapshot()
	}
	if err := c.putState(c.key, &s, m.ID); err != nil {
		return nil, fmt.Errorf("put the state of %s: %w", m.Entity, err)
	}
	if err := c.putContent(m, size, &old, &s); err != nil {
		return nil, fmt.Errorf("commit %s: %w", m.Entity, err)
	}
	c.stored++
	return nil, nil
}

// fence is the refusal of a commit that does not follow what is stored.
func fence(m *persistence.Commit, have uint64) error {
	cause := persistence.ErrStale
	if have < m.Expect {
		cause = persistence.ErrLost
	}
	return fmt.Errorf("commit %s after version %d, the store has %d: %w", m.Entity, m.Expect, have, cause)
}

// addSnapshot notes a snapshot at the version. The last two are kept; one at a
// version that has one replaces it.
func (s *state) addSnapshot() {
	switch {
	case s.count > 0 && s.snapshots[s.count-1] == s.version:
	case s.count == len(s.snapshots):
		s.snapshots[0], s.snapshots[1] = s.snapshots[1], s.version
	default:
		s.snapshots[s.count] = s.version
		s.count++
	}
}

// putContent writes all of a commit but the state record. The first size bytes
// of c.key are the entity's.
func (c *change) putContent(m *persistence.Commit, size int, old, s *state) error {
	if m.Events != nil {
		c.key = appendJournal(c.key[:size], s.version)
		if err := c.entities.Put(c.key, m.Events); err != nil {
			return fmt.Errorf("put the events: %w", err)
		}
	}
	if err := c.putLists(m, size, s.version); err != nil {
		return err
	}
	if old.wake != s.wake {
		if err := c.moveWake(c.key[:size], old.wake, s.wake); err != nil {
			return err
		}
	}
	if m.Snapshot != nil {
		if err := c.putSnapshot(m.Snapshot, size, old, s); err != nil {
			return err
		}
	}
	return c.publish(m.Out, persistence.Origin{Entity: m.Entity, Version: s.version})
}

// putLists appends to lists.
func (c *change) putLists(m *persistence.Commit, size int, version uint64) error {
	items := m.Lists
	for i := range items {
		c.key = appendList(c.key[:size], items[i].List)
		c.key = appendPlace(c.key, version, m.IndexOf(i))
		if err := c.entities.Put(c.key, items[i].Data); err != nil {
			return fmt.Errorf("put an item of list %s: %w", items[i].List, err)
		}
	}
	return nil
}

// putSnapshot writes a snapshot, and drops the one that it pushes out and the
// events up to the snapshot that is now the older.
func (c *change) putSnapshot(data []byte, size int, old, s *state) error {
	c.key = appendNumber(c.key[:size], s.version)
	if err := c.snapshots.Put(c.key, data); err != nil {
		return fmt.Errorf("put the snapshot: %w", err)
	}
	if s.count < len(s.snapshots) || old.count == s.count && old.snapshots == s.snapshots {
		return nil
	}
	first := uint64(1)
	if old.count == len(old.snapshots) {
		first = old.older() + 1
		c.key = appendNumber(c.key[:size], old.older())
		if err := c.snapshots.Delete(c.key); err != nil {
			return fmt.Errorf("drop a snapshot: %w", err)
		}
	}
	for version := first; version <= s.older(); version++ {
		c.key = appendJournal(c.key[:size], version)
		if err := c.entities.Delete(c.key); err != nil {
			return fmt.Errorf("trim the journal: %w", err)
		}
	}
	return nil
}
