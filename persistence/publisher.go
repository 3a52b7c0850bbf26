package persistence

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"
)

// ErrPublisherClosed says that the publisher was closed. Nothing was published.
var ErrPublisherClosed = errors.New("the publisher is closed")

// Publisher is Watermill's publisher over a store, for what no entity commits.
//
// Messages published by one call become durable together, in their order, and
// are durable when Publish returns.
type Publisher struct {
	store  Store
	closed atomic.Bool
}

var _ message.Publisher = (*Publisher)(nil)

// NewPublisher returns a publisher. The store stays the caller's to close.
func NewPublisher(store Store) *Publisher { return &Publisher{store: store} }

// Publish appends messages to a topic. The context of the first message bounds
// the wait; if it ends, the outcome is not known.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	if p.closed.Load() {
		return fmt.Errorf("publish to %s: %w", topic, ErrPublisherClosed)
	}
	if len(messages) == 0 {
		return nil
	}
	ms := make([]Message, len(messages))
	for i, m := range messages {
		ms[i] = Message{Topic: topic, UUID: m.UUID, Metadata: m.Metadata, Payload: m.Payload}
	}
	if err := p.store.Append(messages[0].Context(), ms); err != nil {
		return fmt.Errorf("publish to %s: %w", topic, err)
	}
	return nil
}

// Close makes later calls of Publish fail. It may be called more than once.
func (p *Publisher) Close() error {
	p.closed.Store(true)
	return nil
}
