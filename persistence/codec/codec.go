// Package codec is the binary form in which stores keep what they do not get as
// bytes: numbers, names and messages, one after another.
package codec

import (
	"encoding/binary"
	"fmt"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// Decoder reads numbers and byte strings one after another. Once something is
// wrong it returns zero values; Err says so at the end.
type Decoder struct {
	// Rest is what was not read yet.
	Rest []byte
	bad  bool
}

// Number reads a uvarint.
func (d *Decoder) Number() uint64 {
	n, size := binary.Uvarint(d.Rest)
	if size <= 0 {
		d.Fail()
		return 0
	}
	d.Rest = d.Rest[size:]
	return n
}

// Bytes reads a length and as many bytes. They are part of the input.
func (d *Decoder) Bytes() []byte {
	n := d.Number()
	if n > uint64(len(d.Rest)) {
		d.Fail()
		return nil
	}
	b := d.Rest[:n:n]
	d.Rest = d.Rest[n:]
	return b
}

// Fail notes that what was read makes no sense.
func (d *Decoder) Fail() { d.Rest, d.bad = nil, true }

// Err returns persistence.ErrCorrupt unless everything could be read.
func (d *Decoder) Err(what string) error {
	if d.bad {
		return fmt.Errorf("decode %s: %w", what, persistence.ErrCorrupt)
	}
	return nil
}

// AppendBytes appends what Decoder.Bytes reads.
func AppendBytes[T []byte | string](b []byte, v T) []byte {
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}
