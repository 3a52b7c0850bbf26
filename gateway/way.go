package gateway

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/internal/pool"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// way is a session's way into a stream. What it missed, if that is much, comes in
// parts: each when the client has taken the one before, beside the pushes to
// others, and at a pace for each person. The last part lets it join the others.
type way struct {
	session *Session
	number  uint64 // tells it from other ways of the session, also under the same id
	id      []byte // of the request
	topic   *topic
	req     *clusterv1.Request
	from    *clusterv1.Watch
	after   string // the position that the client gave; empty: none
	begun   bool   // the request is answered
	tries   int    // in vain, since the last answer
}

const (
	// historyRate and historyBurst are how much of what was missed is told to one
	// person, in KiB: a second, and at once.
	historyRate, historyBurst = 4 << 10, 16 << 10
	// joinBytes is how much a session may have missed that joins the others at once.
	joinBytes = 16 << 10
	// wayPause is how long a session on its way waits for its client, and looks again.
	wayPause = 20 * time.Millisecond
	// wayTries is how often an actor that is busy is asked on the way.
	wayTries = 50
)

// ask asks the actor for the stream from where the session is.
func (w *way) ask() error {
	payload, err := wire.Marshal(w.from)
	if err != nil {
		return fmt.Errorf("encode a watch: %w", err)
	}
	req := proto.CloneOf(w.req) // the one before may still be on its way
	req.Payload = payload
	w.session.gateway.actors.Call(req, w.session.gateway.limits.CallTimeout, w.answered)
	return nil
}

// answered takes the actor's answer. It runs on the actor's goroutine: what it
// pushed before this answer is queued, what comes after is not.
func (w *way) answered(r *clusterv1.Response) {
	s, watching := w.session, &clusterv1.Watching{}
	var refusal *messages.Error
	if r.GetError() != nil {
		refusal = messages.FromStatus(r.GetError())
	} else if err := proto.Unmarshal(r.GetPayload(), watching); err != nil {
		refusal = messages.AsError(err)
	}
	heard := s.hears(w)
	switch {
	case refusal != nil && !w.begun:
		if s.takeWay(w) {
			s.gateway.hub.drop(w.topic)
		}
		s.push(item{id: w.id, method: w.topic.method, answer: &clusterv1.Response{Error: refusal.Status()}})
		return
	case w.begun && !heard: // it was cancelled, or the session has ended
		return
	case refusal != nil && messages.Rule(refusal.Reason).GetRetry() && w.tries < wayTries:
		w.tries++
		pool.Go(func() {
			if clock.Pause(context.Background(), max(refusal.Retry, wayPause)) {
				w.next()
			}
		})
		return
	case refusal != nil, w.begun && !watching.GetRecovered():
		w.lose()
		return
	}
	w.tries = 0
	size := 0
	for _, f := range watching.GetFrames() {
		size += len(f.GetPayload())
	}
	if w.from.GetResume() && w.topic.method.Stream == optionsv1.Stream_STREAM_EVENT {
		s.gateway.history.charge(w.req.GetSubject(), int64(size>>10+1), s.gateway.clock.Now().UnixMilli())
	}
	if !w.begun {
		s.finish(w.id)
		s.gateway.meters.resumed(w.after, watching.GetRecovered())
	}
	part := w.part(watching, size)
	switch {
	case !heard && !w.topic.method.Allows(s.principal().Roles):
		s.say(appendError(nil, w.id, roleRequired(w.topic.method)))
	case !heard && len(part) > 0: // cancelled: the answer to the request is all that it gets
		s.say(w.greeting(watching.GetRecovered(), position{watching.GetEpoch(), watching.GetVersion()}))
	case len(part) > 0:
		pool.Go(func() { w.tell(watching, part) })
	default:
		w.topic.join(w, watching)
	}
}

// lose ends a stream on whose way something was lost: the client asks again after
// the last position that it heard.
func (w *way) lose() {
	if !w.session.takeWay(w) {
		return
	}
	w.session.gateway.hub.drop(w.topic)
	w.session.sayLast(w.topic.ending(errStreamLost()))
}

func errStreamLost() *messages.Error {
	return messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_STREAM_LOST, "the stream cannot be continued here: subscribe again after the last position")
}

// part returns what is told before the session joins; nothing, if all of it may
// be told as it does. One frame is left for that: it says where the session is.
func (w *way) part(watching *clusterv1.Watching, size int) []*clusterv1.Frame {
	frames := watching.GetFrames()
	switch {
	case watching.GetMore():
		return frames
	case w.topic.method.Stream != optionsv1.Stream_STREAM_EVENT || size <= joinBytes:
		return nil
	}
	return frames[:len(frames)-1]
}

// tell tells a part, and asks for what follows when the client has taken it.
func (w *way) tell(watching *clusterv1.Watching, part []*clusterv1.Frame) {
	s, t, g := w.session, w.topic, w.session.gateway
	said := step{frames: w.greeting(watching.GetRecovered(), position{watching.GetEpoch(), part[0].GetPrevious()})}
	for _, f := range part {
		t.add(&said, position{watching.GetEpoch(), f.GetPrevious()}, position{watching.GetEpoch(), f.GetVersion()}, f.GetPayload())
	}
	if w.begun && !s.hears(w) {
		return
	}
	t.sayTo(s, &said)
	w.begun = true
	who := w.req.GetSubject()
	for s.conn.owes() || !g.history.take(who, 0, g.clock.Now().UnixMilli()) {
		if !s.hears(w) || !clock.Pause(context.Background(), wayPause) {
			return
		}
	}
	w.from.Resume, w.from.Epoch, w.from.Version = true, watching.GetEpoch(), part[len(part)-1].GetVersion()
	w.next()
}

// next asks for what follows, if it is wanted still.
func (w *way) next() {
	if !w.session.hears(w) {
		return
	}
	if err := w.ask(); err != nil {
		w.lose()
	}
}

// greeting is the answer to the request, unless that was given: how the stream
// begins, and where the session is before the frames that follow.
func (w *way) greeting(recovered bool, start position) []byte {
	if w.begun {
		return nil
	}
	b := append(append([]byte(`{"jsonrpc":"2.0","id":`), w.id...), `,"result":{"subscription":`...)
	b = append(append(b, w.topic.quoted...), `,"recovered":`...)
	if recovered {
		b = append(b, "true"...)
	} else {
		b = append(b, "false"...)
	}
	return appendFrame(nil, append(append(append(b, `,"position":"`...), start.String()...), `"}}`...))
}
