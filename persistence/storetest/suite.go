// Package storetest holds every store to the contract of persistence.Store.
//
// A store's own tests call Run and RunPubSub. Each part of the suite gets a
// store of its own, made by the function handed in, which also closes it when
// the test ends.
//
// # Time
//
// The suite sets the time of wake-ups itself. Leases run out in the store's
// own time, so those parts wait for it, a fraction of a second each.
package storetest

import (
	"context"
	"iter"
	"testing"
	"time"

	backupv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/backup/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// patience is how long the suite waits for what must come.
const patience = 30 * time.Second

// Open makes an empty store for one test and closes it when the test ends.
type Open func(t *testing.T) persistence.Store

// Reopen closes a store and opens what it has stored again.
type Reopen func(t *testing.T, s persistence.Store) persistence.Store

// Restore makes a store of the parts of a dump, and closes it when the test ends.
type Restore func(t *testing.T, parts iter.Seq2[*backupv1.Part, error]) persistence.Store

// Run checks the contract. A nil reopen says that the store is not durable;
// what concerns durability is then left out.
func Run(t *testing.T, open Open, restore Restore, reopen Reopen) {
	t.Helper()
	for _, part := range parts() {
		t.Run(part.name, func(t *testing.T) {
			t.Parallel()
			part.check(t, open(t))
		})
	}
	t.Run("a dump makes the same store again", func(t *testing.T) {
		t.Parallel()
		checkDump(t, open(t), restore)
	})
	if reopen == nil {
		return
	}
	t.Run("reopening keeps everything", func(t *testing.T) {
		t.Parallel()
		checkReopen(t, open(t), reopen)
	})
	t.Run("cursors and claims outlive the store", func(t *testing.T) {
		t.Parallel()
		checkReopenGroups(t, open(t), reopen)
	})
}

// part is one promise of the contract.
type part struct {
	name  string
	check func(t *testing.T, s persistence.Store)
}

// parts is the contract.
func parts() []part {
	return []part{
		{"a commit follows a version", checkFence},
		{"an equal id comes before the version", checkRepeat},
		{"names that cannot be kept are refused", checkNames},
		{"a commit without events leaves the version", checkSnapshotOnly},
		{"two snapshots and the events since the older", checkSnapshots},
		{"an entity that never was is empty", checkAbsent},
		{"an entity exists from its first event", checkExists},
		{"entities come in the order of their ids", checkEntities},
		{"a halted entity waits for a person", checkHalt},
		{"a data key is swapped for the one that is there", checkKeys},
		{"racing writers win each version once", checkRace},
		{"done is called once, also by Close", checkClose},
		{"a list is paged newest first", checkPage},
		{"a list is read oldest first", checkSince},
		{"a long list is read both ways", checkLongList},
		{"lists with like names are apart", checkListNames},
		{"a cursor nobody gave out is refused", checkCursor},
		{"older items give way to one", checkReplace},
		{"a wake-up is replaced, cleared and claimed", checkWake},
		{"wake-ups come earliest first", checkWakeOrder},
		{"messages come in order with their origin", checkOutbox},
		{"appended messages have no origin", checkAppend},
		{"topics are apart", checkTopics},
		{"reading waits for news", checkReadWaits},
		{"reading ends with its context", checkReadEnds},
		{"reading ends with the store", checkReadClosed},
		{"a group's cursor never moves back", checkGroupCursor},
		{"the groups of a topic are known", checkGroups},
		{"how far a group is behind", checkLags},
		{"nothing is trimmed that a group has not read", checkTrim},
		{"a lease has one holder", checkLease},
		{"a lease runs out", checkLeaseExpiry},
		{"an ended context is answered", checkContext},
	}
}

// commit commits and waits for the outcome.
func commit(t *testing.T, s persistence.Store, c *persistence.Commit) error {
	t.Helper()
	done := make(chan error, 1)
	s.Commit(c, func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-within(t):
		t.Fatalf("commit %s of %s: done was not called", c.ID, c.Entity)
		return nil
	}
}

// mustCommit commits what must succeed.
func mustCommit(t *testing.T, s persistence.Store, commits ...*persistence.Commit) {
	t.Helper()
	for _, c := range commits {
		if err := commit(t, s, c); err != nil {
			t.Fatalf("commit %s of %s: %v", c.ID, c.Entity, err)
		}
	}
}

// within returns a channel that is closed when patience is at an end.
func within(t *testing.T) <-chan struct{} {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx.Done()
}

// check ends the test on an error.
func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
