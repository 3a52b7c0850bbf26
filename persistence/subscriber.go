package persistence

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
)

// ErrSubscriberClosed says that the subscriber was closed.
var ErrSubscriberClosed = errors.New("the subscriber is closed")

// Subscriber is Watermill's subscriber over a store.
//
// # Groups
//
// Of all subscribers of a group, in all processes, one at a time reads a topic;
// the others wait to take its place. So the group sees a topic in its order,
// one message after another, each at least once. A nacked message comes again
// after a while and holds up those behind it.
//
// # Fan-out
//
// Without a group every subscription sees everything published after Subscribe
// returned, or with SubscribeFrom everything after a position. Nothing waits for
// such a reader: when messages that it had not read were trimmed, the next one
// says so; see MetadataGap.
//
// # Failure
//
// A store that does not answer is asked again; only a closed one ends a
// subscription. A reader that dies is replaced when its lease has run out, and
// what it had not yet reported as handled is then delivered again.
type Subscriber struct {
	store  Store
	config SubscriberConfig

	mu     sync.Mutex
	closed bool
	open   map[*subscription]struct{}
	wait   sync.WaitGroup
}

var _ message.Subscriber = (*Subscriber)(nil)

// SubscriberConfig says how a Subscriber reads.
type SubscriberConfig struct {
	// Group is the consumer group; empty means fan-out.
	Group string
	// Lease is how long a reader that died keeps others from its place; 0 means 10 s.
	Lease time.Duration
	// NackDelay is how long a nacked message waits for its next turn; 0 means 100 ms.
	NackDelay time.Duration
	// Batch is how many messages are read at once; 0 means 128.
	Batch int
	// Log gets what went wrong in the background; nil means slog.Default.
	Log *slog.Logger
	// Clock tells whether the own lease still holds; nil means clock.Real.
	Clock clock.Clock
}

// withDefaults replaces zero values by what their comments promise.
func (c SubscriberConfig) withDefaults() SubscriberConfig {
	if c.Lease <= 0 {
		c.Lease = 10 * time.Second
	}
	if c.NackDelay <= 0 {
		c.NackDelay = 100 * time.Millisecond
	}
	if c.Batch <= 0 {
		c.Batch = 128
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Clock == nil {
		c.Clock = clock.Real{}
	}
	return c
}

// NewSubscriber returns a subscriber. The store stays the caller's to close,
// after the subscriber.
func NewSubscriber(store Store, config SubscriberConfig) *Subscriber {
	return &Subscriber{
		store:  store,
		config: config.withDefaults(),
		open:   make(map[*subscription]struct{}),
	}
}

// Subscribe returns the messages of a topic. The channel is closed when ctx
// ends, the subscriber is closed or the store is.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if s.config.Group != "" {
		return s.start(ctx, s.config.Group, topic, "")
	}
	// The end is resolved before we return, so that nothing published after is missed.
	end, err := s.store.End(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	return s.start(ctx, "", topic, end)
}

// SubscribeFrom returns the messages of a topic after a position, for this
// subscription alone, whatever the group. A read model resolves the position
// with Store.End, then loads, and then applies from that position.
func (s *Subscriber) SubscribeFrom(ctx context.Context, topic string, after Position) (<-chan *message.Message, error) {
	return s.start(ctx, "", topic, after)
}

// start runs a subscription until it ends by itself, by ctx or by Close.
func (s *Subscriber) start(ctx context.Context, group, topic string, after Position) (<-chan *message.Message, error) {
	if err := ValidateName(topic); err != nil {
		return nil, fmt.Errorf("subscribe to %q: %w", topic, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	n := &subscription{
		store:  s.store,
		config: s.config,
		group:  group,
		topic:  topic,
		holder: rand.Text(),
		out:    make(chan *message.Message),
		cancel: cancel,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		cancel()
		return nil, fmt.Errorf("subscribe to %s: %w", topic, ErrSubscriberClosed)
	}
	s.open[n] = struct{}{}
	s.wait.Go(func() {
		defer s.forget(n)
		n.run(ctx, after)
	})
	return n.out, nil
}

// forget drops a subscription that has ended.
func (s *Subscriber) forget(n *subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, n)
}

// Close ends all subscriptions, tells the store how far they have come and
// waits for that. It may be called more than once.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	s.closed = true
	for n := range s.open {
		n.cancel()
	}
	s.mu.Unlock()
	s.wait.Wait()
	return nil
}
