package gateway

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/status"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// A stream by HTTP is a session that hears one topic and says nothing. It takes
// the same frames as every other; on its way out a frame becomes an event.

// streamID is the id of the request that a stream by HTTP stands for.
var streamID = []byte("1")

// wantsEvents says whether a request asks for a stream of events.
func wantsEvents(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/event-stream")
}

// stream lets a client hear a stream as server-sent events. The answer begins
// when the actor has answered, so that a refusal has its status.
func (g *Gateway) stream(w http.ResponseWriter, r *http.Request, who Principal, revoked uint64, m *messages.Method, req *clusterv1.Request) {
	address := g.address(r)
	if e := g.door(address); e != nil {
		g.refuseHTTP(w, e)
		return
	}
	s := &Session{gateway: g, address: address, events: &events{header: w.Header().Clone()}}
	h := &hijacker{ResponseWriter: w, terms: &g.byEvents, conn: &s.conn}
	if _, _, err := h.Hijack(); err != nil {
		g.addresses.done(address)
		g.refuseHTTP(w, err)
		return
	}
	g.counts.accepted.Add(1)
	s.work = s.run
	s.patient = g.limits.PingAfter.Milliseconds() - rand.Int64N(g.limits.PingAfter.Milliseconds()/4+1) //nolint:gosec // spreads pings, guards nothing
	s.heard()
	g.wheel.add(s, lookAtMost)
	go func() { // the session outlives the handler, as the connection does
		err := s.enter(g.shown(r), who, revoked)
		if err == nil {
			err = s.subscribe(streamID, m, req, r.Header.Get("Last-Event-ID"))
		}
		s.listen(m, err)
		s.end()
	}()
}

// listen waits for the client to go, once it knows of a refusal, if there is one.
func (s *Session) listen(m *messages.Method, err error) {
	if err != nil {
		s.say(appendError(nil, streamID, s.tell(m.Path, err)))
	}
	var nothing [64]byte
	for {
		if _, err := s.conn.Read(nothing[:]); err != nil {
			return
		}
	}
}

// events is what a session by HTTP has besides. The session's lock is held
// while something is said, so that the header leaves before everything else.
type events struct {
	header http.Header
	begun  bool // the header was written
}

// say sends frames, in the form that the session speaks.
func (s *Session) say(frames []byte) {
	if s.events == nil {
		s.conn.send(frames)
		return
	}
	s.sayEvents(frames, appendEvents(nil, frames))
}

// sayLast is say for the end of a stream.
func (s *Session) sayLast(frames []byte) {
	s.say(frames)
	s.done()
}

// done hangs up a stream by HTTP that has ended: it has nothing more to hear.
func (s *Session) done() {
	if s.events != nil {
		s.hangUp()
	}
}

// lend is say for bytes that their owner uses again.
func (s *Session) lend(frames []byte) {
	if s.events == nil {
		s.conn.lend(frames)
		return
	}
	s.sayEvents(frames, appendEvents(nil, frames))
}

// sayEvents sends events; before the first of them it sends the answer's header.
func (s *Session) sayEvents(frames, text []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.events.begun {
		s.conn.send(text)
		return
	}
	s.events.begun = true
	refusal := refused(frames)
	if refusal == nil {
		s.conn.send(s.events.answer(http.StatusOK, "text/event-stream", text))
		return
	}
	body, err := messages.AppendJSON(nil, refusal.Status())
	if err != nil {
		body = []byte("{}")
	}
	s.conn.last(s.events.answer(int(messages.Rule(refusal.Reason).GetHttpStatus()), "application/json", body))
	s.hangUp()
}

// closeEvents says why the stream ends.
func (s *Session) closeEvents(code Code, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := closeEvent(code, reason)
	if !s.events.begun {
		s.events.begun = true
		text = s.events.answer(http.StatusOK, "text/event-stream", text)
	}
	s.conn.last(text)
}

// pingEvents shows that somebody is there.
func (s *Session) pingEvents() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.events.begun {
		s.conn.send(pingEvent)
	}
}

