package gateway

import (
	"context"
	"testing"
	"time"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

const cancelOne = `{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":1}}`

// TestSubscribeTwice refuses the second question for the same stream, also when
// the first has no answer yet.
func TestSubscribeTwice(t *testing.T) {
	s := serve(t, func(c *Config) { c.Limits.Subscriptions = 2 })
	a := (&actor{}).on(s)
	p := s.dial("ann")
	a.join(p, 1, "")
	p.ask(2, "cloud-user/watch-account", "{}")
	if f := p.hear(); *f.ID != 2 || f.reason() != "WRONG_STATE" {
		t.Errorf("the second question: %+v", f)
	}
	a.answer()
	p.follow("", "e.1")
	p.ask(3, "cloud-user/watch-account", "{}")
	if f := p.hear(); *f.ID != 3 || f.reason() != "WRONG_STATE" {
		t.Errorf("the third question: %+v", f)
	}
	a.commit(true)
	if f := p.hear(); f.Params.Position != "e.2" {
		t.Errorf("pushed %+v", f)
	}
	p.ask(4, "session/get", "{}")
	if f := p.hear(); f.ID == nil || *f.ID != 4 {
		t.Errorf("a push came twice: %+v", f)
	}
}

// TestCancelBeforeTheAnswer answers a subscription that was cancelled while it
// was being asked for, and pushes nothing on it.
func TestCancelBeforeTheAnswer(t *testing.T) {
	s := serve(t, nil)
	a := (&actor{}).on(s)
	p, other := s.dial("ann"), s.dial("ann")
	a.join(other, 1, "")
	a.join(p, 1, "")
	p.send(cancelOne)
	p.ask(2, "session/get", "{}")
	if f := p.hear(); *f.ID != 2 {
		t.Fatalf("%+v", f)
	}
	a.answer()
	if f := p.hear(); f.ID == nil || *f.ID != 1 || f.Error != nil {
		t.Errorf("the subscription is answered with %+v", f)
	}
	if f := p.hear(); f.Params.Position != "e.1" { // the view that belongs to the answer
		t.Errorf("%+v", f)
	}
	a.commit(true)
	other.follow("", "e.2")
	p.ask(1, "session/get", "{}")
	if f := p.hear(); f.ID == nil || *f.ID != 1 {
		t.Errorf("pushed what was cancelled: %+v", f)
	}
	other.send(cancelOne)
	eventually(t, "nobody holds the stream", func() bool { return s.gateway.Stats().Hub.Topics == 0 })
}

// TestGoneBeforeTheAnswer forgets a session that ended while it was asking.
func TestGoneBeforeTheAnswer(t *testing.T) {
	s := serve(t, nil)
	a := (&actor{}).on(s)
	stays, goes := s.dial("ann"), s.dial("ann")
	a.join(stays, 1, "")
	a.answer()
	stays.follow("", "e.1")
	a.join(goes, 1, "")
	_ = goes.ws.CloseNow()
	eventually(t, "the session has ended", func() bool { return s.gateway.Stats().Sessions == 1 })
	a.answer()
	frames := s.gateway.Stats().Hub.Frames
	a.commit(true)
	eventually(t, "the push is out", func() bool { return s.gateway.Stats().Hub.Frames > frames })
	if n := s.gateway.Stats().Hub.Frames - frames; n != 1 {
		t.Errorf("the push was written to %d sessions, one of them gone", n)
	}
}

// TestEndOfStream tells everyone that a stream is over, and lets them ask anew.
func TestEndOfStream(t *testing.T) {
	s := serve(t, nil)
	a := (&actor{}).on(s)
	p := s.dial("ann")
	a.join(p, 1, "")
	a.answer()
	p.hear()
	p.hear()
	s.push("ann", nil) // asks again
	eventually(t, "the hub asks", func() bool { return s.cast.waiting() == 1 })
	s.cast.release(func(*clusterv1.Request) *clusterv1.Response {
		return &clusterv1.Response{Error: messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_ACCOUNT_NOT_FOUND, "gone").Status()}
	})
	if f := p.hear(); !f.Params.End || f.Params.Subscription != "user/ann" {
		t.Fatalf("%+v", f)
	}
	if n := s.gateway.Stats().Hub.Topics; n != 0 {
		t.Errorf("%d topics are left", n)
	}
	a.join(p, 1, "")
	a.answer()
	p.follow("", "e.1")
}

// TestRefusedSubscription leaves nothing of a stream that the actor refused.
func TestRefusedSubscription(t *testing.T) {
	s := serve(t, nil)
	s.cast.answer = func(*clusterv1.Request) *clusterv1.Response {
		return &clusterv1.Response{Error: messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_DEPLOYMENT_NOT_FOUND, "no").Status()}
	}
	p := s.dial("ann")
	for range 3 {
		p.ask(1, "cloud-user/watch-deployment", `{"deploymentId":"a\"b"}`)
		if f := p.hear(); f.reason() != "DEPLOYMENT_NOT_FOUND" {
			t.Fatalf("%+v", f)
		}
	}
	if n := s.gateway.Stats().Hub.Topics; n != 0 {
		t.Errorf("%d topics are left", n)
	}
	s.cast.answer = func(*clusterv1.Request) *clusterv1.Response {
		return watching(&clusterv1.Watching{Recovered: true, Version: 1, Epoch: "e"})
	}
	p.ask(1, "cloud-user/watch-deployment", `{"deploymentId":"a\"b"}`)
	if f := p.hear(); f.Error != nil || f.Result["subscription"] != `deployment/a"b` {
		t.Errorf("%+v", f)
	}
}

// TestDrain tells everyone when to come back, answers what is open, closes, and
// takes nobody new.
func TestDrain(t *testing.T) {
	s := serve(t, nil)
	s.cast.answer = nil
	p, idle := s.dial("ann"), s.dial("bob")
	p.ask(1, "cloud-user/get-account", "{}")
	eventually(t, "a request is open, and both are in", func() bool { return s.cast.waiting() == 1 && s.gateway.Stats().Sessions == 2 })
	drained := make(chan struct{})
	go func() {
		s.gateway.Drain(context.WithoutCancel(t.Context()), 10*time.Second)
		close(drained)
	}()
	for _, one := range []*peer{p, idle} {
		if f := one.hear(); f.Method != "session/draining" || f.Params.ReconnectMs < 0 || f.Params.ReconnectMs > 5000 {
			t.Fatalf("%+v", f)
		}
	}
	if got := s.status("GET", "/ws", "localhost", ""); got != 503 {
		t.Errorf("a new connection while draining: status %d", got)
	}
	if code := idle.closed(); code != CodeDraining {
		t.Errorf("closed with %d, not %d", code, CodeDraining)
	}
	s.cast.release(func(req *clusterv1.Request) *clusterv1.Response { return account(req, 1) })
	if f := p.hear(); f.ID == nil || *f.ID != 1 || f.Error != nil {
		t.Errorf("what was open is answered with %+v", f)
	}
	if code := p.closed(); code != CodeDraining {
		t.Errorf("closed with %d, not %d", code, CodeDraining)
	}
	<-drained
}
