package gateway

import (
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/internal/pool"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// topic is a stream as this process hears it.
//
// # Concurrency
//
// What is to be done waits in steps, in order; one goroutine at a time sweeps
// them. Pushes that overlap a sweep become one write for each session.
type topic struct {
	hub    *Hub
	key    topicKey
	method *messages.Method
	quoted string // its name, as JSON
	// addressed are the lists of its pushes that not everyone sees in full; mostly none.
	addressed []messages.Addressed
	holders   int // sessions that hear it or asked to; under the shard's lock

	mu       sync.Mutex
	renewing bool            // a renewal is on its way
	joined   bool            // somebody hears it; until then there is no position, and 0 is one
	over     *messages.Error // why the stream has ended, if it has
	at       position
	steps    []step
	sweeping bool

	// The sweeper's own.
	subscribers []*Session
	told        map[string]bool // the items of the newest view, if they have audiences
}

// inline is up to how many subscribers a sweep runs on the actor's own goroutine.
const inline = 8

// internalSubject is who the hub is to actors.
const internalSubject = "$gateway"

// join answers the subscription of a session and lets it hear what follows.
//
// Every push names the position before it, and every session of a topic is at
// the topic's position, so a client sees a loss by comparing two strings. A
// session that joins is told the topic's position rather than the actor's when
// nothing was said between the two.
func (t *topic) join(on *way, w *clusterv1.Watching) {
	t.mu.Lock()
	if t.over != nil { // it ended between the question and this answer
		over := t.over
		t.mu.Unlock()
		on.session.takeWay(on)
		if on.begun {
			on.session.sayLast(t.ending(over))
			return
		}
		on.session.say(appendError(nil, on.id, over)) // as the answer to a stream by HTTP it is the last that is said
		return
	}
	caught := t.catchUp(w)
	start := t.at // where the session is before the frames that follow
	if len(w.GetFrames()) > 0 {
		start = position{w.GetEpoch(), w.GetFrames()[0].GetPrevious()}
	}
	first := step{join: on, frames: on.greeting(w.GetRecovered(), start)}
	for i, f := range w.GetFrames() {
		version := f.GetVersion()
		if i == len(w.GetFrames())-1 && version < t.at.version {
			version = t.at.version
		}
		t.add(&first, position{w.GetEpoch(), f.GetPrevious()}, position{w.GetEpoch(), version}, f.GetPayload())
	}
	if caught.waits() > 0 { // the others first, so that all are at one position
		t.steps = append(t.steps, caught)
	}
	t.queue(first)
}

// catchUp moves the topic to where an answer is, and returns what those who
// hear it already must hear for that. It is called with the lock.
//
// When the topic lacks something that is not in the answer either, it stays
// where it is: it asks, and whoever is ahead of it notices by the position.
func (t *topic) catchUp(w *clusterv1.Watching) (missed step) {
	if !t.joined || t.at.epoch != w.GetEpoch() {
		t.joined, t.at = true, position{w.GetEpoch(), w.GetVersion()}
		return missed
	}
	for _, f := range w.GetFrames() {
		if f.GetVersion() <= t.at.version {
			continue
		}
		if t.method.Stream == optionsv1.Stream_STREAM_EVENT && f.GetPrevious() > t.at.version {
			t.hub.counts.gaps.Add(1)
			if t.mayAsk() {
				pool.Go(t.ask)
			}
			return missed
		}
		previous := t.at
		t.at.version = f.GetVersion()
		t.add(&missed, previous, t.at, f.GetPayload())
	}
	return missed
}

// leave lets a session go.
func (t *topic) leave(s *Session) {
	t.mu.Lock()
	t.queue(step{leave: s})
	t.hub.drop(t)
}

// then runs f behind what is queued; false when nothing is, and f was not run.
func (t *topic) then(f func()) bool {
	t.mu.Lock()
	if !t.sweeping {
		t.mu.Unlock()
		return false
	}
	t.queue(step{run: f})
	return true
}

// take queues a push that follows; whatever does not is asked for.
func (t *topic) take(p *clusterv1.Push) {
	f := p.GetFrame()
	t.mu.Lock()
	switch {
	case !t.joined || f != nil && p.GetEpoch() == t.at.epoch && f.GetVersion() <= t.at.version:
		t.mu.Unlock() // nobody hears it yet, or it was said
	case f == nil || p.GetEpoch() != t.at.epoch || f.GetPrevious() > t.at.version:
		ask := t.mayAsk()
		t.mu.Unlock()
		t.hub.counts.gaps.Add(1)
		if ask {
			pool.Go(t.ask)
		}
	case t.full():
		t.mu.Unlock()
		t.end(messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_STREAM_LOST, "more is said here than can be passed on: subscribe again after the last position"))
	default:
		previous := t.at
		t.at.version = f.GetVersion()
		next := step{said: t.hub.gateway.clock.Now()}
		t.add(&next, previous, t.at, f.GetPayload())
		t.queue(next)
	}
}

// full says whether what waits for the sweeper is as much as one connection may
// owe. A STATE topic never is: its newest view is all that waits.
func (t *topic) full() bool {
	waits := 0
	for i := range t.steps {
		if t.steps[i].join == nil { // what one who joins has missed is theirs alone
			waits += t.steps[i].waits()
		}
	}
	return waits > t.hub.gateway.limits.QueueBytes
}

