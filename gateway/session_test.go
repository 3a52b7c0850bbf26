package gateway

import (
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// TestPipelining keeps as many requests open as the limit says and answers all
// that it took; an id that is open is not taken twice.
func TestPipelining(t *testing.T) {
	s := serve(t, nil)
	s.cast.answer = nil
	p := s.dial("ann")
	for i := range 64 {
		p.ask(i, "cloud-user/get-account", "{}")
	}
	eventually(t, "all are open", func() bool { return s.cast.waiting() == 64 })
	p.ask(64, "cloud-user/get-account", "{}")
	if f := p.hear(); *f.ID != 64 || f.reason() != "RATE_LIMITED" {
		t.Errorf("beyond the limit: %+v", f)
	}
	s.cast.mu.Lock()
	first := s.cast.kept[0]
	s.cast.kept = s.cast.kept[1:]
	s.cast.mu.Unlock()
	first.done(account(first.req, 1))
	if f := p.hear(); *f.ID != 0 || f.Error != nil {
		t.Errorf("the first: %+v", f)
	}
	p.ask(7, "session/get", "{}")
	if f := p.hear(); *f.ID != 7 || f.reason() != "MALFORMED_REQUEST" {
		t.Errorf("an id that is open: %+v", f)
	}
	p.ask(0, "session/get", "{}") // free again
	if f := p.hear(); *f.ID != 0 || f.Error != nil {
		t.Errorf("an id that was answered: %+v", f)
	}
	s.cast.release(func(req *clusterv1.Request) *clusterv1.Response { return account(req, 1) })
	for i := 1; i < 64; i++ {
		if f := p.hear(); *f.ID != i || f.Error != nil {
			t.Fatalf("answer %d: %+v", i, f)
		}
	}
}

// retryAfter is what a refusal says of coming back.
func retryAfter(t *testing.T, f said) time.Duration {
	t.Helper()
	st := &status.Status{}
	if err := protojson.Unmarshal(f.Error.Data, st); err != nil {
		t.Fatal(err)
	}
	return messages.FromStatus(st).Retry
}

// TestRate refuses what comes too fast, says when to come back, and loses its
// patience in the end. Frames that are no method cost as much.
func TestRate(t *testing.T) {
	s := serve(t, func(c *Config) { c.Limits.Rate, c.Limits.Burst = 10, 20 })
	p := s.dial("ann")
	for i := range 20 {
		if i%2 == 0 {
			p.send(`{"jsonrpc":"2.0","id":-1,"method":"x"}`)
			if f := p.hear(); f.Error == nil || f.Error.Code != codeInvalid {
				t.Fatalf("%+v", f)
			}
			continue
		}
		p.ask(i, "session/get", "{}")
		if f := p.hear(); f.Error != nil {
			t.Fatalf("request %d: %+v", i, f)
		}
	}
	p.ask(20, "session/get", "{}")
	if f := p.hear(); f.reason() != "RATE_LIMITED" || retryAfter(t, f) != 100*time.Millisecond {
		t.Errorf("too fast: %+v", f)
	}
	s.clock.Advance(100 * time.Millisecond)
	p.ask(21, "session/get", "{}")
	if f := p.hear(); f.Error != nil {
		t.Errorf("after the pause: %+v", f)
	}
	for i := range patience {
		p.ask(100+i, "session/get", "{}")
		if i < patience-1 {
			if f := p.hear(); f.reason() != "RATE_LIMITED" {
				t.Fatalf("%+v", f)
			}
		}
	}
	if code := p.closed(); code != CodeTooMany {
		t.Errorf("closed with %d, not %d", code, CodeTooMany)
	}
}

// TestFloodEnds loses patience also when some of what comes is taken.
func TestFloodEnds(t *testing.T) {
	s := serve(t, func(c *Config) { c.Limits.Rate, c.Limits.Burst = 10, 10 })
	p := s.dial("ann")
	for i := range 10 * patience {
		if i%10 == 0 {
			s.clock.Advance(100 * time.Millisecond)
		}
		p.ask(i, "session/get", "{}")
		if _, err := p.next(); err != nil {
			if code := Code(websocket.CloseStatus(err)); code != CodeTooMany {
				t.Errorf("closed with %d, not %d", code, CodeTooMany)
			}
			return
		}
	}
	t.Error("a flood was never ended")
}

// TestGuessingIsSlow charges for what does not exist, also those who have
// nothing left.
func TestGuessingIsSlow(t *testing.T) {
	s := serve(t, func(c *Config) { c.Limits.Rate, c.Limits.Burst = 100, 100 })
	s.cast.answer = func(*clusterv1.Request) *clusterv1.Response {
		return &clusterv1.Response{Error: messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_DEPLOYMENT_NOT_FOUND, "no").Status()}
	}
	p := s.dial("ann")
	guesses := 0
	for i := range 1000 { // ten seconds
		p.ask(i, "cloud-user/deployment-detail", `{"deploymentId":"x"}`)
		if f := p.hear(); f.reason() == "DEPLOYMENT_NOT_FOUND" {
			guesses++
		}
		s.clock.Advance(10 * time.Millisecond)
	}
	if guesses > 120 {
		t.Errorf("%d guesses in ten seconds", guesses)
	}
}

