package persistence

import (
	"maps"
	"strconv"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Metadata that a Subscriber adds to every message, besides what its publisher
// said. A message that was appended has no origin; what its metadata say of one
// is then the publisher's word, as of a message moved to a poison topic.
const (
	// MetadataKind is the kind of the entity whose commit published the message.
	MetadataKind = "origin_kind"
	// MetadataID is the id of that entity.
	MetadataID = "origin_id"
	// MetadataVersion is the version which that commit made, in decimal.
	MetadataVersion = "origin_version"
	// MetadataIndex is the place among the messages of that commit, in decimal.
	MetadataIndex = "origin_index"
	// MetadataPosition is the place in the topic.
	MetadataPosition = "topic_position"
)

// received is a message of a topic as Watermill hands it to a handler.
func received(m *Message) *message.Message {
	w := message.NewMessage(m.UUID, m.Payload)
	maps.Copy(w.Metadata, m.Metadata)
	if m.Origin.Entity != (Entity{}) {
		w.Metadata[MetadataKind] = m.Origin.Entity.Kind
		w.Metadata[MetadataID] = m.Origin.Entity.ID
		w.Metadata[MetadataVersion] = strconv.FormatUint(m.Origin.Version, 10)
		w.Metadata[MetadataIndex] = strconv.FormatUint(uint64(m.Origin.Index), 10)
	}
	w.Metadata[MetadataPosition] = string(m.Position)
	return w
}