// queue adds a step and sees that somebody sweeps. It is called with the lock
// and gives it back.
func (t *topic) queue(s step) {
	n := len(t.steps)
	switch {
	case n == 0 || !s.plain() || !t.steps[n-1].plain():
		t.steps = append(t.steps, s)
	case t.method.Stream == optionsv1.Stream_STREAM_STATE: // the newest view is the whole truth
		t.steps[n-1].frames, t.steps[n-1].parts = s.frames, s.parts
		t.hub.counts.coalesced.Add(1)
	default:
		t.steps[n-1].frames, t.steps[n-1].parts = append(t.steps[n-1].frames, s.frames...), append(t.steps[n-1].parts, s.parts...)
		t.hub.counts.coalesced.Add(1)
	}
	start := !t.sweeping
	t.sweeping = true
	few := start && len(t.subscribers) <= inline // nobody sweeps, so it may be looked at
	t.mu.Unlock()
	switch {
	case few:
		t.sweep()
	case start:
		pool.Go(t.sweep)
	}
}

// sweep does what is queued until nothing is.
func (t *topic) sweep() {
	for {
		t.mu.Lock()
		steps := t.steps
		t.steps = nil
		if len(steps) == 0 {
			t.sweeping = false
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		for i := range steps {
			t.do(&steps[i])
		}
	}
}

func (t *topic) do(s *step) {
	switch {
	case s.run != nil:
		s.run()
	case s.join != nil:
		heard := s.join.session.hears(s.join)
		if heard || !s.join.begun {
			t.greet(s)
		}
		switch { // it may have cancelled meanwhile, or ended, or lost the right to
		case heard:
			t.subscribers = append(t.subscribers, s.join.session)
		case !s.join.begun && !t.method.Allows(s.join.session.principal().Roles):
			s.join.session.sayLast(t.ending(roleRequired(t.method)))
		}
	case s.leave != nil:
		t.subscribers = slices.DeleteFunc(t.subscribers, func(o *Session) bool { return o == s.leave })
		if len(s.frames) > 0 {
			s.leave.sayLast(s.frames)
		}
	default:
		t.hub.counts.frames.Add(uint64(len(t.subscribers)))
		t.write(s)
		if !s.said.IsZero() {
			t.hub.gateway.meters.swept[t.method](t.hub.gateway.clock.Now().Sub(s.said))
		}
		if s.over {
			for _, o := range t.subscribers {
				o.unwatch(t)
				o.done()
			}
			t.subscribers = nil
		}
	}
}

// renew prolongs the watch and takes what was missed.
func (t *topic) renew() {
	t.mu.Lock()
	ask := t.mayAsk()
	t.mu.Unlock()
	if ask {
		t.ask()
	}
}

// mayAsk says whether the actor is to be asked, and notes that it is: one
// question at a time is enough. It is called with the lock.
func (t *topic) mayAsk() bool {
	ask := t.joined && !t.renewing
	t.renewing = t.renewing || ask
	return ask
}

// ask is the question of a renewal.
func (t *topic) ask() {
	t.mu.Lock()
	at := t.at
	t.mu.Unlock()
	payload, err := wire.Marshal(&clusterv1.Watch{Resume: true, Epoch: at.epoch, Version: at.version, Renewal: true})
	if err != nil {
		return
	}
	req := &clusterv1.Request{Kind: t.key.kind, Id: t.key.id, Method: t.key.method, Payload: payload, Subject: internalSubject}
	g := t.hub.gateway
	g.actors.Call(req, g.limits.CallTimeout, func(r *clusterv1.Response) {
		t.mu.Lock()
		t.renewing = false
		t.mu.Unlock()
		w := &clusterv1.Watching{}
		if r.GetError() != nil {
			if e := messages.FromStatus(r.GetError()); !messages.Rule(e.Reason).GetRetry() {
				t.end(e)
			}
			return // the next renewal asks again
		}
		if err := proto.Unmarshal(r.GetPayload(), w); err == nil {
			t.renewed(w)
		}
	})
}

// renewed takes what the actor said that this process did not know.
func (t *topic) renewed(w *clusterv1.Watching) {
	if !w.GetRecovered() && t.method.Stream == optionsv1.Stream_STREAM_EVENT {
		t.end(errStreamLost())
		return
	}
	for _, f := range w.GetFrames() {
		t.mu.Lock()
		if t.at.epoch == w.GetEpoch() && f.GetVersion() <= t.at.version {
			t.mu.Unlock()
			continue
		}
		previous := t.at
		t.at = position{w.GetEpoch(), f.GetVersion()}
		var next step
		t.add(&next, previous, t.at, f.GetPayload())
		t.queue(next)
	}
	if w.GetMore() && !t.then(t.renew) { // when this was swept
		t.renew()
	}
}

// end tells every session that the stream is over.
func (t *topic) end(e *messages.Error) {
	t.hub.forget(t)
	t.mu.Lock()
	t.joined, t.over = false, e
	t.queue(step{frames: t.ending(e), over: true})
}

// dismiss is leave for a session that is told why.
func (t *topic) dismiss(s *Session, e *messages.Error) {
	t.mu.Lock()
	t.queue(step{leave: s, frames: t.ending(e)})
	t.hub.drop(t)
}

// ending is the frame that ends a stream.
func (t *topic) ending(e *messages.Error) []byte {
	b := []byte(`{"jsonrpc":"2.0","method":"` + t.method.Path + `","params":{"subscription":` + t.quoted + `,"end":true,"error":`)
	return appendFrame(nil, append(appendErrorObject(b, messages.JSONRPCCode(e.Reason), e.Status()), `}}`...))
}
