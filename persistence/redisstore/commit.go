package redisstore

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/threefoldtech/cloud-marketplace/internal/fault"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/codec"
)

// request is a commit that waits to be written.
type request struct {
	commit *persistence.Commit
	done   func(error)
}

// seed spreads entities over writers.
var seed = maphash.MakeSeed()

// Commit queues a commit; it never blocks. Every outcome is told from another
// goroutine, so that the caller may hold a lock that done takes.
func (s *Store) Commit(c *persistence.Commit, done func(error)) {
	if err := c.Validate(); err != nil {
		go done(fmt.Errorf("commit %s: %w", c.Entity, err))
		return
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		go done(persistence.ErrClosed)
		return
	}
	w := s.writers[maphash.Comparable(seed, c.Entity)%uint64(len(s.writers))]
	select {
	case w.queue <- request{c, done}:
	default:
		go done(fmt.Errorf("%d commits wait: %w", cap(w.queue), persistence.ErrOverloaded))
	}
}

// writer hands over commits, one batch at a time.
type writer struct {
	store   *Store
	queue   chan request
	closing atomic.Bool
	batch   []request
	cmds    []*redis.Cmd
}

func newWriter(s *Store) *writer {
	return &writer{store: s, queue: make(chan request, s.options.Queue), batch: make([]request, 0, s.options.Batch)}
}

// close makes run answer what is queued and return. Nobody may send any more.
func (w *writer) close() {
	w.closing.Store(true)
	close(w.queue)
}

// run writes until the queue is closed. A batch is what queued up while the
// one before it was under way.
func (w *writer) run() {
	for r := range w.queue {
		if w.closing.Load() {
			r.done(persistence.ErrClosed)
			continue
		}
		w.batch = append(w.batch[:0], r)
		w.drain()
		w.write()
	}
}

// drain takes what is there.
func (w *writer) drain() {
	for len(w.batch) < cap(w.batch) {
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

// write hands a batch over and tells everyone in it the outcome. The first
// commit brings the text of the script, so that the others find it whatever
// became of the server's cache. Close does not cut a batch short.
func (w *writer) write() {
	s, ctx := w.store, context.Background()
	pipe := s.writes.TxPipeline()
	w.cmds = w.cmds[:0]
	for i := range w.batch {
		k, a := s.arguments(w.batch[i].commit)
		if i == 0 {
			w.cmds = append(w.cmds, pipe.Eval(ctx, commitText, k, a...))
		} else {
			w.cmds = append(w.cmds, pipe.EvalSha(ctx, commitScript.Hash(), k, a...))
		}
	}
	fault.Point(fault.BeforeWrite)
	_, _ = pipe.Exec(ctx) // each command has its own error
	fault.Point(fault.AfterWrite)
	s.batches.Add(1)
	for i := range w.batch {
		err := outcome(w.batch[i].commit, w.cmds[i])
		if err == nil {
			s.commits.Add(1)
		}
		w.batch[i].done(err)
		w.batch[i], w.cmds[i] = request{}, nil
	}
}

// arguments are what commit.lua expects.
func (s *Store) arguments(c *persistence.Commit) ([]string, []any) {
	k := make([]string, 6, 6+len(c.Lists)+len(c.Out))
	k[0], k[1], k[2], k[3], k[4] = s.keys.state(c.Entity), s.keys.journal(c.Entity), s.keys.wakes(), s.keys.ids(c.Entity.Kind), s.keys.ends()
	k[5] = s.keys.meta()
	a := make([]any, 10, 10+2*(len(c.Lists)+len(c.Out)))
	a[0], a[1], a[2], a[3], a[4] = c.Expect, c.ID, name(c.Entity), c.Entity.ID, millis(c.Wake)
	a[5], a[6], a[7], a[8], a[9] = c.Events != nil, c.Events, c.Snapshot != nil, c.Snapshot, len(c.Lists)
	for i := range c.Lists {
		k = append(k, s.keys.list(c.Entity, c.Lists[i].List))
		a = append(a, c.IndexOf(i), c.Lists[i].Data)
	}
	for i := range c.Out {
		k = append(k, s.keys.topic(c.Out[i].Topic))
		o := persistence.Origin{Entity: c.Entity, Version: c.Expect + 1, Index: uint32(i)}
		a = append(a, c.Out[i].Topic, codec.AppendMessage(nil, &c.Out[i], o))
	}
	return k, a
}

// millis is a wake-up as the set has it, never earlier than it is; "" is none.
func millis(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatInt(t.Add(time.Millisecond-1).UnixMilli(), 10)
}

// outcome reads what became of a commit.
func outcome(c *persistence.Commit, cmd *redis.Cmd) error {
	text, err := cmd.Text()
	if err != nil {
		return fmt.Errorf("commit %s: %w", c.Entity, classify(err))
	}
	verdict, rest, _ := strings.Cut(text, " ")
	switch verdict {
	case "OK":
		return nil
	case "AT":
		return stale(c, rest)
	case "HALTED":
		return fmt.Errorf("commit %s, halted: %s: %w", c.Entity, rest, persistence.ErrLost)
	default:
		return fmt.Errorf("commit %s: %w", c.Entity, refusal(rest))
	}
}

// stale is the refusal of a commit that does not follow what is stored.
func stale(c *persistence.Commit, at string) error {
	have, err := strconv.ParseUint(at, 10, 64)
	cause := persistence.ErrStale
	switch {
	case err != nil:
		cause = persistence.ErrCorrupt
	case have < c.Expect:
		cause = persistence.ErrLost
	}
	return fmt.Errorf("commit %s after version %d, the store has %s: %w", c.Entity, c.Expect, at, cause)
}

// refusals are the errors by which a server says that it takes no write at present.
var refusals = []string{"OOM", "READONLY", "MISCONF", "NOREPLICAS", "NOPERM", "NOAUTH", "WRONGPASS", "CLUSTERDOWN", "MASTERDOWN", "NOWRITES", "NOSTORE"}

// refusal is what a server says to the first write of a script: nothing was stored.
func refusal(text string) error {
	cause := persistence.ErrCorrupt // the journal is ahead of the state, or a key is of another kind
	if isRefusal(text) {
		cause = persistence.ErrOverloaded
	}
	return fmt.Errorf("the server says %q: %w", text, cause)
}

func isRefusal(text string) bool {
	word, _, _ := strings.Cut(strings.TrimPrefix(text, "ERR "), " ")
	for _, r := range refusals {
		if strings.TrimPrefix(word, "-") == r {
			return true
		}
	}
	return false
}

// classify says what an error means for a write that it answers. A script that
// failed in the middle left what it had written.
func classify(err error) error {
	var said redis.Error
	switch {
	case errors.Is(err, persistence.ErrClosed), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case !errors.As(err, &said):
		return fmt.Errorf("%w: %w", persistence.ErrUnknown, err)
	case strings.Contains(said.Error(), "WRONGTYPE"), strings.Contains(said.Error(), "user_script"):
		return fmt.Errorf("%w: %w", persistence.ErrCorrupt, err)
	case isRefusal(said.Error()):
		return fmt.Errorf("%w: %w", persistence.ErrOverloaded, err)
	}
	return fmt.Errorf("%w: %w", persistence.ErrUnknown, err) // LOADING, EXECABORT, NOSCRIPT, BUSY
}
