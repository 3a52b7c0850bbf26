package catalogue

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/actors/price"
	"github.com/threefoldtech/cloud-marketplace/messages"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/boltstore"
)

// restless is a store in which every node changes whenever it is loaded: once
// before, and once after. A node counts its changes in its processors; every
// commit makes two, and publishes both.
type restless struct {
	persistence.Store
	t         *testing.T
	versions  map[string]uint64
	published int
}

func (s *restless) Load(ctx context.Context, e persistence.Entity) (persistence.Loaded, error) {
	s.change(e.ID)
	l, err := s.Store.Load(ctx, e)
	s.change(e.ID)
	return l, err
}

func (s *restless) change(id string) {
	version := s.versions[id]
	s.versions[id]++
	c := &persistence.Commit{Entity: persistence.Entity{Kind: nodeKind, ID: id}, Expect: version, ID: fmt.Sprint(id, "/", version)}
	for n := range uint64(2) {
		number, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			s.t.Fatal(err)
		}
		changed := &taskv1.NodeChanged{Node: &marketplacev1.Node{NodeId: uint32(number), Total: &marketplacev1.Resources{Cru: 2*version + n + 1}}}
		payload, err := proto.Marshal(changed)
		if err != nil {
			s.t.Fatal(err)
		}
		c.Events = payload
		c.Out = append(c.Out, persistence.Message{Topic: messages.TopicNodeChanged, Payload: payload})
	}
	s.published += len(c.Out)
	done := make(chan error, 1)
	s.Commit(c, func(err error) { done <- err })
	if err := <-done; err != nil {
		s.t.Fatal(err)
	}
}

// last is a node as of the last change that is stored.
func last(_ string, l persistence.Loaded) (*marketplacev1.Node, error) {
	if len(l.Tail) == 0 {
		return nil, nil
	}
	changed := &taskv1.NodeChanged{}
	err := proto.Unmarshal(l.Tail[len(l.Tail)-1].Events, changed)
	return changed.GetNode(), err
}

// TestLoadAndRun loads nodes that change meanwhile, and then hears of every
// change, those before the load included. What is shown never goes back.
func TestLoadAndRun(t *testing.T) {
	bolt, err := boltstore.Open(filepath.Join(t.TempDir(), "store.db"), boltstore.Options{Gather: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bolt.Close() })
	s := &restless{Store: bolt, t: t, versions: map[string]uint64{}}
	for id := 1; id <= 20; id++ {
		s.change(strconv.Itoa(id))
	}
	before := s.published
	sub := persistence.NewSubscriber(s, persistence.SubscriberConfig{})
	t.Cleanup(func() { _ = sub.Close() })
	changes, err := sub.Subscribe(t.Context(), messages.TopicNodeChanged)
	if err != nil {
		t.Fatal(err)
	}
	c := New(Config{Store: s, Prices: price.Main, Read: last, Log: slog.New(slog.DiscardHandler)})
	s.change("7") // between the subscription and the load
	if err := c.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.Len() != 20 || c.Node(3).GetTotal().GetCru() != 4 || c.Node(7).GetTotal().GetCru() != 6 {
		t.Fatalf("loaded %d nodes, node 3 as %v, node 7 as %v", c.Len(), c.Node(3), c.Node(7))
	}
	in := make(chan *message.Message)
	ended := make(chan struct{})
	go func() { c.Run(in); close(ended) }()
	shown := map[uint32]uint64{}
	for range s.published - before {
		m := <-changes
		in <- m
		<-m.Acked()
		for id := uint32(1); id <= 20; id++ {
			cru := c.Node(id).GetTotal().GetCru()
			if cru < shown[id] {
				t.Fatalf("node %d went back from change %d to %d", id, shown[id], cru)
			}
			shown[id] = cru
		}
	}
	close(in)
	<-ended
	for id, cru := range shown {
		if want := 2 * s.versions[strconv.FormatUint(uint64(id), 10)]; cru != want {
			t.Errorf("node %d is shown as of change %d, of %d", id, cru, want)
		}
	}
}

// TestRunGoesOn after messages that nobody can read.
func TestRunGoesOn(t *testing.T) {
	c := filled()
	payload, err := proto.Marshal(&taskv1.NodeChanged{Node: node(1, nil)})
	if err != nil {
		t.Fatal(err)
	}
	whole := func(version string, payload []byte) *message.Message {
		m := message.NewMessage("", payload)
		m.Metadata.Set(persistence.MetadataVersion, version)
		m.Metadata.Set(persistence.MetadataIndex, "0")
		return m
	}
	all := []*message.Message{whole("", payload), whole("x", payload), whole("1", []byte{0xff}), whole("1", nil), whole("1", payload)}
	in := make(chan *message.Message, len(all))
	for _, m := range all {
		in <- m
	}
	close(in)
	c.Run(in)
	for n, m := range all {
		select {
		case <-m.Acked():
		default:
			t.Errorf("message %d is not acknowledged", n)
		}
	}
	if c.Len() != 1 || c.Node(1) == nil || c.Node(2) != nil {
		t.Errorf("%d nodes are shown", c.Len())
	}
}

// TestLoadLeavesOut shows the other nodes when one cannot be read or is halted,
// and fails when the store does.
func TestLoadLeavesOut(t *testing.T) {
	bolt, err := boltstore.Open(filepath.Join(t.TempDir(), "store.db"), boltstore.Options{Gather: -1})
	if err != nil {
		t.Fatal(err)
	}
	s := &restless{Store: bolt, t: t, versions: map[string]uint64{}}
	for _, id := range []string{"1", "2", "3"} {
		s.change(id)
	}
	if err := bolt.Halt(t.Context(), persistence.Entity{Kind: nodeKind, ID: "2"}, "it went back"); err != nil {
		t.Fatal(err)
	}
	read := func(id string, l persistence.Loaded) (*marketplacev1.Node, error) {
		if id == "3" {
			return nil, persistence.ErrCorrupt
		}
		return last(id, l)
	}
	c := New(Config{Store: bolt, Read: read, Log: slog.New(slog.DiscardHandler)})
	if err := c.Load(t.Context()); err != nil || c.Len() != 1 || c.Node(1) == nil {
		t.Errorf("%d nodes are shown, %v", c.Len(), err)
	}
	if err := bolt.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Load(t.Context()); err == nil {
		t.Error("a store that is closed is loaded")
	}
}
