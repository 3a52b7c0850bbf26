package storetest

import (
	"errors"
	"fmt"
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

func checkGroups(t *testing.T, s persistence.Store) {
	at := publish(t, s, "t", 3)
	check(t, s.Advance(t.Context(), "late", "t", "")) // it is known from its first word on
	check(t, s.Advance(t.Context(), "early", "t", at[1]))
	publish(t, s, "t2", 1)
	check(t, s.Advance(t.Context(), "elsewhere", "t2", at[0]))
	if err := s.Advance(t.Context(), "early", "t", "4"); !errors.Is(err, persistence.ErrInvalid) {
		t.Errorf("beyond the end: %v", err)
	}
	groups, err := s.Groups(t.Context(), "t")
	check(t, err)
	if got, want := fmt.Sprint(groups), fmt.Sprintf("[{early %s} {late }]", at[1]); got != want {
		t.Fatalf("groups %s, want %s", got, want)
	}
	publish(t, s, "other", 1)
	topics, err := s.Topics(t.Context())
	check(t, err)
	if got := fmt.Sprint(topics); got != "[other t t2]" {
		t.Fatalf("topics %s", got)
	}
}

func checkLags(t *testing.T, s persistence.Store) {
	at := publish(t, s, "t", 12)
	publish(t, s, "unread", 3)
	publish(t, s, "nobody's", 3)
	check(t, s.Advance(t.Context(), "slow", "t", at[1]))
	check(t, s.Advance(t.Context(), "fast", "t", at[11]))
	check(t, s.Advance(t.Context(), "new", "unread", ""))
	check(t, s.Advance(t.Context(), "early", "not yet", ""))
	mustTrim(t, s, at[1], 2)
	got, err := persistence.Lags(t.Context(), s)
	check(t, err)
	if want := "[{t fast 0} {t slow 10} {unread new 3}]"; fmt.Sprint(got) != want {
		t.Fatalf("lags %v, want %s", got, want)
	}
}

// mustTrim trims and checks how many messages went.
func mustTrim(t *testing.T, s persistence.Store, upTo persistence.Position, want int) {
	t.Helper()
	got, err := s.Trim(t.Context(), "t", upTo)
	check(t, err)
	if got != want {
		t.Fatalf("%d messages up to %q were dropped, want %d", got, upTo, want)
	}
}

func checkTrim(t *testing.T, s persistence.Store) {
	at := publish(t, s, "t", 12)
	mustTrim(t, s, at[11], 0) // nobody is known to have read anything
	check(t, s.Advance(t.Context(), "slow", "t", ""))
	check(t, s.Advance(t.Context(), "fast", "t", at[10]))
	mustTrim(t, s, at[11], 0)
	check(t, s.Advance(t.Context(), "slow", "t", at[4]))
	mustTrim(t, s, at[2], 3)
	mustTrim(t, s, at[11], 2)
	mustTrim(t, s, at[11], 0)
	ms, err := s.Read(t.Context(), "t", at[0], 100) // what is gone is passed over
	check(t, err)
	if len(ms) != 7 || ms[0].Position != at[5] {
		t.Fatalf("%d messages from %s on, want 7 from %s on", len(ms), ms[0].Position, at[5])
	}
	check(t, s.Advance(t.Context(), "slow", "t", at[11]))
	check(t, s.Advance(t.Context(), "fast", "t", at[11]))
	mustTrim(t, s, at[11], 7)
	if end, err := s.End(t.Context(), "t"); err != nil || end != at[11] {
		t.Fatalf("the end of a topic that is empty: %q, %v", end, err)
	}
	check(t, s.Append(t.Context(), []persistence.Message{out("t", "next")}))
	if ms, err = s.Read(t.Context(), "t", at[11], 10); err != nil || len(ms) != 1 || string(ms[0].Payload) != "next" {
		t.Fatalf("after the end: %+v, %v", ms, err)
	}
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
