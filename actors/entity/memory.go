package entity

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/threefoldtech/cloud-marketplace/messages"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
)

// What is remembered of commands, at most.
const (
	rememberCount = 128 // of one subject
	rememberFor   = 24 * time.Hour
	replyLimit    = 256 // bytes of a command's reply; what is larger is for reads to tell
)

// memory is what an entity remembers of the commands it has decided, so that
// none is decided twice. It is bounded: forgetting a command raises its
// subject's floor, and at or below the floor nothing is decided any more.
type memory struct{ subjects map[string]*subject }

type subject struct {
	order  []*journalv1.Command // by decision
	newest messages.CommandID   // the greatest that was ever in order
	floor  messages.CommandID
}

// find returns a remembered command, or nil. Ids grow with time, so most are
// seen to be new without a search.
func (m *memory) find(who string, id messages.CommandID) *journalv1.Command {
	s := m.subjects[who]
	if s == nil || bytes.Compare(id[:], s.newest[:]) > 0 {
		return nil
	}
	for _, c := range slices.Backward(s.order) {
		if bytes.Equal(c.GetCommandId(), id[:]) {
			return c
		}
	}
	return nil
}

// expired says whether a command that is not remembered may be one that was forgotten.
func (m *memory) expired(who string, id messages.CommandID) bool {
	s := m.subjects[who]
	return s != nil && bytes.Compare(id[:], s.floor[:]) <= 0
}

// of returns what is remembered of a subject, to be changed.
func (m *memory) of(who string) *subject {
	s := m.subjects[who]
	if s == nil {
		if m.subjects == nil {
			m.subjects = map[string]*subject{}
		}
		s = &subject{}
		m.subjects[who] = s
	}
	return s
}

// remember takes a decided command; nil is none.
func (m *memory) remember(c *journalv1.Command) {
	if c == nil {
		return
	}
	s := m.of(c.GetSubject())
	if bytes.Compare(c.GetCommandId(), s.newest[:]) > 0 {
		s.newest = commandID(c.GetCommandId())
	}
	if s.order = append(s.order, c); len(s.order) > rememberCount {
		s.forget()
	}
}

// forget drops the oldest command and raises the floor over it.
func (s *subject) forget() {
	id := commandID(s.order[0].GetCommandId())
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
			s.forget()
		}
	}
}

// snapshot returns what is remembered, subjects in order.
func (m *memory) snapshot() []*journalv1.Commands {
	names := slices.Sorted(maps.Keys(m.subjects))
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
		m.of(c.GetSubject()).floor = commandID(c.GetFloor())
	}
}

// commandID returns the 16 bytes of a command id.
func commandID(b []byte) (id messages.CommandID) {
	copy(id[:], b)
	return id
}
