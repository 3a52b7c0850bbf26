package boltstore

import (
	"sync"

	"go.etcd.io/bbolt"
)

// news wakes those who wait for a topic.
type news struct {
	mu      sync.Mutex
	waiting map[string]chan struct{}
}

// newNews returns news that nobody waits for.
func newNews() *news { return &news{waiting: make(map[string]chan struct{})} }

// of returns a channel that is closed when something is published to a topic.
func (n *news) of(topic string) <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.waiting[topic]
	if c == nil {
		c = make(chan struct{})
		n.waiting[topic] = c
	}
	return c
}

// publish wakes those who wait for one of the topics.
func (n *news) publish(topics map[string]*bbolt.Bucket) {
	if len(topics) == 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for topic := range topics {
		if c := n.waiting[topic]; c != nil {
			close(c)
			delete(n.waiting, topic)
		}
	}
}
