package messages

import (
	"testing"
	"time"
)

// TestDeriveCommandID makes ids that gateways and actors take: of their time, the
// same again, and of each part another.
func TestDeriveCommandID(t *testing.T) {
	at := time.UnixMilli(1_800_000_000_123)
	text := DeriveCommandID(at, "operation", "ann")
	id, err := ParseCommandID(text)
	if err != nil || !id.Time().Equal(at) {
		t.Errorf("%s is of %s: %v", text, id.Time(), err)
	}
	if DeriveCommandID(at, "operation", "ann") != text {
		t.Error("it is another when derived again")
	}
	for _, other := range []string{DeriveCommandID(at, "operation", "bob"), DeriveCommandID(at, "operationa", "nn"), DeriveCommandID(at.Add(time.Millisecond), "operation", "ann")} {
		if other == text {
			t.Errorf("%s is that of another part", text)
		}
	}
}
