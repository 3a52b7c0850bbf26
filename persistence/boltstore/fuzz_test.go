package boltstore

import (
	"errors"
	"testing"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

func FuzzDecodeState(f *testing.F) {
	s := state{version: 300, wake: 7, count: 2, snapshots: [2]uint64{100, 200}}
	f.Add(s.appendRecord(nil, "commit"))
	f.Add((&state{}).appendRecord(nil, ""))
	f.Add([]byte{})
	f.Add([]byte{5, 0, 9})
	f.Add([]byte{5, 0, 2, 4, 3})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeState(b)
		if err != nil {
			if !errors.Is(err, persistence.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		again, err := decodeState(s.appendRecord([]byte{}, string(s.commit)))
		if err != nil || again.version != s.version || again.wake != s.wake ||
			again.snapshots != s.snapshots || string(again.commit) != string(s.commit) {
			t.Fatalf("%+v became %+v, %v", s, again, err)
		}
	})
}

func FuzzParseCursor(f *testing.F) {
	f.Add("7-1")
	f.Add("-")
	f.Fuzz(func(t *testing.T, cursor string) {
		version, index, err := persistence.ParseCursor(cursor)
		if err != nil {
			if !errors.Is(err, persistence.ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		v, i, err := persistence.ParseCursor(persistence.FormatCursor(version, index))
		if err != nil || v != version || i != index {
			t.Fatalf("%d-%d became %d-%d, %v", version, index, v, i, err)
		}
	})
}
