package gateway

import "testing"

// TestFullOfPushes has what waits for all fill a topic, and what those who join
// have missed not: else a crowd that comes back would end the stream for everybody.
func TestFullOfPushes(t *testing.T) {
	g := New(Config{Limits: Limits{QueueBytes: 1000}})
	missed := topic{hub: g.hub, steps: []step{{frames: make([]byte, 5000), join: &way{}}, {frames: make([]byte, 900)}}}
	if missed.full() {
		t.Error("what others have missed fills the topic")
	}
	said := topic{hub: g.hub, steps: []step{{frames: make([]byte, 600)}, {run: func() {}}, {frames: make([]byte, 600)}}}
	if !said.full() {
		t.Error("1,200 bytes of pushes do not fill 1,000")
	}
}
