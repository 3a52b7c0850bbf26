package boltstore

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// occupy keeps the writer busy until release is called.
func occupy(t *testing.T, s *Store) (release func()) {
	t.Helper()
	begun, end := make(chan struct{}), make(chan struct{})
	s.enqueue(request{
		do:   func(*change) (refused, err error) { return nil, nil },
		done: func(error) { close(begun); <-end },
	})
	<-begun
	return sync.OnceFunc(func() { close(end) })
}

func TestFullQueue(t *testing.T) {
	t.Parallel()
	s := openTest(t, Options{Queue: 2, Gather: -1})
	release := occupy(t, s)
	defer release()
	results := make(chan error, 3)
	for i := range 3 {
		e := persistence.Entity{Kind: "user", ID: strconv.Itoa(i)}
		s.Commit(&persistence.Commit{Entity: e, ID: "c", Events: []byte("e")}, func(err error) { results <- err })
	}
	if err := <-results; !errors.Is(err, persistence.ErrOverloaded) {
		t.Fatalf("a full queue: %v", err)
	}
	release()
	if err := errors.Join(<-results, <-results); err != nil {
		t.Fatalf("what was in the queue: %v", err)
	}
}

func TestCloseRefusesWhatIsQueued(t *testing.T) {
	t.Parallel()
	s := openTest(t, Options{Gather: -1})
	release := occupy(t, s)
	result := make(chan error, 1)
	s.Commit(&persistence.Commit{Entity: ann, ID: "c", Events: []byte("e")}, func(err error) { result <- err })
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	<-s.closing
	func() {
		s.mu.RLock() // Close holds it until the writer is told.
		defer s.mu.RUnlock()
	}()
	release()
	if err := <-result; !errors.Is(err, persistence.ErrClosed) {
		t.Errorf("what was queued: %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func TestRefusalConcernsOnlyItself(t *testing.T) {
	t.Parallel()
	s := openTest(t, Options{Gather: -1})
	release := occupy(t, s)
	before := s.Stats()
	results := make([]chan error, 5)
	for i := range results {
		results[i] = make(chan error, 1)
		c := &persistence.Commit{Entity: ann, Expect: uint64(i), ID: strconv.Itoa(i), Events: []byte("e")}
		if i >= 2 {
			c.Expect-- // One that comes too late, and those after it in its place.
		}
		s.Commit(c, func(err error) { results[i] <- err })
	}
	release()
	for i, want := range []error{nil, nil, persistence.ErrStale, nil, nil} {
		if err := <-results[i]; !errors.Is(err, want) {
			t.Errorf("commit %d: %v, want %v", i, err, want)
		}
	}
	after := s.Stats()
	if n := after.Transactions - before.Transactions; n != 1 {
		t.Errorf("%d transactions for one batch", n)
	}
	l, err := s.Load(t.Context(), ann)
	if err != nil || l.Version != after.Commits {
		t.Errorf("version %d, %d commits, %v", l.Version, after.Commits, err)
	}
}

// TestFailedTransaction makes a transaction fail before anything is handed to
// the file: nobody's commit is stored, and all may come again.
func TestFailedTransaction(t *testing.T) {
	t.Parallel()
	s := openTest(t, Options{Gather: -1})
	release := occupy(t, s)
	results := make(chan error, 2)
	s.Commit(&persistence.Commit{Entity: ann, ID: "c", Events: []byte("e")}, func(err error) { results <- err })
	s.enqueue(request{
		do:   func(*change) (refused, err error) { return nil, errors.New("the disk is on fire") },
		done: func(err error) { results <- err },
	})
	release()
	for range 2 {
		if err := <-results; !errors.Is(err, persistence.ErrOverloaded) || errors.Is(err, persistence.ErrUnknown) {
			t.Errorf("a transaction that failed early: %v", err)
		}
	}
	if ok, err := s.Exists(t.Context(), ann); ok || err != nil {
		t.Errorf("something was stored: %v, %v", ok, err)
	}
	if err := commitTo(t, s, ann, 0, nil); err != nil {
		t.Errorf("commit again: %v", err)
	}
}

// TestFullDisk lets the file grow no further: commits fail cleanly, and
// succeed again when there is room.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	s := openTest(t, Options{Gather: -1})
	if err := commitTo(t, s, ann, 0, nil); err != nil {
		t.Fatal(err)
	}
	release := occupy(t, s) // The limit is the writer's to read.
	s.db.MaxSize = 1
	big := func(c *persistence.Commit) { c.ID, c.Events = "big", make([]byte, 32<<20) }
	result := make(chan error, 1)
	go func() { result <- commitTo(t, s, ann, 1, big) }()
	release()
	if err := <-result; !errors.Is(err, persistence.ErrOverloaded) || errors.Is(err, persistence.ErrUnknown) {
		t.Fatalf("commit without room: %v", err)
	}
	release = occupy(t, s)
	s.db.MaxSize = 0
	release()
	if err := commitTo(t, s, ann, 1, big); err != nil {
		t.Fatalf("commit with room again: %v", err)
	}
	l, err := s.Load(t.Context(), ann)
	if err != nil || l.Version != 2 {
		t.Fatalf("version %d, %v", l.Version, err)
	}
}

// TestOutcome tells a transaction that cannot have been stored from one that can.
func TestOutcome(t *testing.T) {
	t.Parallel()
	s := openTest(t, Options{})
	var counts int
	if err := s.db.View(func(tx *bbolt.Tx) error { counts = tx.ID(); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := s.writer.outcome(counts + 1); !errors.Is(err, persistence.ErrOverloaded) {
		t.Errorf("a transaction that does not count: %v", err)
	}
	if err := s.writer.outcome(counts); !errors.Is(err, persistence.ErrUnknown) {
		t.Errorf("a transaction that counts: %v", err)
	}
}

// TestGather measures the wait for company in the time of a bubble.
func TestGather(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name              string
		last, first, more int
		want              time.Duration
	}{
		{"alone", 1, 1, 0, 2 * time.Millisecond},
		{"a crowd is there", 1, crowd, 0, 0},
		{"a crowd comes", 1, 3, crowd - 3, time.Millisecond},
		{"too few come", 1, 3, 3, 2 * time.Millisecond},
		{"the last batch was a crowd", crowd, 1, 0, 0},
		{"more than a batch", 1, maxBatch + 5, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWriter(nil, Options{}.withDefaults(), nil, nil)
				w.last = c.last
				for range c.first - 1 {
					w.queue <- request{}
				}
				came := make(chan struct{})
				go func() {
					defer close(came)
					<-time.NewTimer(time.Millisecond).C
					for range c.more {
						w.queue <- request{}
					}
				}()
				begin := time.Now()
				w.collect(request{})
				if took := time.Since(begin); took != c.want {
					t.Errorf("waited %s, want %s", took, c.want)
				}
				if want := min(c.first+c.more, maxBatch); len(w.batch) != want && c.want > 0 {
					t.Errorf("batch of %d, want %d", len(w.batch), want)
				}
				<-came
			})
		})
	}
}

