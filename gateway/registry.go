package gateway

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
)

// registry knows the sessions that are open, by whose they are.
type registry struct {
	seed   maphash.Seed
	shards [registryShards]registryShard
	count  atomic.Int64
}

const registryShards = 64

type registryShard struct {
	mu     sync.Mutex
	people map[string][]*Session
}

func newRegistry() *registry {
	r := &registry{seed: maphash.MakeSeed()}
	for i := range r.shards {
		r.shards[i].people = map[string][]*Session{}
	}
	return r
}

func (r *registry) shard(subject string) *registryShard {
	return &r.shards[maphash.String(r.seed, subject)%registryShards]
}

// enter notes a session of a subject, unless may says no. Whoever has more than
// limit then loses the oldest, which is returned.
func (r *registry) enter(s *Session, subject string, limit int, may func() bool) (replaced *Session, ok bool) {
	shard := r.shard(subject)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if !may() {
		return nil, false
	}
	all := append(shard.people[subject], s)
	if len(all) > limit {
		replaced = all[0]
		all = slices.Delete(all, 0, 1)
	} else {
		r.count.Add(1)
	}
	shard.people[subject] = all
	return replaced, true
}

// leave forgets a session, if it is there.
func (r *registry) leave(s *Session, subject string) {
	shard := r.shard(subject)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	all := shard.people[subject]
	i := slices.Index(all, s)
	if i < 0 {
		return
	}
	r.count.Add(-1)
	if len(all) == 1 {
		delete(shard.people, subject)
		return
	}
	shard.people[subject] = slices.Delete(all, i, i+1)
}

// of returns the sessions of a subject.
func (r *registry) of(subject string) []*Session {
	shard := r.shard(subject)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	return slices.Clone(shard.people[subject])
}

// users is how many people have a session.
func (r *registry) users() int {
	n := 0
	for i := range r.shards {
		shard := &r.shards[i]
		shard.mu.Lock()
		n += len(shard.people)
		shard.mu.Unlock()
	}
	return n
}

// all returns every session.
func (r *registry) all() []*Session {
	all := make([]*Session, 0, r.count.Load())
	for i := range r.shards {
		shard := &r.shards[i]
		shard.mu.Lock()
		for _, sessions := range shard.people {
			all = append(all, sessions...)
		}
		shard.mu.Unlock()
	}
	return all
}
