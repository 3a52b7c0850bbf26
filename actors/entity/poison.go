package entity

import (
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"

	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

const (
	poisonLimit  = 2         // so many times something may end an incarnation
	poisonMemory = time.Hour // after that it is tried again
	poisonCount  = 1024      // fingerprints remembered at most
)

// fingerprint tells what a kind was asked to do.
type fingerprint [sha256.Size]byte

// requestPrint tells requests apart by what they ask, not by their command id.
func requestPrint(e persistence.Entity, req *clusterv1.Request) fingerprint {
	return newPrint(e, req.GetMethod(), req.GetSubject(), string(req.GetPayload()))
}

// taskPrint is the end of a task.
func taskPrint(e persistence.Entity, id string) fingerprint { return newPrint(e, "", "task", id) }

func newPrint(e persistence.Entity, what ...string) fingerprint {
	sum := sha256.New()
	for _, part := range append([]string{e.Kind, e.ID}, what...) {
		sum.Write([]byte(part))
		sum.Write([]byte{0})
	}
	return fingerprint(sum.Sum(nil))
}

// poison remembers what ended incarnations by a panic, so that a bug which one
// request meets does not keep an actor from everybody else.
type poison struct {
	any atomic.Bool // something was remembered: most processes never look further

	mu    sync.Mutex
	kills map[fingerprint]kill
}

type kill struct {
	times int
	last  time.Time
}

// killed counts, and says how often that was.
func (p *poison) killed(what fingerprint, now time.Time) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kills == nil || len(p.kills) >= poisonCount {
		p.kills = map[fingerprint]kill{}
	}
	k := p.kills[what]
	if now.Sub(k.last) > poisonMemory {
		k.times = 0
	}
	k = kill{k.times + 1, now}
	p.kills[what] = k
	p.any.Store(true)
	return k.times
}

// is says whether something is not to be tried again.
func (p *poison) is(what func() fingerprint, now time.Time) bool {
	if !p.any.Load() {
		return false
	}
	key := what()
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.kills[key]
	return k.times >= poisonLimit && now.Sub(k.last) <= poisonMemory
}
