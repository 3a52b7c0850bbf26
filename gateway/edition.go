package gateway

import (
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/messages"
	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
)

// step is one thing to do in order: write to all, let one in or go, or run something.
type step struct {
	frames []byte
	parts  []*part   // pushes that not everyone hears in full, behind the frames
	said   time.Time // when the first of the pushes came
	join   *way      // whose session begins with the frames
	leave  *Session
	run    func()
	over   bool
}

// plain says whether a step is nothing but pushes.
func (s *step) plain() bool { return s.join == nil && s.leave == nil && s.run == nil && !s.over }

// waits is how many bytes a step will have to write, about.
func (s *step) waits() int {
	n := len(s.frames)
	for _, p := range s.parts {
		n += p.size
	}
	return n
}

// part is a push that not everyone hears in full. It is encoded where it leaves.
type part struct {
	previous, at position
	said         *addressed
	size         int // encoded, about
}

// pushSize is what a push has besides what it says, about.
const pushSize = 200

// add adds a push to a step: as a frame, if it is the same for everyone.
func (t *topic) add(s *step, previous, at position, payload []byte) {
	body := t.method.Response()
	if err := proto.Unmarshal(payload, body); err != nil {
		t.hub.gateway.log.Error("push not decoded", slog.String("method", t.method.Path), slog.Any("error", err))
		return
	}
	if len(t.addressed) == 0 {
		s.frames = t.appendPush(s.frames, previous, at, body)
		return
	}
	s.parts = append(s.parts, &part{previous, at, address(t.addressed, body), pushSize + len(payload)})
}

// appendPush appends the frame of a push. It names the topic, not the request
// that subscribed to it, so it is the same bytes for all who see the same.
func (t *topic) appendPush(to []byte, previous, at position, body proto.Message) []byte {
	b := make([]byte, 0, 512)
	b = append(append(append(b, `{"jsonrpc":"2.0","method":"`...), t.method.Path...), `","params":{"subscription":`...)
	b = append(append(b, t.quoted...), `,"position":"`...)
	b = append(append(b, at.String()...), `","previous":"`...)
	b = append(append(b, previous.String()...), `","result":`...)
	b, err := messages.AppendJSON(b, body)
	if err != nil {
		t.hub.gateway.log.Error("push not encoded", slog.String("method", t.method.Path), slog.Any("error", err))
		return to
	}
	return appendFrame(to, append(b, `}}`...))
}

// edition is what a step says to all who see the same of it.
type edition struct {
	frames []byte
	once   sync.Once
	events []byte // the same for those who hear by HTTP, once the first does
	seen   []byte // which items of the parts it has, as appendSeen says
	to     []*Session
}

// write says a step to all who hear the topic.
func (t *topic) write(s *step) {
	var view *topic
	if t.method.Stream == optionsv1.Stream_STREAM_STATE && !s.over {
		view = t
	}
	if len(s.parts) == 0 {
		t.hand(&edition{frames: s.frames, to: t.subscribers}, view)
		return
	}
	for _, e := range t.editions(s) {
		t.hand(e, view)
		t.count(s.parts, e)
	}
	t.remember(s.parts)
}

// editions makes one edition for everybody, if everybody sees the same, else one
// for each way to see less.
func (t *topic) editions(s *step) map[string]*edition {
	all := map[string]*edition{}
	if seen, some := seenByAll(s.parts); !some {
		all[""] = t.edit(s, seen)
		all[""].to = t.subscribers
		return all
	}
	var seen []byte
	for _, o := range t.subscribers {
		seen = appendSeen(seen[:0], s.parts, o)
		e := all[string(seen)]
		if e == nil {
			e = t.edit(s, seen)
			all[string(seen)] = e
		}
		e.to = append(e.to, o)
	}
	return all
}

// alone is up to how many sessions one processor writes to by itself.
const alone = 1000

// hand gives an edition to its sessions, by all processors when they are many:
// the last of them is not to wait for all the others.
func (t *topic) hand(e *edition, view *topic) {
	share := max(alone, len(e.to)/runtime.GOMAXPROCS(0)+1)
	if len(e.to) <= share {
		t.handTo(e.to, e, view)
		return
	}
	var wait sync.WaitGroup
	for some := range slices.Chunk(e.to, share) {
		wait.Go(func() { t.handTo(some, e, view) })
	}
	wait.Wait()
}

// handTo gives an edition to some of its sessions.
func (t *topic) handTo(some []*Session, e *edition, view *topic) {
	for _, o := range some {
		switch {
		case o.conn.terms.events:
			e.once.Do(func() { e.events = appendEvents(nil, e.frames) })
			o.sayEvents(e.frames, e.events)
		case o.conn.sendView(view, e.frames):
			t.hub.counts.coalesced.Add(1)
		}
	}
}

// seenByAll returns what everybody sees of pushes, and whether some see less.
func seenByAll(parts []*part) (seen []byte, some bool) {
	for _, p := range parts {
		for i := range p.said.items {
			seen = append(seen, 1)
			some = some || p.said.items[i].to != nil
		}
	}
	return seen, some
}

// appendSeen appends what a session sees of pushes.
func appendSeen(to []byte, parts []*part, o *Session) []byte {
	who := o.principal()
	for _, p := range parts {
		to = p.said.appendSeen(to, &who)
	}
	return to
}

// edit makes the edition for all who see the same.
func (t *topic) edit(s *step, seen []byte) *edition {
	e := &edition{frames: append([]byte(nil), s.frames...), seen: append([]byte(nil), seen...)}
	t.hub.counts.editions.Add(uint64(len(s.parts)))
	for _, p := range s.parts {
		e.frames = t.appendPush(e.frames, p.previous, p.at, p.said.show(seen[:len(p.said.items)]))
		seen = seen[len(p.said.items):]
	}
	return e
}

// greet says to a session what it begins with.
func (t *topic) greet(s *step) {
	s.join.session.conn.settle(t)
	if len(s.parts) > 0 && t.told != nil {
		t.told = nil // whoever begins has heard nothing here
	}
	t.sayTo(s.join.session, s)
	t.remember(s.parts)
}

// sayTo says a step to one session alone.
func (t *topic) sayTo(o *Session, s *step) {
	switch {
	case len(s.parts) > 0:
		e := t.edit(s, appendSeen(nil, s.parts, o))
		e.to = []*Session{o}
		o.say(e.frames)
		t.count(s.parts, e)
	case len(s.frames) > 0:
		o.say(s.frames)
	}
}

// count notes to how many the items of an edition were written. A view shows
// again what it showed before: that is not counted again.
func (t *topic) count(parts []*part, e *edition) {
	counted := map[string]bool{}
	seen := e.seen
	for _, p := range parts {
		for i, item := range p.said.items {
			if seen[i] == 1 && !t.told[item.id] && !counted[item.id] {
				counted[item.id] = true
				t.hub.gateway.delivered.add(t.method, item.id, uint64(len(e.to)))
			}
		}
		seen = seen[len(p.said.items):]
	}
}

// remember notes what the newest view shows, for count.
func (t *topic) remember(parts []*part) {
	if t.method.Stream != optionsv1.Stream_STREAM_STATE || len(parts) == 0 {
		return
	}
	newest := parts[len(parts)-1].said
	t.told = make(map[string]bool, len(newest.items))
	for _, item := range newest.items {
		t.told[item.id] = true
	}
}
