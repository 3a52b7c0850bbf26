// Package catalogue is what everyone may see of nodes and prices: a read model,
// the same on every process. It answers reads and keeps nothing of its own.
//
// # Life
//
// It is told from which place of the topic of changed nodes to read, loads
// every node from the store, and then applies what was published from that
// place on, dropping what is older than what it loaded. So it misses nothing
// and needs no snapshot. When it was so far behind that messages were trimmed
// before it read them, it loads every node again.
package catalogue

import (
	"context"
	"log/slog"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/threefoldtech/cloud-marketplace/actors/price"
	"github.com/threefoldtech/cloud-marketplace/actors/readmodel"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// Kind is the name under which requests reach the catalogue.
const Kind = "catalogue"

// nodeKind is the kind of actor whose states are read.
const nodeKind = "node"

// Config configures a Catalogue.
type Config struct {
	Store  persistence.Store
	Prices price.Policy
	// Read returns the node that is stored; nil when there is none.
	Read func(id string, l persistence.Loaded) (*marketplacev1.Node, error)
	Log  *slog.Logger
}

// Catalogue holds every node.
type Catalogue struct {
	config Config
	mu     sync.RWMutex
	shown  map[uint32]entry
}

// entry is a node and what of its actor it shows. Nodes are never changed, only
// replaced.
type entry struct {
	node *marketplacev1.Node
	as   readmodel.Moment
}

// New returns an empty catalogue.
func New(c Config) *Catalogue {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Catalogue{config: c, shown: map[uint32]entry{}}
}

// Load reads every node from the store. One that cannot be read, or is halted,
// is left out: it is no reason to show none.
func (c *Catalogue) Load(ctx context.Context) error {
	return readmodel.Load(ctx, c.config.Store, nodeKind, c.config.Read, func(e persistence.Entity, n *marketplacev1.Node, as readmodel.Moment, err error) {
		if err != nil {
			c.config.Log.ErrorContext(ctx, "ALARM: node left out of the catalogue", slog.String("entity", e.String()), slog.Any("error", err))
			return
		}
		c.put(n, as)
	})
}

// Run applies what nodes publish until the channel closes.
func (c *Catalogue) Run(in <-chan *message.Message) {
	for m := range in {
		if gap := m.Metadata.Get(persistence.MetadataGap); gap != "" {
			if err := c.Load(m.Context()); err != nil {
				c.config.Log.ErrorContext(m.Context(), "nodes not loaded again", slog.String("missed", gap), slog.Any("error", err))
				m.Nack()
				continue
			}
		}
		changed := &taskv1.NodeChanged{}
		as, err := readmodel.Decode(m, changed)
		if err != nil {
			c.config.Log.Error("changed node not read", slog.String("uuid", m.UUID), slog.Any("error", err))
		} else {
			c.put(changed.GetNode(), as)
		}
		m.Ack()
	}
}

// put shows a node unless what is shown is newer.
func (c *Catalogue) put(n *marketplacev1.Node, as readmodel.Moment) {
	if n == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if as.Reaches(c.shown[n.GetNodeId()].as) {
		c.shown[n.GetNodeId()] = entry{n, as}
	}
}

// Node returns a node, or nil.
func (c *Catalogue) Node(id uint32) *marketplacev1.Node {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.shown[id].node
}

// Len returns how many nodes are shown.
func (c *Catalogue) Len() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.shown)
}

// all returns the nodes that keep says yes to.
func (c *Catalogue) all(keep func(*marketplacev1.Node) bool) []*marketplacev1.Node {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var nodes []*marketplacev1.Node
	for _, e := range c.shown {
		if keep(e.node) {
			nodes = append(nodes, e.node)
		}
	}
	return nodes
}
