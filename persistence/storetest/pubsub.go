package storetest

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// RunPubSub checks Publisher and Subscriber over a store with Watermill's own
// suite, and what they promise beyond it.
func RunPubSub(t *testing.T, open Open) {
	t.Helper()
	t.Run("watermill", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		pubSub := func(_ *testing.T, group string) (message.Publisher, message.Subscriber) {
			return persistence.NewPublisher(s), persistence.NewSubscriber(s, persistence.SubscriberConfig{
				Group:     group,
				Lease:     2 * time.Second,
				NackDelay: 5 * time.Millisecond, // The suite nacks hundreds of times.
			})
		}
		tests.TestPubSub(t,
			tests.Features{ConsumerGroups: true, GuaranteedOrder: true, Persistent: true},
			func(t *testing.T) (message.Publisher, message.Subscriber) { return pubSub(t, "default") },
			pubSub)
	})
	for _, part := range pubSubParts() {
		t.Run(part.name, func(t *testing.T) {
			t.Parallel()
			part.check(t, open(t))
		})
	}
}
