package boltstore

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/codec"
)

// state is the record that every commit of an entity replaces.
type state struct {
	version   uint64
	wake      uint64    // see stamp
	count     int       // how many snapshots there are
	snapshots [2]uint64 // their versions, the older first
	commit    []byte    // id of the last commit; part of what was decoded
}

// maxStamp is where stamps end, in the year 2262.
const maxStamp = math.MaxInt64

// stamp is a time as wake-ups are sorted by it: nanoseconds since 1970. Zero
// means none; what a stamp cannot hold becomes the nearest it can.
func stamp(t time.Time) uint64 {
	switch seconds := t.Unix(); {
	case t.IsZero():
		return 0
	case seconds < 0:
		return 1
	case seconds >= maxStamp/int64(time.Second):
		return maxStamp
	}
	return uint64(max(t.UnixNano(), 1))
}

// decodeState reads a state record; of nil, the zero value.
func decodeState(b []byte) (state, error) {
	var s state
	if b == nil {
		return s, nil
	}
	d := codec.Decoder{Rest: b}
	s.version = d.Number()
	s.wake = d.Number()
	count := d.Number()
	if count > uint64(len(s.snapshots)) {
		return state{}, fmt.Errorf("state record with %d snapshots: %w", count, persistence.ErrCorrupt)
	}
	s.count = int(count)
	for i := range s.count {
		s.snapshots[i] = d.Number()
		if s.snapshots[i] > s.version || i > 0 && s.snapshots[i] <= s.snapshots[i-1] {
			d.Fail()
		}
	}
	s.commit = d.Rest
	if err := d.Err("state record"); err != nil {
		return state{}, err
	}
	return s, nil
}

// appendRecord appends what decodeState reads, with the id of a commit.
func (s *state) appendRecord(b []byte, commit string) []byte {
	b = binary.AppendUvarint(b, s.version)
	b = binary.AppendUvarint(b, s.wake)
	b = binary.AppendUvarint(b, uint64(s.count)) //nolint:gosec // It is at most 2.
	for _, version := range s.snapshots[:s.count] {
		b = binary.AppendUvarint(b, version)
	}
	return append(b, commit...)
}

// older returns the version after which the journal is kept: that of the older
// of two snapshots, or 0.
func (s *state) older() uint64 {
	if s.count < len(s.snapshots) {
		return 0
	}
	return s.snapshots[0]
}
