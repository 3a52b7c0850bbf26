package storetest

import (
	"strconv"
	"testing"
	"time"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// mustStand checks how far a group has come.
func mustStand(t *testing.T, s persistence.Store, group, topic string, want persistence.Position) {
	t.Helper()
	got, err := s.Cursor(t.Context(), group, topic)
	check(t, err)
	if got != want {
		t.Fatalf("group %s in topic %s stands at %q, want %q", group, topic, got, want)
	}
}

// publish appends n messages and returns their positions.
func publish(t *testing.T, s persistence.Store, topic string, n int) []persistence.Position {
	t.Helper()
	for i := range n {
		check(t, s.Append(t.Context(), []persistence.Message{out(topic, strconv.Itoa(i))}))
	}
	var positions []persistence.Position
	for _, m := range readAll(t, s, topic, n) {
		positions = append(positions, m.Position)
	}
	return positions
}

func checkGroupCursor(t *testing.T, s persistence.Store) {
	at := publish(t, s, "t", 12) // Positions of more than one digit: order is not that of their text.
	mustStand(t, s, "g", "t", "")
	check(t, s.Advance(t.Context(), "g", "t", at[10]))
	mustStand(t, s, "g", "t", at[10])
	for _, back := range []persistence.Position{at[1], at[9], at[10], ""} {
		check(t, s.Advance(t.Context(), "g", "t", back))
		mustStand(t, s, "g", "t", at[10])
	}
	check(t, s.Advance(t.Context(), "g", "t", at[11]))
	mustStand(t, s, "g", "t", at[11])
	mustStand(t, s, "g2", "t", "")
	mustStand(t, s, "g", "t2", "")
}

// mustLease asks for a lease and checks the answer.
func mustLease(t *testing.T, s persistence.Store, name, holder string, ttl time.Duration, want bool) {
	t.Helper()
	got, err := s.Lease(t.Context(), name, holder, ttl)
	check(t, err)
	if got != want {
		t.Fatalf("lease of %s by %s: %v, want %v", name, holder, got, want)
	}
}

func checkLease(t *testing.T, s persistence.Store) {
	mustLease(t, s, "x", "one", time.Hour, true)
	mustLease(t, s, "x", "two", time.Hour, false)
	mustLease(t, s, "y", "two", time.Hour, true)
	mustLease(t, s, "x", "one", time.Hour, true)
	mustLease(t, s, "x", "two", 0, false) // It is not theirs to give back.
	mustLease(t, s, "x", "two", time.Hour, false)
	mustLease(t, s, "x", "one", 0, true)
	mustLease(t, s, "x", "two", time.Hour, true)
	mustLease(t, s, "x", "one", time.Hour, false)
}

func checkLeaseExpiry(t *testing.T, s persistence.Store) {
	mustLease(t, s, "x", "one", 50*time.Millisecond, true)
	// Asking again must not prolong what another holds.
	tick := time.NewTicker(5 * time.Millisecond) //nolint:forbidigo // The lease runs out in the store's own time.
	defer tick.Stop()
	over := within(t)
	for {
		held, err := s.Lease(t.Context(), "x", "two", time.Hour)
		check(t, err)
		if held {
			break
		}
		select {
		case <-tick.C:
		case <-over:
			t.Fatal("the lease does not run out")
		}
	}
	mustLease(t, s, "x", "one", time.Hour, false)
}
