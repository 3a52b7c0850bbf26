// Package redisstore is the store on a server of its own: everything in one Redis.
//
// # Concurrency
//
// A commit is one Lua script: it checks the version exactly, and only then
// writes events, state, lists, messages and wake-up. Two writers hand commits
// over in batches, each framed in MULTI: Redis runs a batch in one turn of its
// loop and syncs its log once for all of it. An entity's commits always go
// through the same writer.
//
// # Failure
//
// Redis answers a commit when it is in the log on the disk. When the answer does
// not come, or Redis is loading, the outcome is ErrUnknown; handed over again,
// the commit's id tells whether it had been stored. Nothing is sent again by the
// client library: it would take our own success for another owner's.
//
// # One node
//
// All keys carry one tag, so that a Redis cluster keeps them together. A store
// is as large and as fast as one node; several nodes are several stores.
//
// # Operation
//
// Open refuses a Redis that would drop data, and a keeper looks every
// second whether it still is what it was; see Health.
package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// Options says where a Store lies and how it works.
type Options struct {
	// Redis is how the server is reached; see ParseURL of go-redis. Its time
	// limits, retries and pool are the store's own affair.
	Redis *redis.Options
	// Tag begins all keys; "" means market. Stores with different tags may share a Redis.
	Tag string
	// AcceptLoss says that a Redis which syncs its log once a second will do: a
	// machine that fails may then lose the last second. Health tells so.
	AcceptLoss bool
	// Existing says that there must be a store: an empty Redis is refused.
	Existing bool
	// Queue is how many commits may wait for each writer before further ones end
	// with ErrOverloaded; 0 means 8,192.
	Queue int
	// Batch is how many commits a writer hands over at once; 0 means 512. Redis
	// answers nobody else meanwhile.
	Batch int
	// Writers is how many batches may be under way; 0 means 2.
	Writers int
	// Log gets what goes wrong in the background; nil means slog.Default.
	Log *slog.Logger
}

const (
	// patience is how long an answer may take: longer than a stall of the disk
	// that is worth waiting out.
	patience = 15 * time.Second
	// readers is how many reads of topics may wait at a time.
	readers = 4096
)

// withDefaults replaces zero values by what their comments promise.
func (o Options) withDefaults() Options {
	if o.Tag == "" {
		o.Tag = "market"
	}
	if o.Queue <= 0 {
		o.Queue = 8192
	}
	if o.Batch <= 0 {
		o.Batch = 512
	}
	if o.Writers <= 0 {
		o.Writers = 2
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return o
}

// Store keeps entities in a Redis.
type Store struct {
	options Options
	keys    keys
	// restoring names this store's restore, if it makes one.
	restoring string
	writes    *redis.Client // sends nothing twice
	reads     *redis.Client // what may be asked again
	waits     *redis.Client // reads that wait for news
	writers   []*writer
	epoch     atomic.Value // string
	health    atomic.Pointer[persistence.Health]
	commits   atomic.Uint64
	batches   atomic.Uint64

	mu     sync.RWMutex // held for writing only to close
	closed bool
	ctx    context.Context //nolint:containedctx // Close ends what the store does by itself
	cancel context.CancelFunc
	wait   sync.WaitGroup
}

var _ persistence.Store = (*Store)(nil)

// Open connects to a Redis and makes it a store if it holds none. It waits until
// ctx ends for one that is starting or not there yet, and fails at once with a
// sentence for one that cannot be used: ErrUnfit, ErrTooNew or ErrCorrupt.
func Open(ctx context.Context, options Options) (*Store, error) {
	s := newStore(options.withDefaults())
	if err := s.prepare(ctx); err != nil {
		s.cancel()
		return nil, errors.Join(fmt.Errorf("open the Redis at %s: %w", options.Redis.Addr, err), s.closeClients())
	}
	for _, w := range s.writers {
		s.wait.Go(w.run)
	}
	s.wait.Go(s.keep)
	return s, nil
}

// quiet has the client library say nothing by itself: what matters of it comes
// back as errors.
type quiet struct{}

// Printf drops what the library says.
func (quiet) Printf(context.Context, string, ...any) {}

// newStore returns a store that has not talked to its server.
func newStore(options Options) *Store {
	redis.SetLogger(quiet{})
	s := &Store{options: options, keys: keys{options.Tag}, restoring: rand.Text()}
	s.writes = client(options.Redis, options.Writers+8, -1)
	s.reads = client(options.Redis, 32, 3)
	s.waits = client(options.Redis, readers, -1)
	s.health.Store(&persistence.Health{})
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for range options.Writers {
		s.writers = append(s.writers, newWriter(s))
	}
	return s
}

// client is a connection pool for one use.
func client(from *redis.Options, pool, retries int) *redis.Client {
	o := *from
	o.PoolSize, o.MaxRetries = pool, retries
	o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = patience, patience, patience
	o.ContextTimeoutEnabled = true
	o.DialerRetries = 1
	o.DisableIdentity = true
	return redis.NewClient(&o)
}

// Epoch returns the random id of the history.
func (s *Store) Epoch() string { return s.epoch.Load().(string) } //nolint:forcetypeassert,errcheck // only strings are stored

// Stats returns the counters for metrics.
func (s *Store) Stats() persistence.Stats {
	return persistence.Stats{Transactions: s.batches.Load(), Commits: s.commits.Load()}
}

// Close waits for the batches being written; what is queued ends with ErrClosed.
// It may be called more than once.
func (s *Store) Close() error {
	s.mu.Lock()
	first := !s.closed
	if first {
		s.closed = true
		s.cancel()
		for _, w := range s.writers {
			w.close()
		}
	}
	s.mu.Unlock()
	s.wait.Wait()
	if !first {
		return nil
	}
	if err := s.closeClients(); err != nil {
		return fmt.Errorf("close the store: %w", err)
	}
	return nil
}

func (s *Store) closeClients() error {
	return errors.Join(s.writes.Close(), s.reads.Close(), s.waits.Close())
}

// open says whether the store may be asked something.
func (s *Store) open(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return persistence.ErrClosed
	}
	return nil
}

// run runs a script that may be asked again.
func (s *Store) run(ctx context.Context, script *redis.Script, keys []string, args ...any) *redis.Cmd {
	if err := s.open(ctx); err != nil {
		cmd := redis.NewCmd(ctx)
		cmd.SetErr(err)
		return cmd
	}
	return script.Run(ctx, s.reads, keys, args...)
}
