package inbox

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/threefoldtech/cloud-marketplace/messages"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/boltstore"
)

// bus is a store with what travels over it.
func bus(t *testing.T) (*boltstore.Store, *persistence.Publisher) {
	t.Helper()
	s, err := boltstore.Open(filepath.Join(t.TempDir(), "store.db"), boltstore.Options{Gather: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, persistence.NewPublisher(s)
}

// listen subscribes as one of the inbox's group.
func listen(ctx context.Context, t *testing.T, s persistence.Store) (<-chan *message.Message, func()) {
	t.Helper()
	sub := persistence.NewSubscriber(s, persistence.SubscriberConfig{Group: "inbox", NackDelay: time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	in, err := sub.Subscribe(ctx, messages.TopicObservations)
	if err != nil {
		t.Fatal(err)
	}
	return in, func() { _ = sub.Close() }
}

// TestRedelivery has an actor that is overloaded for a while: its news come
// again until it has taken them, and then those behind them. What cannot be
// decided is poison on the same bus.
func TestRedelivery(t *testing.T) {
	s, pub := bus(t)
	var tries atomic.Int32
	all := make(chan struct{})
	c := &cast{}
	c.decide = func(_, what string) *messages.Error {
		switch {
		case what == "1" && tries.Add(1) < 4:
			return messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_OVERLOADED, "not now")
		case what == "bad":
			return messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_INVALID_FIELD, "no")
		case what == "3":
			close(all)
		}
		return nil
	}
	in, leave := listen(t.Context(), t, s)
	i := &Inbox{Actors: c, Poison: pub, Log: slog.New(slog.DiscardHandler)}
	var run sync.WaitGroup
	run.Go(func() { i.Run(t.Context(), in) })
	for _, m := range []*message.Message{envelope(t, news(t, "7", "1")), envelope(t, news(t, "7", "bad"), news(t, "7", "2")), envelope(t, news(t, "7", "3"))} {
		if err := pub.Publish(messages.TopicObservations, m); err != nil {
			t.Fatal(err)
		}
	}
	<-all
	leave()
	run.Wait()
	if got := c.of("node/7"); !slices.Equal(got, []string{"1", "2", "3"}) || tries.Load() != 4 {
		t.Errorf("node 7 heard %v after %d tries", got, tries.Load())
	}
	poison, err := s.Read(t.Context(), messages.TopicPoison, "", 10)
	if err != nil || len(poison) != 1 || poison[0].Metadata["reason"] != "INVALID_FIELD: no" {
		t.Errorf("poison is %v, %v", poison, err)
	}
}

// TestNothingIsLost ends an inbox while an actor decides. Whatever it had not
// acknowledged is told by the next one.
func TestNothingIsLost(t *testing.T) {
	s, pub := bus(t)
	deciding, goOn := make(chan struct{}), make(chan struct{})
	first := &cast{decide: func(_, what string) *messages.Error {
		if what == "2" {
			close(deciding)
			<-goOn
		}
		return nil
	}}
	for _, what := range []string{"1", "2", "3"} {
		if err := pub.Publish(messages.TopicObservations, envelope(t, news(t, "7", what))); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	in, leave := listen(ctx, t, s)
	var run sync.WaitGroup
	run.Go(func() { (&Inbox{Actors: first, Poison: pub, Log: slog.New(slog.DiscardHandler)}).Run(ctx, in) })
	<-deciding
	cancel()
	close(goOn)
	run.Wait()
	leave()

	all := make(chan struct{})
	second := &cast{decide: func(_, what string) *messages.Error {
		if what == "3" {
			close(all)
		}
		return nil
	}}
	in, leave = listen(t.Context(), t, s)
	run.Go(func() { (&Inbox{Actors: second, Poison: pub, Log: slog.New(slog.DiscardHandler)}).Run(t.Context(), in) })
	<-all
	leave()
	run.Wait()
	if got := second.of("node/7"); len(got) < 2 || !slices.Equal(got[len(got)-2:], []string{"2", "3"}) {
		t.Errorf("the first inbox told %v, the second %v", first.of("node/7"), got)
	}
}

// TestContextEnds does not acknowledge what was decided while everything ends:
// it is told again, which changes nothing.
func TestContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := &cast{decide: func(string, string) *messages.Error {
		cancel()
		return nil
	}}
	if deliver(ctx, inboxOf(c, &grave{}), envelope(t, news(t, "7", "1"))) {
		t.Error("the message is acknowledged")
	}
}

// TestNoGrave tells again what could not be kept as poison.
func TestNoGrave(t *testing.T) {
	g := &grave{full: errors.New("the store is full")}
	refuse := func(_, what string) *messages.Error {
		if what == "bad" {
			return messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_INVALID_FIELD, "no")
		}
		return nil
	}
	for name, m := range map[string]*message.Message{
		"garbage":   message.NewMessage("", []byte("not protobuf")),
		"no method": envelope(t, &taskv1.Observation{Method: "x.Y.Z"}),
		"refused":   envelope(t, news(t, "7", "bad"), news(t, "7", "1")),
	} {
		c := &cast{decide: refuse}
		if deliver(t.Context(), inboxOf(c, g), m) {
			t.Errorf("%s: it is acknowledged", name)
		}
	}
}

// TestPoisonOnce puts aside once what is refused beside what must be tried again.
func TestPoisonOnce(t *testing.T) {
	g, tries := &grave{}, 0
	c := &cast{decide: func(_, what string) *messages.Error {
		if what == "bad" {
			return messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_INVALID_FIELD, "no")
		}
		if tries++; tries < 3 {
			return messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_OVERLOADED, "later")
		}
		return nil
	}}
	in := inboxOf(c, g)
	for !deliver(t.Context(), in, envelope(t, news(t, "7", "bad"), news(t, "8", "1"))) {
	}
	if len(g.holds) != 1 {
		t.Errorf("%d copies were put aside", len(g.holds))
	}
}

// TestNothing puts aside a message without observations.
func TestNothing(t *testing.T) {
	g := &grave{}
	if !deliver(t.Context(), inboxOf(&cast{}, g), message.NewMessage("", nil)) || len(g.holds) != 1 {
		t.Errorf("it is not acknowledged, or not put aside: %d", len(g.holds))
	}
}
