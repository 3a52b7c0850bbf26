package catalogue

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/threefoldtech/cloud-marketplace/messages"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/boltstore"
)

// away is a store whose entities cannot be listed for a while.
type away struct {
	persistence.Store
	times atomic.Int32
}

func (s *away) Entities(ctx context.Context, kind, cursor string, n int) ([]persistence.Ref, string, error) {
	if s.times.Add(-1) >= 0 {
		return nil, "", errors.New("the store is away")
	}
	return s.Store.Entities(ctx, kind, cursor, n)
}

// TestFallsBehind has a catalogue that reads nothing while every node changes
// and what they said is trimmed. In the end it shows what is stored, also when
// the store does not answer at once.
func TestFallsBehind(t *testing.T) {
	bolt, err := boltstore.Open(filepath.Join(t.TempDir(), "store.db"), boltstore.Options{Gather: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bolt.Close() })
	nodes := &restless{Store: bolt, t: t, versions: map[string]uint64{}}
	sub := persistence.NewSubscriber(bolt, persistence.SubscriberConfig{Batch: 1})
	changes, err := sub.Subscribe(t.Context(), messages.TopicNodeChanged)
	if err != nil {
		t.Fatal(err)
	}
	for id := 1; id <= 20; id++ {
		nodes.change(strconv.Itoa(id))
	}
	nodes.change("20") // the one who says something that is not trimmed
	end, err := bolt.End(t.Context(), messages.TopicNodeChanged)
	if err != nil {
		t.Fatal(err)
	}
	number, err := end.Number()
	if err != nil {
		t.Fatal(err)
	}
	if err := bolt.Advance(t.Context(), "somebody", messages.TopicNodeChanged, persistence.FormatPosition(number-1)); err != nil {
		t.Fatal(err)
	}
	if dropped, err := bolt.Trim(t.Context(), messages.TopicNodeChanged, end); err != nil || dropped != int(number-1) {
		t.Fatalf("%d messages of %d were trimmed, %v", dropped, number, err)
	}

	s := &away{Store: bolt}
	s.times.Store(2)
	c := New(Config{Store: s, Read: last})
	in, ended := make(chan *message.Message), make(chan struct{})
	go func() { c.Run(in); close(ended) }()
	for at := ""; at != string(end); {
		m := <-changes
		in <- m
		select {
		case <-m.Acked():
			at = m.Metadata.Get(persistence.MetadataPosition)
		case <-m.Nacked():
		}
	}
	close(in)
	<-ended
	_ = sub.Close()
	for id := uint32(1); id <= 20; id++ {
		if got, want := c.Node(id).GetTotal().GetCru(), 2*nodes.versions[strconv.Itoa(int(id))]; got != want {
			t.Errorf("node %d is shown as of change %d, of %d", id, got, want)
		}
	}
	if s.times.Load() >= 0 {
		t.Error("the store was never away")
	}
}
