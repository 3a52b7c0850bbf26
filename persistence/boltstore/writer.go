package boltstore

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/threefoldtech/cloud-marketplace/internal/fault"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

const (
	// maxBatch bounds a transaction, and with it how long a commit waits for
	// those before it.
	maxBatch = 1024
	// crowd is how many requests make a batch worth its transaction, which
	// costs some 0.4 ms of CPU however little it holds.
	crowd = 16
	// cursorDelay is how long a consumer group's cursor waits for a transaction
	// to ride along with.
	cursorDelay = 100 * time.Millisecond
)

// writer is the goroutine that writes. Only it touches what is below queue.
type writer struct {
	queue        chan request
	closing      atomic.Bool
	transactions atomic.Uint64
	commits      atomic.Uint64

	db      *bbolt.DB
	cursors *cursors
	news    *news
	gather  time.Duration
	batch   []request
	last    int // how many the last batch held
	change  change
}

// newWriter returns a writer that is not yet running.
func newWriter(db *bbolt.DB, options Options, c *cursors, n *news) *writer {
	return &writer{
		queue:   make(chan request, options.Queue),
		db:      db,
		cursors: c,
		news:    n,
		gather:  options.Gather,
		batch:   make([]request, 0, maxBatch),
	}
}

// close makes run answer what is queued and return. Nobody may send any more.
func (w *writer) close() {
	w.closing.Store(true)
	close(w.queue)
}

// run writes until the queue is closed.
func (w *writer) run() {
	flush := time.NewTimer(cursorDelay) //nolint:forbidigo // A wait, not a reading of the clock.
	defer flush.Stop()
	for {
		select {
		case r, open := <-w.queue:
			switch {
			case !open:
				w.flush()
				return
			case w.closing.Load():
				r.done(persistence.ErrClosed)
			default:
				w.collect(r)
				w.write()
			}
		case <-w.cursors.moved:
			flush.Reset(cursorDelay)
		case <-flush.C:
			w.flush()
		}
	}
}

// collect makes a batch of a request and what has queued up behind it. While
// batches are small it waits for company, until there is a crowd.
func (w *writer) collect(first request) {
	w.batch = append(w.batch[:0], first)
	w.drain()
	if w.gather > 0 && w.last < crowd && len(w.batch) < crowd {
		w.await()
		w.drain()
	}
	w.last = len(w.batch)
}

// drain takes what is there.
func (w *writer) drain() {
	for len(w.batch) < maxBatch {
		select {
		case r, open := <-w.queue:
			if !open {
				return
			}
			w.batch = append(w.batch, r)
		default:
			return
		}
	}
}

// await waits for company.
func (w *writer) await() {
	timer := time.NewTimer(w.gather) //nolint:forbidigo // A wait, not a reading of the clock.
	defer timer.Stop()
	for len(w.batch) < crowd {
		select {
		case r, open := <-w.queue:
			if !open {
				return
			}
			w.batch = append(w.batch, r)
		case <-timer.C:
			return
		}
	}
}

// flush writes cursors that found no transaction to ride along with.
func (w *writer) flush() {
	if w.cursors.waiting() {
		w.batch = w.batch[:0]
		w.write()
	}
}

// write stores the batch and answers everyone in it.
func (w *writer) write() {
	err := w.transact()
	fault.Point(fault.AfterWrite)
	if err == nil {
		w.transactions.Add(1)
		w.commits.Add(w.change.stored)
		w.news.publish(w.change.topics)
	}
	w.cursors.written(err == nil)
	w.change.reset()
	for i := range w.batch {
		r := &w.batch[i]
		if err != nil {
			r.err = err
		}
		r.done(r.err)
		*r = request{}
	}
}

// transact stores the batch in one transaction. An error is every request's.
func (w *writer) transact() error {
	tx, err := w.db.Begin(true)
	if err != nil {
		return fmt.Errorf("begin a transaction: %w: %w", persistence.ErrOverloaded, err)
	}
	number := tx.ID()
	if err := w.apply(tx); err != nil {
		// Nothing was handed to the file yet.
		return fmt.Errorf("write a batch: %w: %w", persistence.ErrOverloaded, errors.Join(err, tx.Rollback()))
	}
	fault.Point(fault.BeforeWrite)
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit a transaction: %w: %w", w.outcome(number), err)
	}
	return nil
}

// apply runs the batch in a transaction. Also a batch of nothing but refusals
// and repeats is committed: what they were answered from may have come from a
// transaction whose sync failed, and is durable with the next that succeeds.
func (w *writer) apply(tx *bbolt.Tx) error {
	if err := w.change.begin(tx); err != nil {
		return err
	}
	if err := w.cursors.write(&w.change); err != nil {
		return err
	}
	for i := range w.batch {
		r := &w.batch[i]
		var err error
		if r.commit != nil {
			r.err, err = w.change.commit(r.commit)
		} else {
			r.err, err = r.do(&w.change)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// outcome tells what became of a transaction that failed to commit. The page
// that makes a transaction count is written last: while an earlier one counts,
// nothing was stored.
func (w *writer) outcome(number int) error {
	tx, err := w.db.Begin(false)
	if err != nil {
		return persistence.ErrUnknown
	}
	counts := tx.ID()
	if err := tx.Rollback(); err != nil || counts >= number {
		return persistence.ErrUnknown
	}
	return persistence.ErrOverloaded
}
