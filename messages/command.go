package messages

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/google/uuid"

	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// CommandID names an intent: a UUIDv7 that its owner makes once, and sends with
// the command however often it is sent.
type CommandID [16]byte

// NewCommandID returns a new command id as it is sent.
func NewCommandID() string { return uuid.Must(uuid.NewV7()).String() }

// DeriveCommandID returns the command id of a part of something larger that began
// at a time: the same whenever it is derived, and another for every other part.
func DeriveCommandID(at time.Time, whole, part string) string {
	sum := sha256.Sum256([]byte(whole + "\x00" + part))
	id := uuid.UUID(sum[:16])
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(at.UnixMilli()))
	copy(id[:6], ms[2:])
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80 // version 7, and the usual variant
	return id.String()
}

// ParseCommandID reads a command id. Anything but a UUIDv7 in its usual
// spelling is refused with COMMAND_ID_REQUIRED.
func ParseCommandID(text string) (CommandID, error) {
	id, err := uuid.Parse(text)
	if err != nil || id.Version() != 7 || len(text) != 36 {
		return CommandID{}, Refuse(marketplacev1.ErrorReason_ERROR_REASON_COMMAND_ID_REQUIRED,
			"what changes something needs a command id: a UUIDv7, the same whenever it is sent again")
	}
	return CommandID(id), nil
}

// String spells the id as it is sent.
func (c CommandID) String() string { return uuid.UUID(c).String() }

// Time returns when the id was made, by its owner's clock, to the millisecond.
func (c CommandID) Time() time.Time {
	return time.Unix(uuid.UUID(c).Time().UnixTime())
}
