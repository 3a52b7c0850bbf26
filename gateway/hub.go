package gateway

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
)

// Hub lets a process hear each stream once, however many of its sessions do.
//
// A watch lives by renewal alone: every few seconds the hub says where it is
// and hears what it missed. That one mechanism covers a lost push, an actor
// that moved and a process that died; a watch nobody renews ends by itself.
type Hub struct {
	gateway *Gateway
	seed    maphash.Seed
	shards  [hubShards]hubShard
	counts  hubCounts
}

const hubShards = 64

type hubShard struct {
	mu     sync.Mutex
	topics map[topicKey]*topic
}

type hubCounts struct{ pushes, frames, coalesced, gaps, editions atomic.Uint64 }

// HubStats are counts since the start.
type HubStats struct {
	Topics        uint64 // streams heard now
	Subscriptions uint64 // by connections, each counted
	Pushes        uint64 // pushes that actors said
	Frames        uint64 // frames that were written for them
	Gaps          uint64 // pushes that did not follow and were asked for again
	// Coalesced are pushes that joined another that still waited, or took its place.
	Coalesced uint64
	// Editions are how often a push was encoded that not everyone hears in full.
	Editions uint64
}

// topicAddress is the actor of a stream.
type topicAddress struct{ kind, id string }

// topicKey names a stream.
type topicKey struct {
	topicAddress
	method string
}

func newHub(g *Gateway) *Hub {
	h := &Hub{gateway: g, seed: maphash.MakeSeed()}
	for i := range h.shards {
		h.shards[i].topics = map[topicKey]*topic{}
	}
	return h
}

func (h *Hub) shard(k topicKey) *hubShard { return &h.shards[maphash.Comparable(h.seed, k)%hubShards] }

// run renews every watch once in the time that the limits say, a shard at a time.
func (h *Hub) run(ctx context.Context) {
	t := time.NewTicker(h.gateway.limits.Renew / hubShards) //nolint:forbidigo // the pulse of renewals
	defer t.Stop()
	for i := 0; ; i = (i + 1) % hubShards {
		select {
		case <-t.C:
			for _, topic := range h.shards[i].all() {
				topic.renew()
			}
		case <-ctx.Done():
			return
		}
	}
}

func (s *hubShard) all() []*topic {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*topic, 0, len(s.topics))
	for _, t := range s.topics {
		all = append(all, t)
	}
	return all
}

func (h *Hub) stats() HubStats {
	n, held := 0, 0
	for i := range h.shards {
		h.shards[i].mu.Lock()
		n += len(h.shards[i].topics)
		for _, t := range h.shards[i].topics {
			held += t.holders
		}
		h.shards[i].mu.Unlock()
	}
	return HubStats{
		Topics: uint64(n), Subscriptions: uint64(held),
		Pushes: h.counts.pushes.Load(), Frames: h.counts.frames.Load(), Gaps: h.counts.gaps.Load(), Coalesced: h.counts.coalesced.Load(), Editions: h.counts.editions.Load(),
	}
}

// hold returns the topic of a stream for one more session.
func (h *Hub) hold(k topicKey, m *messages.Method) *topic {
	s := h.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.topics[k]
	if t == nil {
		t = &topic{hub: h, key: k, method: m, quoted: quote(k.kind + "/" + k.id), addressed: m.Addressed()}
		s.topics[k] = t
	}
	t.holders++
	return t
}

// drop says that one session less needs the topic.
func (h *Hub) drop(t *topic) {
	s := h.shard(t.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.holders--; t.holders == 0 && s.topics[t.key] == t {
		delete(s.topics, t.key)
	}
}

// forget ends a topic whoever needs it: the stream is over.
func (h *Hub) forget(t *topic) {
	s := h.shard(t.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.topics[t.key] == t {
		delete(s.topics, t.key)
	}
}

// Push takes what an actor says. It runs on the actor's goroutine.
func (h *Hub) Push(p *clusterv1.Push) {
	k := topicKey{topicAddress{p.GetKind(), p.GetId()}, p.GetMethod()}
	s := h.shard(k)
	s.mu.Lock()
	t := s.topics[k]
	s.mu.Unlock()
	if t != nil {
		h.counts.pushes.Add(1)
		t.take(p)
	}
}
