package redisstore_test

import (
	"iter"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/threefoldtech/cloud-marketplace/internal/redistest"
	backupv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/backup/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/redisstore"
	"github.com/threefoldtech/cloud-marketplace/persistence/storetest"
)

// stores opens stores in one server, each under a tag of its own.
type stores struct {
	server *redistest.Server
	count  atomic.Uint64
	tags   sync.Map
}

func (s *stores) open(t *testing.T) persistence.Store {
	t.Helper()
	return s.openTag(t, "t"+strconv.FormatUint(s.count.Add(1), 10))
}

func (s *stores) openTag(t *testing.T, tag string) persistence.Store {
	t.Helper()
	store, err := redisstore.Open(t.Context(), redisstore.Options{Redis: &redis.Options{Addr: s.server.Addr}, Tag: tag})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	s.tags.Store(store, tag)
	return store
}

func (s *stores) reopen(t *testing.T, store persistence.Store) persistence.Store {
	t.Helper()
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	tag, _ := s.tags.Load(store)
	return s.openTag(t, tag.(string))
}

func (s *stores) restore(t *testing.T, parts iter.Seq2[*backupv1.Part, error]) persistence.Store {
	t.Helper()
	tag := "r" + strconv.FormatUint(s.count.Add(1), 10)
	options := redisstore.Options{Redis: &redis.Options{Addr: s.server.Addr}, Tag: tag}
	if err := redisstore.Restore(t.Context(), options, parts); err != nil {
		t.Fatal(err)
	}
	return s.openTag(t, tag)
}

func TestStore(t *testing.T) {
	t.Parallel()
	s := &stores{server: redistest.Start(t)}
	storetest.Run(t, s.open, s.restore, s.reopen)
}

func TestPubSub(t *testing.T) {
	t.Parallel()
	s := &stores{server: redistest.Start(t)}
	storetest.RunPubSub(t, s.open)
}

// TestManyOpenAtOnce has processes come at once to an empty server: one makes the
// store, and all are in the same history.
func TestManyOpenAtOnce(t *testing.T) {
	t.Parallel()
	s := &stores{server: redistest.Start(t)}
	for round := range 5 {
		tag := "at-once-" + strconv.Itoa(round)
		epochs := make(chan string, 8)
		var all sync.WaitGroup
		for range cap(epochs) {
			all.Go(func() {
				store, err := redisstore.Open(t.Context(), redisstore.Options{Redis: &redis.Options{Addr: s.server.Addr}, Tag: tag})
				if err != nil {
					t.Error(err)
					return
				}
				epochs <- store.Epoch()
				if err := store.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		close(epochs)
		first := <-epochs
		for epoch := range epochs {
			if epoch != first || epoch == "" {
				t.Errorf("one is in history %q, another in %q", first, epoch)
			}
		}
	}
}
