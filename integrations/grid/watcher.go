package grid

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/threefoldtech/cloud-marketplace/messages"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

const (
	// observeMethod is the command that an observation of a node is.
	observeMethod = "marketplace.task.v1.NodeTaskService.ObserveNode"
	// messageSize is how many observations go into one message.
	messageSize = 500
)

// Watcher tells nodes what a grid-proxy says of them.
type Watcher struct {
	config Config
	source source

	mu     sync.Mutex
	status Status
}

// Status is how a Watcher fares.
type Status struct {
	LastSuccess time.Time // when the last look succeeded; zero: never
	LastError   error     // why the last look failed, ErrNoAnswer, ErrNonsense or ErrNotPublished; nil: it did not
	Failures    int       // looks that failed since the last that succeeded
	Nodes       int       // nodes that the last good answer told
	Skipped     int       // nodes in it that made no sense
	Published   uint64    // observations published since the start
}

// New returns a Watcher; Run sets it going.
func New(c Config) *Watcher {
	w := &Watcher{config: c.withDefaults()}
	w.source = source{client: w.config.Client, url: c.ProxyURL, config: &w.config}
	return w
}

// Status returns how the Watcher fares.
func (w *Watcher) Status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status
}

// Run looks at the grid at once and then again and again, until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	for ctx.Err() == nil {
		err := w.look(ctx)
		if ctx.Err() != nil {
			return
		}
		next := time.NewTimer(w.note(ctx, err)) //nolint:forbidigo // how often to ask; nobody is told this time
		select {
		case <-next.C:
		case <-ctx.Done():
			next.Stop()
		}
	}
}

// look asks for all nodes and publishes what differs from what is shown.
func (w *Watcher) look(ctx context.Context) error {
	told, err := w.source.nodes(ctx)
	if err != nil {
		return err
	}
	news := slices.DeleteFunc(slices.Clone(told.nodes), func(n *marketplacev1.Node) bool {
		return same(w.config.Known(n.GetNodeId()), n)
	})
	now := timestamppb.New(w.config.Domain.Now())
	for part := range slices.Chunk(news, messageSize) {
		if err := w.publish(ctx, part, now); err != nil {
			return fmt.Errorf("%w: %w", ErrNotPublished, err)
		}
	}
	w.mu.Lock()
	before := w.status.Skipped
	w.status.Nodes, w.status.Skipped = len(told.nodes), told.skipped
	w.mu.Unlock()
	if told.skipped > 0 && told.skipped != before {
		w.config.Log.WarnContext(ctx, "nodes left as they were, for what the grid says of them makes no sense", slog.Int("nodes", told.skipped))
	}
	return nil
}

// publish tells some nodes what the grid says of them, in one message.
func (w *Watcher) publish(ctx context.Context, nodes []*marketplacev1.Node, now *timestamppb.Timestamp) error {
	all := &taskv1.Observations{}
	for _, n := range nodes {
		n.ObserveTime = now
		req := &taskv1.ObserveNodeRequest{NodeId: strconv.FormatUint(uint64(n.GetNodeId()), 10), Node: n}
		payload, err := proto.Marshal(req)
		if err != nil {
			return fmt.Errorf("encode node %d: %w", n.GetNodeId(), err)
		}
		all.Observations = append(all.Observations, &taskv1.Observation{Method: observeMethod, Payload: payload})
	}
	payload, err := proto.Marshal(all)
	if err != nil {
		return fmt.Errorf("encode observations: %w", err)
	}
	m := message.NewMessage(rand.Text(), payload)
	m.SetContext(ctx)
	if err := w.config.Publisher.Publish(messages.TopicObservations, m); err != nil {
		return fmt.Errorf("publish observations: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status.Published += uint64(len(nodes))
	return nil
}

// note keeps what became of a look, logs what is new about it, and returns how
// long to wait for the next.
func (w *Watcher) note(ctx context.Context, err error) time.Duration {
	w.mu.Lock()
	before := w.status
	w.status.LastError = err
	if err == nil {
		w.status.Failures, w.status.LastSuccess = 0, w.config.Real.Now()
	} else {
		w.status.Failures++
	}
	w.mu.Unlock()

	was, is := condition(before.LastError), condition(err)
	switch {
	case errors.Is(is, was): // nothing new
	case err == nil:
		w.config.Log.InfoContext(ctx, "the grid is watched again", slog.Int("failures", before.Failures))
	default:
		w.config.Log.WarnContext(ctx, "the grid is not watched", slog.Any("error", err))
	}
	if err == nil {
		return around(w.config.Refresh)
	}
	return around(min(w.config.Retry<<min(before.Failures, 12), w.config.Refresh))
}

// condition is the kind of an error: one of this package's own, or nil.
func condition(err error) error {
	for _, kind := range []error{ErrNoAnswer, ErrNonsense, ErrNotPublished} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return nil
}

// around is d, give or take a tenth, so that not everyone asks at once.
func around(d time.Duration) time.Duration {
	return d - d/10 + mathrand.N(d/5+1) //nolint:gosec // spreads requests, guards nothing
}
