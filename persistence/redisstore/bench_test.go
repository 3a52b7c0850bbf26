package redisstore_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/threefoldtech/cloud-marketplace/internal/redistest"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/redisstore"
)

// BenchmarkCommit lets entities commit, each as soon as its last commit is
// durable: an event and a message of 200 bytes.
func BenchmarkCommit(b *testing.B) {
	for _, entities := range []int{1, 64, 1000, 5000} {
		b.Run(fmt.Sprintf("entities=%d", entities), func(b *testing.B) { benchmarkCommit(b, entities) })
	}
}

func benchmarkCommit(b *testing.B, entities int) {
	s, err := redisstore.Open(b.Context(), redisstore.Options{Redis: &redis.Options{Addr: redistest.Start(b).Addr}})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	var left atomic.Int64
	var wait sync.WaitGroup
	left.Store(int64(b.N))
	text := []byte(strings.Repeat("x", 200))
	b.ReportAllocs()
	b.ResetTimer()
	for i := range entities {
		wait.Add(1)
		e := persistence.Entity{Kind: "bench", ID: strconv.Itoa(i)}
		var next func(version uint64)
		next = func(version uint64) {
			if left.Add(-1) < 0 {
				wait.Done()
				return
			}
			c := &persistence.Commit{Entity: e, Expect: version, ID: strconv.FormatUint(version, 36), Events: text, Out: []persistence.Message{{Topic: "t", Payload: text}}}
			s.Commit(c, func(err error) {
				if err != nil {
					b.Error(err)
				}
				next(version + 1)
			})
		}
		next(0)
	}
	wait.Wait()
	b.StopTimer()
	stats := s.Stats()
	b.ReportMetric(float64(stats.Commits)/b.Elapsed().Seconds(), "commits/s")
	b.ReportMetric(float64(stats.Commits)/float64(stats.Transactions), "commits/batch")
}
