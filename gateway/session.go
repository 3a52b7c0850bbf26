package gateway

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/threefoldtech/cloud-marketplace/internal/pool"
	"github.com/threefoldtech/cloud-marketplace/internal/telemetry"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
)

// Session is one signed-in connection.
//
// # Concurrency
//
// The reader only reads. Everything else happens on a worker that exists while
// there is something to do; answers that come while it works leave in one write.
type Session struct {
	conn     conn // first: what a push touches
	gateway  *Gateway
	ws       *websocket.Conn // nil: the session is a stream by HTTP
	events   *events         // nil: it is not
	heardMS  atomic.Int64    // when the client last said anything
	pingMS   atomic.Int64    // when it was pinged since; 0: it was not
	begunMS  atomic.Int64    // when the message that is being read began; 0: none is
	over     atomic.Bool     // a close frame was sent
	openByMS atomic.Int64    // until when the first frame must have come; 0: it has
	work     func()          // s.run, bound once
	patient  int64           // silence before a ping, in milliseconds: each session's own
	address  string          // where it comes from
	spot     spot            // the wheel's

	mu       sync.Mutex
	who      Principal
	cookie   string // what prolongs it, if something does
	noticed  bool   // session/expiring was said, or it is being prolonged
	inbox    []item
	room     *sync.Cond // the reader waits here while the inbox is full; nil until it did
	spare    []item     // the last inbox, to be used again
	working  bool
	closed   bool
	pending  [][]byte  // ids of requests without their answer
	watching []watched // streams, with the ids of the requests that subscribed
	ways     uint64    // into streams, so far
	bucket   bucket
	refused  int // requests in a row that came too fast
}

// item is work: a frame that came in, or an answer on its way out.
type item struct {
	frame  *[]byte
	id     []byte
	method *messages.Method
	answer *clusterv1.Response
	asked  time.Time       // when the request came
	span   *telemetry.Span // nil: it is not traced
}

// watched is a stream that a session hears, or has asked for.
type watched struct {
	number uint64 // of the way into it
	id     []byte // of the request
	topic  *topic
}

// push hands the worker something to do.
func (s *Session) push(it item) {
	s.mu.Lock()
	s.inbox = append(s.inbox, it)
	start := !s.working
	s.working = true
	s.mu.Unlock()
	if start {
		pool.Go(s.work)
	}
}

// pushFrame is push for the reader, which waits while the inbox is full: who
// sends faster than is worked off is not read from.
func (s *Session) pushFrame(frame *[]byte) {
	s.mu.Lock()
	for len(s.inbox) >= inboxLimit {
		if s.room == nil {
			s.room = sync.NewCond(&s.mu)
		}
		s.room.Wait()
	}
	s.mu.Unlock()
	s.push(item{frame: frame})
}

// inboxLimit is how many frames wait for the worker.
const inboxLimit = 256

// run is the worker.
func (s *Session) run() {
	for {
		s.mu.Lock()
		items := s.inbox
		s.inbox, s.spare = s.spare, nil
		if s.room != nil {
			s.room.Signal()
		}
		if len(items) == 0 {
			s.working = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		buffer, ok := buffers.Get().(*[]byte)
		if !ok {
			buffer = new([]byte)
		}
		out := (*buffer)[:0]
		for _, it := range items {
			if it.frame != nil && s.over.Load() {
				buffers.Put(it.frame) // nothing is decided behind a close frame
			} else if it.frame != nil {
				out = s.handle(out, *it.frame)
				buffers.Put(it.frame)
			} else {
				out = s.reply(out, it)
			}
		}
		if len(out) > 0 {
			s.lend(out)
		}
		buffers.Put(buffer)
		if cap(items) <= spareLimit {
			clear(items)
			s.mu.Lock()
			s.spare = items[:0]
			s.mu.Unlock()
		}
	}
}

// spareLimit is how many items an idle session keeps room for.
const spareLimit = 16

// read is all that the reader's goroutine does.
func (s *Session) read() {
	for {
		kind, r, err := s.ws.Reader(context.Background())
		if err != nil {
			return
		}
		begun := s.gateway.clock.Now().UnixMilli()
		s.begunMS.Store(begun)
		frame, err := readFrame(r)
		s.heardMS.Store(begun)
		s.pingMS.Store(0)
		s.begunMS.Store(0)
		s.gateway.traffic.received.Add(1)
		if frame != nil {
			s.gateway.traffic.receivedBytes.Add(uint64(len(*frame)))
		}
		if err != nil {
			return
		}
		if kind != websocket.MessageText {
			s.close(CodeProtocol, "frames are text")
			return
		}
		s.pushFrame(frame)
	}
}

// readFrame reads a message into a pooled buffer.
func readFrame(r io.Reader) (*[]byte, error) {
	p, ok := buffers.Get().(*[]byte)
	if !ok {
		p = new([]byte)
	}
	b := (*p)[:0]
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case errors.Is(err, io.EOF):
			*p = b
			return p, nil
		case err != nil:
			return nil, err
		}
	}
}