// TestPing pings who is silent, and drops who does not answer; who answers stays.
func TestPing(t *testing.T) {
	s := serve(t, nil)
	alive, dead := s.dial("ann"), s.dial("bob")
	closed := make(chan Code, 1)
	go func() { closed <- alive.closed() }() // reads, and so answers pings
	eventually(t, "both are in", func() bool { return s.gateway.Stats().Sessions == 2 })
	s.clock.Advance(26 * time.Second)
	pinged := func() int {
		n := 0
		for _, one := range s.gateway.registry.all() {
			if one.pingMS.Load() != 0 {
				n++
			}
		}
		return n
	}
	eventually(t, "one has answered its ping", func() bool { return pinged() == 1 })
	s.clock.Advance(11 * time.Second)
	eventually(t, "one is gone", func() bool { return s.gateway.Stats().Sessions == 1 })
	if code := dead.closed(); code != CodeNoPong {
		t.Errorf("closed with %d, not %d", code, CodeNoPong)
	}
	select {
	case code := <-closed:
		t.Errorf("the one that answers is closed with %d", code)
	default:
	}
}

// TestTokenEnds tells ahead of the token's end, lets a newer token prolong the
// session with all its subscriptions, and closes after the grace.
func TestTokenEnds(t *testing.T) {
	s := serve(t, nil)
	p := s.dial("ann 100")
	p.ask(1, "cloud-user/watch-account", "{}")
	p.hear()
	s.clock.Advance(41 * time.Second)
	if f := p.hear(); f.Method != "session/expiring" {
		t.Fatalf("%+v", f)
	}
	p.ask(2, "session/refresh", `{"accessToken":"bob 100"}`)
	if f := p.hear(); f.reason() != "TOKEN_INVALID" {
		t.Errorf("another's token: %+v", f)
	}
	p.ask(3, "session/refresh", `{"accessToken":"ann 100"}`)
	if f := p.hear(); f.Error != nil {
		t.Errorf("a newer token: %+v", f)
	}
	p.ask(5, "session/refresh", `{"accessToken":"ann 99"}`)
	if f := p.hear(); f.reason() != "INVALID_FIELD" {
		t.Errorf("an older token: %+v", f)
	}
	s.clock.Advance(89 * time.Second) // past the first token's end and grace, 11 s before the second's end
	if f := p.hear(); f.Method != "session/expiring" {
		t.Fatalf("%+v", f)
	}
	s.push("ann", frame(2, 1))
	if f := p.hear(); f.Params.Position != "e.2" || f.Params.Previous != "e.1" {
		t.Errorf("the subscription did not outlive the token: %+v", f)
	}
	s.clock.Advance(35 * time.Second) // 24 s past the end
	p.ask(4, "cloud-user/get-account", "{}")
	if f := p.hear(); f.Error != nil || *f.ID != 4 {
		t.Errorf("within the grace: %+v", f)
	}
	s.clock.Advance(2 * time.Second)
	if code := p.closed(); code != CodeExpired {
		t.Errorf("closed with %d, not %d", code, CodeExpired)
	}
	if code := s.dial("bad").closed(); code != CodeExpired {
		t.Errorf("a bad token is closed with %d", code)
	}
	if f := s.dial("ann -26").hear(); f.reason() != "TOKEN_EXPIRED" {
		t.Errorf("a token beyond its grace: %+v", f)
	}
}

// TestFloodWaits does not read on while the worker has too much to do.
func TestFloodWaits(t *testing.T) {
	s := &Session{gateway: New(Config{}), working: true} // a worker that never comes
	s.work = s.run
	for range inboxLimit {
		s.pushFrame(new([]byte))
	}
	pushed := make(chan struct{})
	go func() {
		s.pushFrame(new([]byte))
		close(pushed)
	}()
	eventually(t, "the reader waits", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.room != nil
	})
	s.mu.Lock()
	n := len(s.inbox)
	s.inbox = nil
	s.room.Signal()
	s.mu.Unlock()
	<-pushed
	if n != inboxLimit {
		t.Errorf("%d frames waited, not %d", n, inboxLimit)
	}
}

// TestPingsAreSpread gives each session a patience of its own.
func TestPingsAreSpread(t *testing.T) {
	s := serve(t, nil)
	for range 20 {
		s.dial("ann")
	}
	eventually(t, "all are in", func() bool { return s.gateway.Stats().Sessions == 20 })
	seen := map[int64]bool{}
	for _, one := range s.gateway.registry.all() {
		if one.patient > 25_000 || one.patient < 18_750 {
			t.Errorf("pinged after %d ms", one.patient)
		}
		seen[one.patient] = true
	}
	if len(seen) < 10 {
		t.Errorf("only %d different times", len(seen))
	}
}
