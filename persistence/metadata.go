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
	// MetadataGap is how many messages between this one and the one before were
	// trimmed unread, in decimal; absent: none. Whoever keeps what a topic told
	// must ask for it anew. Only a fan-out can see this, for a topic is trimmed
	// behind its groups, and a group that is new to a topic.
	MetadataGap = "topic_gap"
)

// received is a message of a topic as Watermill hands it to a handler, with how
// many before it were trimmed unread.
func received(m *Message, gap uint64) *message.Message {
	w := message.NewMessage(m.UUID, m.Payload)
	maps.Copy(w.Metadata, m.Metadata)
	if m.Origin.Entity != (Entity{}) {
		w.Metadata[MetadataKind] = m.Origin.Entity.Kind
		w.Metadata[MetadataID] = m.Origin.Entity.ID
		w.Metadata[MetadataVersion] = strconv.FormatUint(m.Origin.Version, 10)
		w.Metadata[MetadataIndex] = strconv.FormatUint(uint64(m.Origin.Index), 10)
	}
	w.Metadata[MetadataPosition] = string(m.Position)
	delete(w.Metadata, MetadataGap) // as of another topic
	if gap > 0 {
		w.Metadata[MetadataGap] = strconv.FormatUint(gap, 10)
	}
	return w
}