// control pays for a control frame of the client's, as for a request. Whoever
// sends too many gets no answer, and in the end is sent away.
func (s *Session) control() bool {
	return s.pay(s.gateway.clock.Now()) == nil
}

// ponged notes the answer to a ping. One that nobody asked for costs as much as a request.
func (s *Session) ponged() {
	if s.pingMS.Load() == 0 && !s.control() {
		return
	}
	if ping := s.pingMS.Load(); ping != 0 {
		s.gateway.meters.pongs(time.Duration(s.gateway.clock.Now().UnixMilli()-ping) * time.Millisecond)
	}
	s.heard()
}

// heard notes that the client lives.
func (s *Session) heard() {
	s.heardMS.Store(s.gateway.clock.Now().UnixMilli())
	s.pingMS.Store(0)
}

// lookAtMost is how long a session is left to itself: what is late is noticed by then.
const lookAtMost = 5 * time.Second

// look pings a silent client, drops one that does not answer or does not
// finish, and follows the token's end. It returns when to look again.
func (s *Session) look(now time.Time) time.Duration {
	l, ms := s.gateway.limits, now.UnixMilli()
	if by := s.openByMS.Load(); by != 0 {
		if ms >= by {
			s.close(CodeNotOpened, "session/open did not come in time")
		}
		return time.Second
	}
	if begun := s.begunMS.Load(); begun != 0 && ms-begun > l.MessageWithin.Milliseconds() {
		s.close(CodeProtocol, "a message took too long")
		return lookAtMost
	}
	if ping := s.pingMS.Load(); ping != 0 {
		if ms-ping > l.PongWithin.Milliseconds() {
			s.close(CodeNoPong, "no answer to a ping")
			return lookAtMost
		}
	} else if ms-s.heardMS.Load() > s.patient {
		s.ping(ms)
	}
	s.followExpiry(now)
	return s.gateway.lookEvery
}

// ping asks whether the client is there. One by HTTP cannot answer: the
// connection fails when nobody is.
func (s *Session) ping(nowMS int64) {
	if s.events != nil {
		s.heard()
		s.pingEvents()
		return
	}
	s.pingMS.Store(nowMS)
	s.conn.send(pingFrame)
}

// followExpiry prolongs what can be, else says that the token ends, and closes
// when it has.
func (s *Session) followExpiry(now time.Time) {
	s.mu.Lock()
	ends := s.who.Expires
	if ends.IsZero() { // who it is, is being found out
		s.mu.Unlock()
		return
	}
	notice := !s.noticed && now.After(ends.Add(-s.gateway.limits.ExpiryNotice))
	s.noticed = s.noticed || notice
	renewable := s.cookie != "" && ends.Before(s.who.Renewable)
	s.mu.Unlock()
	switch {
	case now.After(ends.Add(s.gateway.limits.ExpiryGrace)):
		s.close(CodeExpired, "the token has expired")
	case notice && renewable:
		go s.renew()
	case notice:
		s.expiring()
	}
}

// expiring says that the token ends.
func (s *Session) expiring() {
	s.notify("session/expiring", `{"expireTime":"`+s.principal().Expires.UTC().Format(time.RFC3339)+`"}`)
}

// notify sends a notification; params is JSON.
func (s *Session) notify(method, params string) {
	s.say(appendFrame(nil, []byte(`{"jsonrpc":"2.0","method":"`+method+`","params":`+params+`}`)))
}

// closeWithin is how long a client has to take its close frame.
const closeWithin = time.Second

// close says why and hangs up. The first reason is the one that is said.
func (s *Session) close(code Code, reason string) {
	if s.over.Swap(true) {
		return
	}
	s.gateway.meters.closed(code)
	if s.events != nil {
		s.closeEvents(code, reason)
	} else {
		s.conn.last(closeFrame(code, reason))
	}
	s.hangUp()
}

// hangUp ends the connection when the client has had the time to do so.
func (s *Session) hangUp() {
	time.AfterFunc(closeWithin, func() { _ = s.conn.Close() }) //nolint:forbidigo // a limit of the socket
}

// idle says whether nothing waits for an answer.
func (s *Session) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending) == 0 && !s.working || s.closed
}

// end forgets the session.
func (s *Session) end() {
	s.mu.Lock()
	s.closed = true
	watching := s.watching
	s.watching = nil
	s.mu.Unlock()
	for _, w := range watching {
		w.topic.leave(s)
	}
	if s.ws != nil {
		_ = s.ws.CloseNow()
	} else {
		_ = s.conn.Close()
	}
	s.gateway.wheel.remove(s)
	s.gateway.registry.leave(s, s.principal().Subject)
	s.gateway.addresses.done(s.address)
}

// principal returns who is signed in.
func (s *Session) principal() Principal {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.who
}
