package boltstore_test

import (
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/boltstore"
)

// BenchmarkCommit lets entities commit, each as soon as its last commit is
// durable: an event of 200 bytes and a list item of 100.
func BenchmarkCommit(b *testing.B) {
	for _, entities := range []int{1, 64, 1000} {
		b.Run(fmt.Sprintf("entities=%d", entities), func(b *testing.B) {
			benchmarkCommit(b, entities)
		})
	}
}

func benchmarkCommit(b *testing.B, entities int) {
	s, err := boltstore.Open(filepath.Join(b.TempDir(), "store.db"), boltstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	l := &loop{store: s, event: make([]byte, 200), item: make([]byte, 100)}
	l.left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	for i := range entities {
		l.wait.Add(1)
		l.next(persistence.Entity{Kind: "bench", ID: strconv.Itoa(i)}, 0)
	}
	l.wait.Wait()
	b.StopTimer()
	if err := l.failed.Load(); err != nil {
		b.Fatal(err)
	}
	stats := s.Stats()
	b.ReportMetric(float64(stats.Commits)/b.Elapsed().Seconds(), "commits/s")
	b.ReportMetric(float64(stats.Commits)/float64(stats.Transactions), "commits/tx")
}

// loop is a closed loop of commits.
type loop struct {
	store       *boltstore.Store
	event, item []byte
	left        atomic.Int64
	wait        sync.WaitGroup
	failed      atomic.Value
}

// next commits, and goes on when that is durable.
func (l *loop) next(e persistence.Entity, version uint64) {
	if l.left.Add(-1) < 0 {
		l.wait.Done()
		return
	}
	c := &persistence.Commit{
		Entity: e,
		Expect: version,
		ID:     strconv.FormatUint(version, 36),
		Events: l.event,
		Lists:  []persistence.ListItem{{List: "items", Data: l.item}},
	}
	l.store.Commit(c, func(err error) {
		if err != nil {
			l.failed.Store(err)
			l.wait.Done()
			return
		}
		l.next(e, version+1)
	})
}
