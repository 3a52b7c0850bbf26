// Package grid connects the marketplace to TFGrid: it tells nodes what the grid
// says of them, and does what deployments ask of the grid.
//
// # Watcher
//
// A Watcher asks a grid-proxy for all nodes, compares the answer with what the
// marketplace already shows, and publishes an observation for every node that
// differs. It keeps nothing of its own: what was lost on the way differs at the
// next look and is told again.
//
// # Rehearsal
//
// A Rehearsal stands in for the grid where contracts and workloads are
// concerned. It deploys nothing: it takes its time, answers what the real grid
// would answer, and forgets. It is for the sandbox and for tests; a production
// configuration must refuse it.
//
// # Failure
//
// A grid-proxy that does not answer, or answers what makes no sense, is no news
// about any node: nothing is published, the condition is logged once, and the
// proxy is asked again after a pause that grows up to the usual one. A single
// node in a good answer that makes no sense is left as it was. A node that is
// not in the answer any more stays as it was last seen.
//
// # Concurrency
//
// Run belongs to one goroutine; Status may be called from any. One process of a
// marketplace needs a Watcher. A second one does no harm beyond a commit more
// for each node that changes, because each stamps its own time on it.
package grid

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// Errors of a look at the grid, for Status. All of them are tried again.
var (
	// ErrNoAnswer says that the grid-proxy did not answer, or answered that it cannot.
	ErrNoAnswer = errors.New("the grid-proxy did not answer")
	// ErrNonsense says that the grid-proxy answered what cannot be its nodes.
	ErrNonsense = errors.New("the grid-proxy's answer makes no sense")
	// ErrNotPublished says that there is news of which some was not published: our own mistake.
	ErrNotPublished = errors.New("observations were not published")
)

// Config configures a Watcher. Zero values have the defaults that are named.
type Config struct {
	// ProxyURL is the URL of the grid-proxy, without the path of a request.
	ProxyURL string
	// Publisher takes the observations.
	Publisher message.Publisher
	// Known returns what the marketplace shows of a node, nil for one it does not
	// know. It must be loaded before Run, or every node is told again. The node is
	// not changed. nil: nothing is known, and every look tells every node.
	Known func(nodeID uint32) *marketplacev1.Node

	Client  *http.Client  // nil: one with the defaults of net/http; Timeout bounds its requests
	Refresh time.Duration // from one look to the next, ± a tenth; 10 min
	Retry   time.Duration // first pause after a look that failed, doubled up to Refresh; 5 s
	Timeout time.Duration // the longest a page may take; 30 s
	MaxBody int64         // bytes of a page that are read; 16 MiB
	Domain  clock.Clock   // when a node was observed; nil: the real clock
	Real    clock.Clock   // when the proxy was asked; nil: the real clock
	Log     *slog.Logger  // nil: none
}

// withDefaults returns c with its zero values filled in.
func (c Config) withDefaults() Config {
	set := func(d *time.Duration, to time.Duration) {
		if *d <= 0 {
			*d = to
		}
	}
	set(&c.Refresh, 10*time.Minute)
	set(&c.Retry, 5*time.Second)
	set(&c.Timeout, 30*time.Second)
	if c.MaxBody <= 0 {
		c.MaxBody = 16 << 20
	}
	if c.Known == nil {
		c.Known = func(uint32) *marketplacev1.Node { return nil }
	}
	if c.Client == nil {
		c.Client = &http.Client{}
	}
	if c.Domain == nil {
		c.Domain = clock.Real{}
	}
	if c.Real == nil {
		c.Real = clock.Real{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}
