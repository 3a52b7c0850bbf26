// Package boltstore is the store for one process: everything in one bbolt file.
//
// # Concurrency
//
// One goroutine writes. It takes what has queued up into one transaction, syncs
// the file once for all of it, and then answers each. A request is checked
// against what is stored before it writes, so that a refusal concerns only
// itself. Reads run beside the writer, each on the state of one moment.
//
// # Layout
//
// What changes together lies together: an entity's newest event, its state
// record and the newest item of its first list are neighbours in one bucket, so
// that most commits touch one page of it. See key.go.
//
// # Failure
//
// An acknowledged commit is on the disk: bbolt syncs the pages, then the page
// that makes them count. When a transaction fails, the number of the last
// transaction that counts tells whether anything can have been stored: if not,
// its requests end with ErrOverloaded, else with ErrUnknown. A repeat is
// answered only when a transaction after it has been synced, so it may be
// believed also after a failed sync.
//
// Only consumer groups that have advanced may step back, by a tenth of a
// second, when the process is killed: their cursors ride along with whatever
// is written next.
package boltstore

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// Options says how a Store works. The zero value is right for production.
type Options struct {
	// Queue is how many requests may wait for the writer before further ones
	// end with ErrOverloaded; 0 means 8,192.
	Queue int
	// Gather is how long the writer waits for company while batches are small;
	// 0 means 2 ms, a negative value none.
	Gather time.Duration
	// Clock times the leases; nil means clock.Real.
	Clock clock.Clock
}

// withDefaults replaces zero values by what their comments promise.
func (o Options) withDefaults() Options {
	if o.Queue <= 0 {
		o.Queue = 8 * maxBatch
	}
	if o.Gather == 0 {
		o.Gather = 2 * time.Millisecond
	}
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	return o
}

// Store keeps entities in one file.
type Store struct {
	db      *bbolt.DB
	epoch   atomic.Value // string
	writer  *writer
	cursors *cursors
	news    *news
	leases  *leases

	mu      sync.RWMutex // held for writing only to close
	closed  bool
	closing chan struct{} // closed by Close: reads that block return
	wait    sync.WaitGroup
}

var _ persistence.Store = (*Store)(nil)

// Open opens the store in a file and makes it if there is none. It fails with
// ErrLocked when another process has the file, ErrTooNew when a later version
// of the program wrote it, and ErrCorrupt when it is not a store.
func Open(path string, options Options) (*Store, error) {
	options = options.withDefaults()
	db, epoch, err := openFile(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	s := &Store{
		db:      db,
		cursors: newCursors(),
		news:    newNews(),
		leases:  newLeases(options.Clock),
		closing: make(chan struct{}),
	}
	s.epoch.Store(epoch)
	s.writer = newWriter(db, options, s.cursors, s.news)
	s.wait.Go(s.writer.run)
	return s, nil
}

// Epoch returns the random id of the history.
func (s *Store) Epoch() string { return s.epoch.Load().(string) } //nolint:forcetypeassert,errcheck // only strings are stored

// Stats returns the counters for metrics.
func (s *Store) Stats() persistence.Stats {
	return persistence.Stats{
		Transactions: s.writer.transactions.Load(),
		Commits:      s.writer.commits.Load(),
	}
}

// Health says that nothing is known against the store.
func (s *Store) Health() persistence.Health { return persistence.Health{} }

// Close waits for the batch being written; what is queued ends with ErrClosed.
// It may be called more than once.
func (s *Store) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.closing)
		s.writer.close()
	}
	s.mu.Unlock()
	s.wait.Wait()
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close the store: %w", err)
	}
	return nil
}
