package gateway

import (
	"hash/maphash"
	"sync"
)

// limiter is a token bucket for each of many keys, such as addresses. Full
// buckets are forgotten, so it is as large as what was busy lately.
type limiter struct {
	seed        maphash.Seed
	rate, burst int64 // tokens a second, and at once
	shards      [limiterShards]limiterShard
}

const (
	limiterShards = 16
	limiterSweep  = 1024 // keys of a shard after which it is swept
)

type limiterShard struct {
	mu      sync.Mutex
	buckets map[string]*bucket
	sweepAt int
}

func newLimiter(rate, burst int) *limiter {
	l := &limiter{seed: maphash.MakeSeed(), rate: int64(rate), burst: int64(burst)}
	for i := range l.shards {
		l.shards[i] = limiterShard{buckets: map[string]*bucket{}, sweepAt: limiterSweep}
	}
	return l
}

// take takes n tokens of a key's, or none and says so.
func (l *limiter) take(key string, n, nowMS int64) bool {
	s := &l.shards[maphash.String(l.seed, key)%limiterShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bucket(l, key, nowMS).take(n, l.rate, l.burst, nowMS)
}

// charge takes n tokens of a key's, also those that are yet to come.
func (l *limiter) charge(key string, n, nowMS int64) {
	s := &l.shards[maphash.String(l.seed, key)%limiterShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bucket(l, key, nowMS).charge(n, l.rate, l.burst, nowMS)
}

// bucket returns the bucket of a key. It is called with the lock.
func (s *limiterShard) bucket(l *limiter, key string, nowMS int64) *bucket {
	b := s.buckets[key]
	if b != nil {
		return b
	}
	if len(s.buckets) >= s.sweepAt {
		for k, old := range s.buckets {
			if old.fill(l.rate, l.burst, nowMS); old.milli >= l.burst*1000 {
				delete(s.buckets, k)
			}
		}
		s.sweepAt = max(limiterSweep, 2*len(s.buckets))
	}
	b = &bucket{}
	s.buckets[key] = b
	return b
}

// tally counts what is open, and for each of many keys.
type tally struct {
	mu     sync.Mutex
	all    int
	counts map[string]int
}

// total is how many are open.
func (t *tally) total() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all
}

// add counts one more, unless there are each of the key's, or all of all.
func (t *tally) add(key string, each, all int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts[key] >= each || t.all >= all {
		return false
	}
	if t.counts == nil {
		t.counts = map[string]int{}
	}
	t.counts[key]++
	t.all++
	return true
}

// done counts one less.
func (t *tally) done(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all--
	if t.counts[key]--; t.counts[key] <= 0 {
		delete(t.counts, key)
	}
}
