package inbox

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

const (
	observe   = "marketplace.task.v1.NodeTaskService.ObserveNode"
	recheck   = "marketplace.task.v1.DeploymentTaskService.RecheckCredit"
	forPeople = "marketplace.v1.UserOperatorService.GrantCredit"
)

// cast is actors that note what they are told; decide says what they answer.
type cast struct {
	decide func(actor, farm string) *messages.Error

	mu    sync.Mutex
	heard []string // actor and what it heard, in order
}

func (c *cast) Call(req *clusterv1.Request, _ time.Duration, done func(*clusterv1.Response)) {
	go func() {
		body := messages.ByName(req.GetMethod()).Request()
		if err := proto.Unmarshal(req.GetPayload(), body); err != nil || req.GetSubject() != subject {
			done(&clusterv1.Response{Error: messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_INTERNAL, "%v by %s", err, req.GetSubject()).Status()})
			return
		}
		what := ""
		if o, ok := body.(*taskv1.ObserveNodeRequest); ok {
			what = o.GetNode().GetFarmName()
		}
		if c.decide != nil {
			if refusal := c.decide(req.GetKind()+"/"+req.GetId(), what); refusal != nil {
				done(&clusterv1.Response{Error: refusal.Status()})
				return
			}
		}
		c.mu.Lock()
		c.heard = append(c.heard, req.GetKind()+"/"+req.GetId()+" "+what)
		c.mu.Unlock()
		done(&clusterv1.Response{})
	}()
}

// of is what one actor heard, in order.
func (c *cast) of(actor string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for _, h := range c.heard {
		if len(h) > len(actor) && h[:len(actor)+1] == actor+" " {
			all = append(all, h[len(actor)+1:])
		}
	}
	return all
}

// grave keeps what is poison; it may be full.
type grave struct {
	full  error
	mu    sync.Mutex
	holds []*message.Message
}

func (g *grave) Publish(topic string, ms ...*message.Message) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.full != nil {
		return g.full
	}
	if topic != messages.TopicPoison {
		return fmt.Errorf("poison went to %s", topic)
	}
	g.holds = append(g.holds, ms...)
	return nil
}

func (*grave) Close() error { return nil }

func inboxOf(c *cast, g *grave) *Inbox {
	return &Inbox{Actors: c, Poison: g, Log: slog.New(slog.DiscardHandler)}
}

// news is an observation of node id, told apart by what.
func news(t *testing.T, id, what string) *taskv1.Observation {
	t.Helper()
	return observation(t, observe, &taskv1.ObserveNodeRequest{NodeId: id, Node: &marketplacev1.Node{FarmName: what}})
}

func observation(t *testing.T, method string, req proto.Message) *taskv1.Observation {
	t.Helper()
	payload, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	return &taskv1.Observation{Method: method, Payload: payload}
}

func envelope(t *testing.T, all ...*taskv1.Observation) *message.Message {
	t.Helper()
	payload, err := proto.Marshal(&taskv1.Observations{Observations: all})
	if err != nil {
		t.Fatal(err)
	}
	return message.NewMessage("", payload)
}

// deliver runs an inbox over one message and says whether it was acknowledged.
func deliver(ctx context.Context, i *Inbox, m *message.Message) bool {
	in := make(chan *message.Message, 1)
	in <- m
	close(in)
	i.Run(ctx, in)
	select {
	case <-m.Acked():
		return true
	case <-m.Nacked():
		return false
	}
}

// TestOrder has two actors that wait for each other in the middle of their
// news: each hears its own in order, and neither waits for all of the other's.
func TestOrder(t *testing.T) {
	var meet sync.WaitGroup
	meet.Add(2)
	c := &cast{decide: func(_, what string) *messages.Error {
		if what == "2" {
			meet.Done()
			meet.Wait()
		}
		return nil
	}}
	m := envelope(t, news(t, "7", "1"), news(t, "8", "1"), news(t, "7", "2"), news(t, "7", "3"), news(t, "8", "2"), observation(t, recheck, &taskv1.RecheckCreditRequest{DeploymentId: "web"}), news(t, "7", "4"))
	if !deliver(t.Context(), inboxOf(c, &grave{}), m) {
		t.Fatal("the message is not acknowledged")
	}
	if got := c.of("node/7"); !slices.Equal(got, []string{"1", "2", "3", "4"}) {
		t.Errorf("node 7 heard %v", got)
	}
	if got := c.of("node/8"); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("node 8 heard %v", got)
	}
	if got := c.of("deployment/web"); len(got) != 1 {
		t.Errorf("the deployment heard %v", got)
	}
}