// answer returns an HTTP answer that ends with the connection.
func (e *events) answer(status int, kind string, body []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	h := e.header
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", "no-store")
	h.Set("Connection", "close")
	_ = h.Write(&b) // a buffer takes everything
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}

// refused returns the refusal in a frame that answers a request with one, or nil.
func refused(frame []byte) (refusal *messages.Error) {
	text, _ := nextText(frame)
	s := scanner{data: text}
	s.members(func(key, value []byte) {
		if string(key) != `"error"` {
			return
		}
		inner := scanner{data: value}
		inner.members(func(key, value []byte) {
			if string(key) == `"data"` {
				refusal = statusOf(value)
			}
		})
	})
	return refusal
}

// statusOf reads a google.rpc.Status that was written here.
func statusOf(text []byte) *messages.Error {
	told := &status.Status{}
	if err := messages.ParseJSON(text, told); err != nil {
		return messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_INTERNAL, "the refusal could not be read")
	}
	return messages.FromStatus(told)
}

// nextText returns the text of the first frame, as they are written here, and
// the frames after it.
func nextText(frames []byte) (text, rest []byte) {
	n, from := int(frames[1]), 2
	switch n {
	case 126:
		n, from = int(frames[2])<<8|int(frames[3]), 4
	case 127:
		n, from = 0, 10
		for _, b := range frames[2:10] {
			n = n<<8 | int(b)
		}
	}
	return frames[from : from+n], frames[from+n:]
}

// appendEvents appends frames as server-sent events: a push with its position as
// id, the answer to the subscription as "open", the end of the stream as "end",
// and what is said of the session under its own name.
func appendEvents(to, frames []byte) []byte {
	for len(frames) > 0 {
		var text []byte
		text, frames = nextText(frames)
		var e envelope
		s := scanner{data: text}
		s.members(func(key, value []byte) {
			switch string(key) {
			case `"method"`:
				e.method = value
			case `"params"`:
				e.params = value
			case `"result"`:
				to = appendEvent(to, "open", nil, value)
			}
		})
		if e.method != nil {
			to = e.appendEvent(to)
		}
	}
	return to
}

// appendEvent appends a notification.
func (e *envelope) appendEvent(to []byte) []byte {
	name, _ := text(e.method)
	if about, found := strings.CutPrefix(name, "session/"); found && !bytes.HasPrefix(e.params, []byte(`{"subscription"`)) {
		if ms := between(e.params, `{"reconnectMs":`, "}"); ms != nil {
			to = append(append(append(to, "retry: "...), ms...), '\n')
		}
		return appendEvent(to, about, nil, e.params)
	}
	var position, result, failure []byte
	s := scanner{data: e.params}
	s.members(func(key, value []byte) {
		switch string(key) {
		case `"position"`:
			position = value[1 : len(value)-1]
		case `"result"`:
			result = value
		case `"error"`:
			failure = value
		}
	})
	if failure == nil {
		return appendEvent(to, "", position, result)
	}
	inner := scanner{data: failure}
	inner.members(func(key, value []byte) {
		if string(key) == `"data"` {
			to = appendEvent(to, "end", nil, value)
		}
	})
	return to
}

// between returns what stands between two parts of a text, or nil.
func between(text []byte, before, after string) []byte {
	rest, found := bytes.CutPrefix(text, []byte(before))
	if !found {
		return nil
	}
	inner, _, _ := bytes.Cut(rest, []byte(after))
	return inner
}

// appendEvent appends one event; data is JSON, in which no line ends.
func appendEvent(to []byte, name string, id, data []byte) []byte {
	if name != "" {
		to = append(append(append(to, "event: "...), name...), '\n')
	}
	if id != nil {
		to = append(append(append(to, "id: "...), id...), '\n')
	}
	return append(append(append(to, "data: "...), data...), "\n\n"...)
}

// closeEvent is the event after which the server hangs up, whatever is heard: it
// says what a close frame says.
func closeEvent(code Code, reason string) []byte {
	return appendEvent(nil, "close", nil, []byte(`{"code":`+itoa(int64(code))+`,"reason":`+quote(reason)+`}`))
}

// pingEvent is a comment, which clients pass over: it shows that somebody is there.
var pingEvent = []byte(":\n\n")
