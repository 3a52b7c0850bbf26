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
	killLimit  = 2         // so many times something may end an incarnation
	killMemory = time.Hour // after that it is tried again
	killCount  = 1024      // deeds remembered at most
)

// deed is something that a kind was asked to do.
type deed [sha256.Size]byte

// requestDeed tells requests apart by what they ask, not by their command id.
func requestDeed(e persistence.Entity, req *clusterv1.Request) deed {
	return newDeed(e, req.GetMethod(), req.GetSubject(), string(req.GetPayload()))
}

// taskDeed is the end of a task.
func taskDeed(e persistence.Entity, id string) deed { return newDeed(e, "", "task", id) }

func newDeed(e persistence.Entity, what ...string) (d deed) {
	sum := sha256.New()
	for _, part := range append([]string{e.Kind, e.ID}, what...) {
		sum.Write([]byte(part))
		sum.Write([]byte{0})
	}
	return deed(sum.Sum(nil))
}

// deadly remembers what ended incarnations by a panic, so that a bug which one
// request meets does not keep an actor from everybody else.
type deadly struct {
	any atomic.Bool // something was remembered: most processes never look further

	mu    sync.Mutex
	kills map[deed]kill
}

type kill struct {
	times int
	last  time.Time
}

// killed counts, and says how often that was.
func (d *deadly) killed(what deed, now time.Time) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kills == nil || len(d.kills) >= killCount {
		d.kills = map[deed]kill{}
	}
	k := d.kills[what]
	if now.Sub(k.last) > killMemory {
		k.times = 0
	}
	k = kill{k.times + 1, now}
	d.kills[what] = k
	d.any.Store(true)
	return k.times
}

// is says whether something is not to be tried again.
func (d *deadly) is(what func() deed, now time.Time) bool {
	if !d.any.Load() {
		return false
	}
	key := what()
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.kills[key]
	return k.times >= killLimit && now.Sub(k.last) <= killMemory
}
