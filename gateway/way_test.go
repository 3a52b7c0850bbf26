package gateway

import (
	"strconv"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// history is an actor that says much, and tells what was missed in parts.
type history struct {
	s      *server
	mu     sync.Mutex
	frames []*clusterv1.Frame
	parts  int // how often it was asked
}

const (
	notifications = "cloud-user/watch-notifications"
	perPart       = 40
)

func tellHistory(s *server, n int) *history {
	h := &history{s: s}
	for range n {
		h.say()
	}
	s.cast.mu.Lock()
	defer s.cast.mu.Unlock()
	s.cast.answer = h.answer
	return h
}

// say adds a KiB to what was said, and says it.
func (h *history) say() {
	h.mu.Lock()
	defer h.mu.Unlock()
	v := uint64(len(h.frames) + 1)
	b, err := proto.Marshal(&marketplacev1.WatchNotificationsResponse{Notifications: []*marketplacev1.Notification{{NotificationId: strconv.Itoa(len(h.frames)), Text: strings.Repeat("x", 1024)}}})
	if err != nil {
		panic(err)
	}
	h.frames = append(h.frames, &clusterv1.Frame{Version: v, Previous: v - 1, Payload: b})
	h.s.gateway.Hub().Push(&clusterv1.Push{Kind: "user", Id: "ann", Method: messages.ByPath(notifications).Name, Epoch: "e", Frame: h.frames[v-1]})
}

func (h *history) answer(req *clusterv1.Request) *clusterv1.Response {
	w := &clusterv1.Watch{}
	if !strings.Contains(req.GetMethod(), "WatchNotifications") || proto.Unmarshal(req.GetPayload(), w) != nil {
		return account(req, 1)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.parts++
	a := &clusterv1.Watching{Recovered: true, Version: uint64(len(h.frames)), Epoch: "e"}
	if w.GetResume() {
		a.Frames = h.frames[w.GetVersion():]
	}
	if len(a.GetFrames()) > perPart {
		a.Frames, a.More = a.GetFrames()[:perPart], true
		a.Version = a.GetFrames()[perPart-1].GetVersion()
	}
	return watching(a)
}

// asked is how often it was asked.
func (h *history) asked() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.parts
}

// TestMuchWasMissed tells it in parts and in order, without a gap or a push twice,
// while more is said.
func TestMuchWasMissed(t *testing.T) {
	s := serve(t, nil)
	h := tellHistory(s, 10*perPart)
	other, p := s.dial("ann"), s.dial("ann")
	other.ask(1, notifications, "{}")
	at := other.hear().Result["position"]
	p.ask(1, notifications, `{"after":"e.0"}`)
	for range perPart {
		h.say()
	}
	other.follow(at.(string), "e."+strconv.Itoa(11*perPart))
	first := p.hear()
	if first.Result["recovered"] != true || first.Result["position"] != "e.0" {
		t.Fatalf("%+v", first)
	}
	p.follow("e.0", "e."+strconv.Itoa(11*perPart))
	h.say()
	p.follow("e."+strconv.Itoa(11*perPart), "e."+strconv.Itoa(11*perPart+1))
	p.ask(2, "session/get", "{}")
	if f := p.hear(); f.ID == nil || *f.ID != 2 {
		t.Errorf("said besides: %+v", f)
	}
	if n := h.asked(); n < 10 {
		t.Errorf("it came in %d parts", n)
	}
}

// TestGivesUpOnTheWay asks no further for who has cancelled, or does not read.
func TestGivesUpOnTheWay(t *testing.T) {
	s := serve(t, nil)
	h := tellHistory(s, 2000*perPart) // 80 MB, more than a socket takes
	p := s.dial("ann")
	p.ask(1, notifications, `{"after":"e.0"}`)
	last := 0
	eventually(t, "nothing is asked while the client does not read", func() bool {
		n := h.asked()
		still := n > 0 && n == last && s.gateway.traffic.owed.Load() > 0
		last = n
		return still
	})
	if owed := s.gateway.traffic.owed.Load(); owed > 4*perPart*1024 {
		t.Errorf("%d bytes wait for one who does not read", owed)
	}
	p.send(cancelOne)
	eventually(t, "nobody hears the stream", func() bool { return s.gateway.Stats().Hub.Topics == 0 })
	p.ask(2, "session/get", "{}")
	for f := p.hear(); f.ID == nil || *f.ID != 2; f = p.hear() {
	}
	if n := h.asked(); n > last+1 {
		t.Errorf("asked %d times more", n-last)
	}
}

// TestHistoryHasAPace refuses who asks for what was missed again and again.
func TestHistoryHasAPace(t *testing.T) {
	s := serve(t, nil)
	tellHistory(s, perPart)
	s.gateway.history.charge("ann", historyBurst+1, s.clock.Now().UnixMilli())
	p := s.dial("ann")
	p.ask(1, notifications, `{"after":"e.0"}`)
	if f := p.hear(); f.reason() != "RATE_LIMITED" {
		t.Errorf("%+v", f)
	}
	p.ask(2, notifications, "{}") // the present costs nothing
	if f := p.hear(); f.Error != nil {
		t.Errorf("%+v", f)
	}
}

// TestOnTheWayAgain gives a stream up on the way and asks for it again under the
// same id, while somebody else hears it: what follows is heard once.
func TestOnTheWayAgain(t *testing.T) {
	s := serve(t, nil)
	h := tellHistory(s, 5*perPart)
	other := s.dial("ann")
	other.ask(1, notifications, "{}")
	other.hear()
	for n := range 20 {
		p := s.dial("ann")
		p.ask(1, notifications, `{"after":"e.0"}`)
		p.hear() // the answer, and the way goes on
		p.send(cancelOne)
		p.ask(1, notifications, `{"after":"e.0"}`)
		for f := p.hear(); f.ID == nil; f = p.hear() {
		}
		p.follow("e.0", "e."+strconv.Itoa(5*perPart+n))
		h.say()
		p.ask(2, "session/get", "{}")
		heard := 0
		for f := p.hear(); f.ID == nil; f = p.hear() {
			heard++
		}
		if heard != 1 {
			t.Fatalf("one push was heard %d times", heard)
		}
		_ = p.ws.CloseNow()
	}
}

// TestBusyOnTheWay asks an actor again that is busy on the way.
func TestBusyOnTheWay(t *testing.T) {
	s := serve(t, nil)
	h := tellHistory(s, 5*perPart)
	busy := 0
	s.cast.mu.Lock()
	s.cast.answer = func(req *clusterv1.Request) *clusterv1.Response {
		if h.asked() == 2 && busy < 3 {
			busy++
			return &clusterv1.Response{Error: messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_OVERLOADED, "busy").Status()}
		}
		return h.answer(req)
	}
	s.cast.mu.Unlock()
	p := s.dial("ann")
	p.ask(1, notifications, `{"after":"e.0"}`)
	p.follow("", "e."+strconv.Itoa(5*perPart))
	if busy != 3 {
		t.Errorf("busy %d times", busy)
	}
}
