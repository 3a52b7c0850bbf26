package entity_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// commandIDs are n command ids in the order of their making.
func commandIDs(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("019a0000-%04x-7000-8000-000000000000", i)
	}
	return ids
}

// as gives credit on behalf of a subject.
func (w *world) as(subject, command string, amount int64) <-chan *clusterv1.Response {
	w.t.Helper()
	return w.call("grant", "cloud-operator/grant-credit", subject, command, &marketplacev1.GrantCreditRequest{UserId: who, Amount: amount, Note: "x"})
}

// TestMemoryOfCommands remembers the newest 128 of each subject, raises the
// floor over what it forgets, and keeps both through restarts, whether they are
// in a snapshot or in the journal alone.
func TestMemoryOfCommands(t *testing.T) {
	for name, every := range map[string]int{"journal only": 1_000_000, "snapshots": 7} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(w *world) { w.config.SnapshotEvery = every })
			ids := commandIDs(131)
			first := map[string]string{}
			for _, id := range ids {
				first[id] = string(w.ok(w.as("olga", id, 1)).GetPayload())
			}
			w.ok(w.as("otto", ids[0], 1)) // another's memory is another
			check := func() {
				t.Helper()
				for i, id := range ids {
					switch r := within(t, w.as("olga", id, 1), "an answer"); {
					case i < 3 && messages.FromStatus(r.GetError()).Reason != marketplacev1.ErrorReason_ERROR_REASON_COMMAND_ID_EXPIRED:
						t.Errorf("command %d is answered with %v", i, r)
					case i >= 3 && string(r.GetPayload()) != first[id]:
						t.Errorf("command %d is answered with %q, not %q", i, r.GetPayload(), first[id])
					}
				}
				if reason := w.refused(w.as("olga", ids[130], 2)); reason != "COMMAND_ID_REUSED" {
					t.Errorf("another body under the same id is %s", reason)
				}
				if reason := w.refused(w.as("olga", "019a0000-0001-7000-8000-00000000000f", 1)); reason != "COMMAND_ID_EXPIRED" {
					t.Errorf("an id under the floor that nobody used is %s", reason)
				}
				w.ok(w.as("otto", ids[0], 1))
				if a := w.account(); a.GetCredit() != 132 {
					t.Errorf("the credit is %d, not 132", a.GetCredit())
				}
			}
			check()
			w.restart()
			check()
			if n := len(w.stored().Snapshots); (n == 0) != (every > 132) {
				t.Errorf("there are %d snapshots", n)
			}
		})
	}
}

// TestRefusalsAreNotRemembered decides anew what was refused, or led to nothing.
func TestRefusalsAreNotRemembered(t *testing.T) {
	w := newWorld(t)
	id := messages.NewCommandID()
	if reason := w.refused(w.grant(id, 5, refuse)); reason != "WRONG_STATE" {
		t.Fatal(reason)
	}
	w.ok(w.grant(id, 5, nothing))
	r := &marketplacev1.GrantCreditResponse{}
	if w.decode(w.ok(w.grant(id, 5, "x")), r); r.GetCredit() != 5 {
		t.Errorf("the same id after a refusal gives %d", r.GetCredit())
	}
	if reason := w.refused(w.grant(id, 5, refuse)); reason != "COMMAND_ID_REUSED" {
		t.Errorf("once decided, another body is %s", reason)
	}
	for _, bad := range []string{"", "x", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"} {
		if reason := w.refused(w.grant(bad, 5, "x")); reason != "COMMAND_ID_REQUIRED" {
			t.Errorf("command id %q is %s", bad, reason)
		}
	}
}

// TestForgottenAfterADay forgets with the snapshot what is older than a day,
// and never decides it again.
func TestForgottenAfterADay(t *testing.T) {
	var late *clock.Manual
	w := newWorld(t, func(w *world) {
		late = clock.NewManual(time.Now())
		w.config.Real, w.config.SnapshotEvery = late, 2
	})
	ids := commandIDs(4)
	w.ok(w.as("olga", ids[1], 1))
	late.Advance(25 * time.Hour)
	w.ok(w.as("olga", ids[2], 1)) // with a snapshot
	if reason := w.refused(w.as("olga", ids[1], 1)); reason != "COMMAND_ID_EXPIRED" {
		t.Errorf("after a day a command is %s", reason)
	}
	w.restart()
	if reason := w.refused(w.as("olga", ids[1], 1)); reason != "COMMAND_ID_EXPIRED" {
		t.Errorf("after a day and a restart a command is %s", reason)
	}
	if reason := w.refused(w.as("olga", ids[2], 1)); reason != "COMMAND_ID_EXPIRED" {
		t.Errorf("a command of the other day is %s", reason)
	}
	w.ok(w.as("olga", ids[3], 1))
	if a := w.account(); a.GetCredit() != 3 {
		t.Errorf("the credit is %d, not 3", a.GetCredit())
	}
}

// TestSnapshotsAndTail snapshots every so many commits, keeps two and the tail
// behind the older, and reads back what was there.
func TestSnapshotsAndTail(t *testing.T) {
	w := newWorld(t, func(w *world) { w.config.SnapshotEvery = 10 })
	for range 37 {
		w.granted(1, "x")
	}
	l := w.stored()
	if len(l.Snapshots) != 2 || l.Snapshots[0].Version != 20 || l.Snapshots[1].Version != 30 || len(l.Tail) != 17 {
		t.Fatalf("stored: %d snapshots, a tail of %d", len(l.Snapshots), len(l.Tail))
	}
	whole, err := entityReplay(l)
	if err != nil {
		t.Fatal(err)
	}
	l.Snapshots = l.Snapshots[:1] // the older and all behind it tell the same
	older, err := entityReplay(l)
	if err != nil || !proto.Equal(whole, older) {
		t.Errorf("the older snapshot tells %v, the newer %v: %v", older, whole, err)
	}
	w.restart()
	if a := w.account(); a.GetCredit() != 37 {
		t.Errorf("the credit is %d, not 37", a.GetCredit())
	}
	if r := w.granted(1, "x"); r.GetVersion() != 38 {
		t.Errorf("the next version is %d, not 38", r.GetVersion())
	}
}

// TestPassivationSnapshots stops what is idle behind a snapshot that makes no version.
func TestPassivationSnapshots(t *testing.T) {
	w := newWorld(t, func(w *world) { w.idle = time.Millisecond })
	for range 3 {
		w.granted(1, "x")
	}
	eventually(t, "the entity has gone", func() bool { return w.engine.Stats().Live == 0 })
	l, snapshot := w.stored(), &journalv1.Snapshot{}
	if len(l.Snapshots) == 0 || l.Snapshots[len(l.Snapshots)-1].Version != l.Version || l.Version != 3 {
		t.Fatalf("stored %+v", l)
	}
	if err := proto.Unmarshal(l.Snapshots[len(l.Snapshots)-1].Data, snapshot); err != nil || len(snapshot.GetCommands()) != 1 {
		t.Errorf("the snapshot remembers %v: %v", snapshot.GetCommands(), err)
	}
	if a := w.account(); a.GetCredit() != 3 {
		t.Errorf("the credit is %d, not 3", a.GetCredit())
	}
}
