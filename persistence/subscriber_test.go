package persistence_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/boltstore"
)

// cutOff is a store that some of its users cannot reach any more.
type cutOff struct {
	persistence.Store
	cut atomic.Bool
}

var errNoRoute = errors.New("no route to the store")

func (c *cutOff) Lease(ctx context.Context, name, holder string, ttl time.Duration) (bool, error) {
	if c.cut.Load() {
		return false, errNoRoute
	}
	return c.Store.Lease(ctx, name, holder, ttl)
}

func (c *cutOff) Read(ctx context.Context, topic string, after persistence.Position, n int) ([]persistence.Message, error) {
	if c.cut.Load() {
		return nil, errNoRoute
	}
	return c.Store.Read(ctx, topic, after, n)
}

func (c *cutOff) Advance(ctx context.Context, group, topic string, to persistence.Position) error {
	if c.cut.Load() {
		return errNoRoute
	}
	return c.Store.Advance(ctx, group, topic, to)
}

// openStore opens a store for one test.
func openStore(t *testing.T) *boltstore.Store {
	t.Helper()
	s, err := boltstore.Open(filepath.Join(t.TempDir(), "store.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// subscribe subscribes a group's reader that the test closes.
func subscribe(t *testing.T, s persistence.Store) <-chan *message.Message {
	t.Helper()
	sub := persistence.NewSubscriber(s, persistence.SubscriberConfig{Group: "g", Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { _ = sub.Close() })
	ms, err := sub.Subscribe(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	return ms
}

// receive acks a message after comparing it.
func receive(t *testing.T, ms <-chan *message.Message, want string) *message.Message {
	t.Helper()
	m := <-ms
	if m == nil || string(m.Payload) != want {
		t.Fatalf("message %v, want %s", m, want)
	}
	return m
}

func TestReaderThatIsCutOffStepsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t)
		far := &cutOff{Store: s}
		pub := persistence.NewPublisher(s)
		for _, payload := range []string{"1", "2", "3"} {
			if err := pub.Publish("t", message.NewMessage(payload, []byte(payload))); err != nil {
				t.Fatal(err)
			}
		}
		first := subscribe(t, far)
		receive(t, first, "1").Ack()
		held := receive(t, first, "2")
		second := subscribe(t, s)
		synctest.Wait() // The store knows that 1 was handled.

		begin := time.Now()
		far.cut.Store(true)
		<-held.Context().Done()
		if lasted := time.Since(begin); lasted > 14*time.Second {
			t.Errorf("it read on for %s without its lease", lasted)
		}
		receive(t, second, "2").Ack()
		if lasted := time.Since(begin); lasted > 21*time.Second {
			t.Errorf("nobody read for %s", lasted)
		}
		receive(t, second, "3").Ack()
		select {
		case m := <-first:
			t.Errorf("both readers deliver: %s", m.Payload)
		case <-time.NewTimer(time.Minute).C:
		}

		// It comes back and waits for its turn.
		far.cut.Store(false)
		if err := pub.Publish("t", message.NewMessage("4", []byte("4"))); err != nil {
			t.Fatal(err)
		}
		receive(t, second, "4").Ack()
	})
}

func TestStoreThatDoesNotAnswerIsAskedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t)
		far := &cutOff{Store: s}
		far.cut.Store(true)
		ms := subscribe(t, far)
		if err := persistence.NewPublisher(s).Publish("t", message.NewMessage("1", []byte("1"))); err != nil {
			t.Fatal(err)
		}
		<-time.NewTimer(time.Minute).C
		far.cut.Store(false)
		receive(t, ms, "1").Ack()
	})
}

func TestNackDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t)
		ms := subscribe(t, s)
		if err := persistence.NewPublisher(s).Publish("t", message.NewMessage("1", []byte("1"))); err != nil {
			t.Fatal(err)
		}
		m := receive(t, ms, "1")
		begin := time.Now()
		m.Nack()
		receive(t, ms, "1").Ack()
		if waited := time.Since(begin); waited != 100*time.Millisecond {
			t.Errorf("it came again after %s", waited)
		}
	})
}
