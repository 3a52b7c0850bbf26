package gateway

import (
	"sync"

	"github.com/threefoldtech/cloud-marketplace/messages"
)

// deliveredMost is of how many items it is known how far they came.
const deliveredMost = 1000

// delivered counts to how many connections items were written that have an
// audience, on each stream. Of the oldest nothing is known any more.
type delivered struct {
	mu     sync.Mutex
	counts map[string]map[*messages.Method]uint64 // by the item's id
	order  []string                               // the oldest first
}

// add counts n connections to which a stream wrote an item.
func (d *delivered) add(m *messages.Method, id string, n uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	streams := d.counts[id]
	if streams == nil {
		if d.counts == nil {
			d.counts = map[string]map[*messages.Method]uint64{}
		}
		if len(d.order) == deliveredMost {
			delete(d.counts, d.order[0])
			d.order = d.order[1:]
		}
		streams = map[*messages.Method]uint64{}
		d.counts[id], d.order = streams, append(d.order, id)
	}
	streams[m] += n
}

// Delivered returns to about how many connections of this process an item was
// written since it started. A connection that hears several streams with the item
// is counted on each, and what is returned is the greatest of their counts. Of an
// item that was never written, or long ago, it is 0.
func (g *Gateway) Delivered(id string) uint64 {
	g.delivered.mu.Lock()
	defer g.delivered.mu.Unlock()
	var most uint64
	for _, n := range g.delivered.counts[id] {
		most = max(most, n)
	}
	return most
}
