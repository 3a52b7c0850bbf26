package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// noon is when the wake-ups of the suite happen. Stores keep milliseconds at least.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// wakeAt adds a wake-up to a commit.
func wakeAt(c *persistence.Commit, at time.Time) *persistence.Commit {
	c.Wake = at
	return c
}

// mustBeDue claims what is due and compares.
func mustBeDue(t *testing.T, s persistence.Store, now time.Time, lease time.Duration, want ...string) {
	t.Helper()
	due, err := s.Due(t.Context(), now, 100, lease)
	check(t, err)
	ids := make([]string, 0, len(due))
	for _, e := range due {
		ids = append(ids, e.ID)
	}
	if fmt.Sprint(ids) != fmt.Sprint(want) {
		t.Fatalf("due at %s: %v, want %v", now.Format(time.TimeOnly), ids, want)
	}
}

func checkWake(t *testing.T, s persistence.Store) {
	const lease = 10 * time.Second
	mustBeDue(t, s, noon, lease)
	mustCommit(t, s, wakeAt(step(ann, 0), noon))
	mustBeDue(t, s, noon.Add(-time.Millisecond), lease)
	mustBeDue(t, s, noon, lease, "ann")
	mustBeDue(t, s, noon, lease) // Claimed.
	mustBeDue(t, s, noon.Add(lease-time.Millisecond), lease)
	mustBeDue(t, s, noon.Add(lease), lease, "ann") // The claim led to nothing: it comes back.
	// A commit replaces the wake-up, also the one the claim has made.
	mustCommit(t, s, wakeAt(step(ann, 1), noon.Add(time.Hour)))
	mustBeDue(t, s, noon.Add(time.Hour-time.Millisecond), lease)
	mustCommit(t, s, wakeAt(step(ann, 2), noon.Add(time.Minute)))
	mustBeDue(t, s, noon.Add(time.Minute), lease, "ann")
	// A claim is no commit: the version and the commit id stay.
	mustCommit(t, s, step(ann, 2))
	mustLoad(t, s, ann, 3, "", "1=e1 2=e2 3=e3")
	// A commit without a wake-up takes it away, also one without events.
	mustCommit(t, s, step(ann, 3))
	mustBeDue(t, s, noon.AddDate(1, 0, 0), lease)
	mustCommit(t, s, &persistence.Commit{Entity: ann, Expect: 4, ID: "wake", Wake: noon})
	mustBeDue(t, s, noon, lease, "ann")
	mustCommit(t, s, &persistence.Commit{Entity: ann, Expect: 4, ID: "sleep"})
	mustBeDue(t, s, noon.AddDate(1, 0, 0), lease)
}

func checkWakeOrder(t *testing.T, s persistence.Store) {
	for i, id := range []string{"c", "a", "d", "b"} {
		e := persistence.Entity{Kind: "user", ID: id}
		mustCommit(t, s, wakeAt(step(e, 0), noon.Add(time.Duration(i)*time.Second)))
	}
	for _, want := range []string{"c", "a"} {
		due, err := s.Due(t.Context(), noon.Add(time.Minute), 1, time.Hour)
		check(t, err)
		if len(due) != 1 || due[0].ID != want {
			t.Fatalf("due %v, want %s", due, want)
		}
	}
	mustBeDue(t, s, noon.Add(time.Minute), time.Hour, "d", "b")
	mustBeDue(t, s, noon.Add(time.Minute), time.Hour)
}
