package boltstore

import (
	"encoding/binary"
	"fmt"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// decoder reads numbers and byte strings one after another. Once something is
// wrong it returns zero values; err says so at the end.
type decoder struct {
	rest []byte
	bad  bool
}

// number reads a uvarint.
func (d *decoder) number() uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 {
		d.rest, d.bad = nil, true
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

// bytes reads a length and as many bytes. They are part of the input.
func (d *decoder) bytes() []byte {
	n := d.number()
	if n > uint64(len(d.rest)) {
		d.rest, d.bad = nil, true
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

// err says whether everything could be read.
func (d *decoder) err(what string) error {
	if d.bad {
		return fmt.Errorf("decode %s: %w", what, persistence.ErrCorrupt)
	}
	return nil
}

// appendBytes appends what decoder.bytes reads.
func appendBytes[T []byte | string](b []byte, v T) []byte {
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}