// TestCursorsRideAlong writes cursors with the next transaction.
func TestCursorsRideAlong(t *testing.T) {
	t.Parallel()
	s := openTest(t, Options{})
	if err := s.Append(t.Context(), slices.Repeat([]persistence.Message{{Topic: "t"}}, 7)); err != nil {
		t.Fatal(err)
	}
	if err := s.Advance(t.Context(), "g", "t", "7"); err != nil {
		t.Fatal(err)
	}
	if err := commitTo(t, s, ann, 0, nil); err != nil {
		t.Fatal(err)
	}
	err := s.db.View(func(tx *bbolt.Tx) error {
		n, err := parseNumber(tx.Bucket(bucketGroups).Get(member{"g", "t"}.key()))
		if n != 7 {
			t.Errorf("cursor %d in the file, want 7", n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestLeaseClock lets leases run out by the store's clock.
func TestLeaseClock(t *testing.T) {
	t.Parallel()
	now := clock.NewManual(time.Unix(1000, 0))
	s := openTest(t, Options{Clock: now})
	take := func(holder string, want bool) {
		t.Helper()
		if held, err := s.Lease(t.Context(), "x", holder, time.Minute); err != nil || held != want {
			t.Fatalf("lease by %s: %v, %v", holder, held, err)
		}
	}
	take("one", true)
	now.Advance(59 * time.Second)
	take("two", false)
	take("one", true)
	now.Advance(59 * time.Second)
	take("two", false)
	now.Advance(time.Second)
	take("two", true)
	take("one", false)
}

func TestOpenWhereNothingCanBe(t *testing.T) {
	t.Parallel()
	if _, err := Open(t.TempDir()+"/no/such/folder/store.db", Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("open: %v", err)
	}
	if _, err := Open(os.DevNull+"/store.db", Options{}); err == nil {
		t.Fatal("opened a store below a device")
	}
}
