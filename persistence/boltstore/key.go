package boltstore

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// Keys of the bucket entities. Names hold no zero byte, so a zero ends them and
// no name is taken for the beginning of another:
//
//	kind 0 id 0 tagJournal  version                    → events
//	kind 0 id 0 tagState                               → state record
//	kind 0 id 0 tagList     list 0 ^version ^index     → item
//
// Numbers are big-endian. Versions of a list are inverted: its newest item
// comes first and so lies next to the state record, as the newest event does.
const (
	tagJournal byte = 1
	tagState   byte = 2
	tagList    byte = 3
	tagAfter   byte = 4 // Sorts behind everything of an entity.
)

const (
	versionSize = 8
	placeSize   = versionSize + 4
)

// appendEntity appends the beginning of all keys of an entity.
func appendEntity(b []byte, e persistence.Entity) []byte {
	b = append(b, e.Kind...)
	b = append(b, 0)
	b = append(b, e.ID...)
	return append(b, 0)
}

// parseEntity reads what appendEntity wrote, and nothing else.
func parseEntity(b []byte) (persistence.Entity, error) {
	kind, rest, found := bytes.Cut(b, []byte{0})
	id, end, ended := bytes.Cut(rest, []byte{0})
	if !found || !ended || len(end) > 0 || len(kind) == 0 || len(id) == 0 {
		return persistence.Entity{}, fmt.Errorf("key %q is not an entity: %w", b, persistence.ErrCorrupt)
	}
	return persistence.Entity{Kind: string(kind), ID: string(id)}, nil
}

// appendState appends the rest of the key of the state record.
func appendState(b []byte) []byte { return append(b, tagState) }

// appendJournal appends the rest of the key of an event batch.
func appendJournal(b []byte, version uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, tagJournal), version)
}

// appendList appends what the keys of a list's items have in common.
func appendList(b []byte, list string) []byte {
	b = append(b, tagList)
	b = append(b, list...)
	return append(b, 0)
}

// appendPlace appends the place of an item in its list, the newest first.
func appendPlace(b []byte, version uint64, index uint32) []byte {
	b = binary.BigEndian.AppendUint64(b, ^version)
	return binary.BigEndian.AppendUint32(b, ^index)
}

// parsePlace reads what appendPlace wrote.
func parsePlace(b []byte) (version uint64, index uint32, err error) {
	if len(b) != placeSize {
		return 0, 0, fmt.Errorf("key %q is not a place in a list: %w", b, persistence.ErrCorrupt)
	}
	return ^binary.BigEndian.Uint64(b), ^binary.BigEndian.Uint32(b[versionSize:]), nil
}

// appendNumber appends a key or value that is a number.
func appendNumber(b []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(b, n) }

// parseNumber reads what appendNumber wrote.
func parseNumber(b []byte) (uint64, error) {
	if len(b) != versionSize {
		return 0, fmt.Errorf("%q is not a number: %w", b, persistence.ErrCorrupt)
	}
	return binary.BigEndian.Uint64(b), nil
}
