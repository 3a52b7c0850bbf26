package entity

import (
	"bytes"
	"slices"
	"sort"
	"time"

	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
)

// What is remembered of commands, at most.
const (
	rememberCount = 128 // of one subject
	rememberFor   = 24 * time.Hour
	replyLimit    = 256 // bytes of a command's reply
)

// commandKey names a command of a subject.
type commandKey struct {
	subject string
	id      [16]byte
}

// memory is what an entity remembers of the commands it has decided, so that
// none is decided twice. It is bounded: forgetting a command raises its
// subject's floor, and at or below the floor nothing is decided any more.
type memory struct {
	known    map[commandKey]*journalv1.Command
	subjects map[string]*subject
}

type subject struct {
	order []*journalv1.Command // by decision
	floor [16]byte
}

// find returns a remembered command.
func (m *memory) find(who string, id [16]byte) *journalv1.Command {
	return m.known[commandKey{who, id}]
}

// expired says whether a command that is not remembered may be one that was forgotten.
func (m *memory) expired(who string, id [16]byte) bool {
	s := m.subjects[who]
	return s != nil && bytes.Compare(id[:], s.floor[:]) <= 0
}

// remember takes a decided command; nil is none.
func (m *memory) remember(c *journalv1.Command) {
	if c == nil {
		return
	}
	if m.known == nil {
		m.known, m.subjects = map[commandKey]*journalv1.Command{}, map[string]*subject{}
	}
	s := m.subjects[c.GetSubject()]
	if s == nil {
		s = &subject{}
		m.subjects[c.GetSubject()] = s
	}
	m.known[commandKey{c.GetSubject(), id16(c.GetCommandId())}] = c
	if s.order = append(s.order, c); len(s.order) > rememberCount {
		m.forget(s)
	}
}

// forget drops a subject's oldest command and raises the floor over it.
func (m *memory) forget(s *subject) {
	c := s.order[0]
	id := id16(c.GetCommandId())
	delete(m.known, commandKey{c.GetSubject(), id})
	if bytes.Compare(id[:], s.floor[:]) > 0 {
		s.floor = id
	}
	s.order[0] = nil
	s.order = s.order[1:]
}

// expire drops what is older than a day.
func (m *memory) expire(now time.Time) {
	old := now.Add(-rememberFor).UnixMilli()
	for _, s := range m.subjects {
		for len(s.order) > 0 && s.order[0].GetDecidedMs() < old {
			m.forget(s)
		}
	}
}

// snapshot returns what is remembered, subjects in order.
func (m *memory) snapshot() []*journalv1.Commands {
	names := make([]string, 0, len(m.subjects))
	for n := range m.subjects {
		names = append(names, n)
	}
	sort.Strings(names)
	all := make([]*journalv1.Commands, 0, len(names))
	for _, n := range names {
		s := m.subjects[n]
		c := &journalv1.Commands{Subject: n, Floor: slices.Clone(s.floor[:])}
		for _, r := range s.order {
			c.Remembered = append(c.Remembered, &journalv1.Command{CommandId: r.GetCommandId(), Digest: r.GetDigest(), Reply: r.GetReply(), DecidedMs: r.GetDecidedMs()})
		}
		all = append(all, c)
	}
	return all
}

// restore takes back what snapshot returned.
func (m *memory) restore(all []*journalv1.Commands) {
	for _, c := range all {
		for _, r := range c.GetRemembered() {
			r.Subject = c.GetSubject()
			m.remember(r)
		}
		if m.subjects == nil {
			m.known, m.subjects = map[commandKey]*journalv1.Command{}, map[string]*subject{}
		}
		if m.subjects[c.GetSubject()] == nil {
			m.subjects[c.GetSubject()] = &subject{}
		}
		copy(m.subjects[c.GetSubject()].floor[:], c.GetFloor())
	}
}

// id16 returns the 16 bytes of a UUID.
func id16(b []byte) (id [16]byte) {
	copy(id[:], b)
	return id
}