// TestLaterNewsWait for an actor that cannot be reached: what follows is not
// told before what came first.
func TestLaterNewsWait(t *testing.T) {
	for _, reason := range []marketplacev1.ErrorReason{
		marketplacev1.ErrorReason_ERROR_REASON_OVERLOADED, marketplacev1.ErrorReason_ERROR_REASON_ACTOR_TIMEOUT, marketplacev1.ErrorReason_ERROR_REASON_ACTOR_UNAVAILABLE,
	} {
		g := &grave{}
		c := &cast{decide: func(_, what string) *messages.Error {
			if what == "2" {
				return messages.Refuse(reason, "not now")
			}
			return nil
		}}
		if deliver(t.Context(), inboxOf(c, g), envelope(t, news(t, "7", "1"), news(t, "7", "2"), news(t, "7", "3"), news(t, "8", "3"))) {
			t.Errorf("%v: the message is acknowledged", reason)
		}
		if got := c.of("node/7"); !slices.Equal(got, []string{"1"}) || len(c.of("node/8")) != 1 || len(g.holds) > 0 {
			t.Errorf("%v: node 7 heard %v, node 8 %v, %d are poison", reason, got, c.of("node/8"), len(g.holds))
		}
	}
}

// TestPoison keeps what nobody can decide, with its reason, and tells the rest.
func TestPoison(t *testing.T) {
	refuse := func(_, what string) *messages.Error {
		if what == "bad" {
			return messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_INVALID_FIELD, "node 8 was told to node 7")
		}
		return nil
	}
	for name, p := range map[string]struct {
		bad    *taskv1.Observation
		reason string
	}{
		"refused":        {news(t, "7", "bad"), "INVALID_FIELD: node 8 was told to node 7"},
		"no method":      {&taskv1.Observation{Method: "x.Y.Z"}, `no internal method "x.Y.Z"`},
		"nothing":        {&taskv1.Observation{}, `no internal method ""`},
		"for people":     {observation(t, forPeople, &marketplacev1.GrantCreditRequest{UserId: "eve", Amount: 1}), `no internal method "` + forPeople + `"`},
		"no possible id": {news(t, "$7", "x"), "INVALID_FIELD: nodeId: must be an id of 1 to 128 visible characters, without \"/\" and \"$\""},
	} {
		c, g := &cast{decide: refuse}, &grave{}
		if !deliver(t.Context(), inboxOf(c, g), envelope(t, news(t, "7", "1"), p.bad, news(t, "7", "2"))) || !slices.Equal(c.of("node/7"), []string{"1", "2"}) {
			t.Errorf("%s: it is not acknowledged, or node 7 heard %v", name, c.of("node/7"))
		}
		if len(g.holds) != 1 || g.holds[0].Metadata.Get("reason") != p.reason {
			t.Fatalf("%s: poison is %v", name, g.holds)
		}
		kept := &taskv1.Observations{}
		if err := proto.Unmarshal(g.holds[0].Payload, kept); err != nil || len(kept.GetObservations()) != 1 || !proto.Equal(kept.GetObservations()[0], p.bad) {
			t.Errorf("%s: what is kept is %v, %v", name, kept, err)
		}
	}
}

// TestGarbage is poison as it is.
func TestGarbage(t *testing.T) {
	g := &grave{}
	if !deliver(t.Context(), inboxOf(&cast{}, g), message.NewMessage("", []byte("not protobuf"))) {
		t.Error("garbage is not acknowledged")
	}
	if len(g.holds) != 1 || string(g.holds[0].Payload) != "not protobuf" || g.holds[0].Metadata.Get("reason") == "" {
		t.Errorf("poison is %v", g.holds)
	}
	bad := &taskv1.Observation{Method: observe, Payload: []byte{0xff}}
	if !deliver(t.Context(), inboxOf(&cast{}, g), envelope(t, bad)) || len(g.holds) != 2 {
		t.Errorf("a request that is none: poison is %v", g.holds)
	}
}
