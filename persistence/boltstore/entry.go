package boltstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// appendEntry appends a message as it lies in its topic. A message without an
// origin has an empty kind and then nothing more of the origin.
func appendEntry(b []byte, m *persistence.Message, o persistence.Origin) []byte {
	b = appendBytes(b, o.Entity.Kind)
	if o.Entity.Kind != "" {
		b = appendBytes(b, o.Entity.ID)
		b = binary.AppendUvarint(b, o.Version)
		b = binary.AppendUvarint(b, uint64(o.Index))
	}
	b = appendBytes(b, m.UUID)
	b = binary.AppendUvarint(b, uint64(len(m.Metadata)))
	for key, value := range m.Metadata {
		b = appendBytes(b, key)
		b = appendBytes(b, value)
	}
	return append(b, m.Payload...)
}

// decodeEntry reads what appendEntry wrote. It makes the UUID of a message that
// was committed without one.
func decodeEntry(b []byte) (persistence.Message, error) {
	var m persistence.Message
	d := decoder{rest: b}
	if kind := d.bytes(); len(kind) > 0 {
		m.Origin.Entity.Kind = string(kind)
		m.Origin.Entity.ID = string(d.bytes())
		m.Origin.Version = d.number()
		index := d.number()
		d.bad = d.bad || index > math.MaxUint32
		m.Origin.Index = uint32(index) //nolint:gosec // What does not fit was found out above.
	}
	m.UUID = string(d.bytes())
	if pairs := d.number(); pairs > 0 {
		m.Metadata = make(map[string]string, min(pairs, 16))
		for i := uint64(0); i < pairs && !d.bad; i++ {
			key := string(d.bytes())
			m.Metadata[key] = string(d.bytes())
		}
	}
	if err := d.err("message"); err != nil {
		return persistence.Message{}, err
	}
	m.Payload = bytes.Clone(d.rest)
	if m.UUID == "" && m.Origin.Version > 0 {
		m.UUID = fmt.Sprintf("%s/%d-%d", m.Origin.Entity, m.Origin.Version, m.Origin.Index)
	}
	return m, nil
}
