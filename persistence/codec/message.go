package codec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// AppendMessage appends a message as it lies in its topic. A message without an
// origin has an empty kind and then nothing more of the origin.
func AppendMessage(b []byte, m *persistence.Message, o persistence.Origin) []byte {
	b = AppendBytes(b, o.Entity.Kind)
	if o.Entity.Kind != "" {
		b = AppendBytes(b, o.Entity.ID)
		b = binary.AppendUvarint(b, o.Version)
		b = binary.AppendUvarint(b, uint64(o.Index))
	}
	b = AppendBytes(b, m.UUID)
	b = binary.AppendUvarint(b, uint64(len(m.Metadata)))
	for key, value := range m.Metadata {
		b = AppendBytes(b, key)
		b = AppendBytes(b, value)
	}
	return append(b, m.Payload...)
}

// DecodeMessage reads what AppendMessage wrote, to the end of b. It makes the
// UUID of a message that was committed without one.
func DecodeMessage(b []byte) (persistence.Message, error) {
	var m persistence.Message
	d := Decoder{Rest: b}
	if kind := d.Bytes(); len(kind) > 0 {
		m.Origin.Entity.Kind = string(kind)
		m.Origin.Entity.ID = string(d.Bytes())
		m.Origin.Version = d.Number()
		index := d.Number()
		if index > math.MaxUint32 {
			d.Fail()
		}
		m.Origin.Index = uint32(index) //nolint:gosec // What does not fit was found out above.
	}
	m.UUID = string(d.Bytes())
	if pairs := d.Number(); pairs > 0 {
		m.Metadata = make(map[string]string, min(pairs, 16))
		for i := uint64(0); i < pairs && !d.bad; i++ {
			key := string(d.Bytes())
			m.Metadata[key] = string(d.Bytes())
		}
	}
	if err := d.Err("message"); err != nil {
		return persistence.Message{}, err
	}
	m.Payload = bytes.Clone(d.Rest)
	if m.UUID == "" && m.Origin.Version > 0 {
		m.UUID = fmt.Sprintf("%s/%d-%d", m.Origin.Entity, m.Origin.Version, m.Origin.Index)
	}
	return m, nil
}
