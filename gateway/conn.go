package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// conn is the net.Conn that coder/websocket gets. The library shakes hands,
// reads, and answers control frames; whole frames of ours pass beside it, under
// one lock, so that frames never interleave. An idle conn owns no buffer.
type conn struct {
	// What a push touches stands together, in one line of the processor's cache:
	// with many connections, fetching that is what a push costs beside the write.
	mu       sync.Mutex
	draining bool // a writer goroutine exists
	closing  bool // a close frame was the last that is said
	dead     bool
	raw      syscall.RawConn // nil: what is written is encrypted first, and always waits
	fd       int             // of the socket that raw reads
	terms    *terms
	net.Conn
	queue   []segment
	owed    int // bytes that the socket has not taken: those of the queue, and
	writing int // those that are being written

	// The reader's own.
	early []byte // what net/http had read ahead
	buf   *[]byte
	data  []byte
	err   error
	fill  func(fd uintptr) bool
}

// terms are what connections of one kind have in common.
type terms struct {
	limit   int    // bytes that a slow reader may owe
	slow    []byte // what tells a slow reader that it is sent away
	onSlow  func() // counts it
	traffic *traffic
	events  bool // what is said has the form of events
}

// segment is frames that wait for the socket. Of those about one view, only the
// newest is kept.
type segment struct {
	view   *topic // nil: everything counts
	frames []byte
	lent   bool // somebody uses the bytes again: what has to wait is copied
}

// waiting is the segment as it may wait, from a byte on.
func (s segment) waiting(from int) segment {
	s.frames = s.frames[from:]
	if s.lent {
		s.frames, s.lent = bytes.Clone(s.frames), false
	}
	return s
}

// Buffers are taken when there is something to read and given back when it is read.
const bufferSize = 4096

var buffers = sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}

// wrap begins with a connection. One that hides its file descriptor, as TLS
// does, is read and written as any net.Conn, by goroutines that wait.
func (c *conn) wrap(nc net.Conn, early []byte, terms *terms) error {
	c.Conn, c.terms, c.early = nc, terms, append([]byte(nil), early...)
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	c.raw, c.fill = raw, c.readInto
	return raw.Control(func(fd uintptr) { c.fd = int(fd) })
}

// Read waits without a buffer and takes one when the socket has something.
func (c *conn) Read(p []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(p, c.early)
		if c.early = c.early[n:]; len(c.early) == 0 {
			c.early = nil
		}
		return n, nil
	}
	if c.raw == nil {
		return c.Conn.Read(p)
	}
	if len(c.data) == 0 {
		if err := c.raw.Read(c.fill); err != nil {
			return 0, err
		}
		if c.err != nil {
			return 0, c.err
		}
	}
	n := copy(p, c.data)
	if c.data = c.data[n:]; len(c.data) == 0 {
		buffers.Put(c.buf)
		c.buf, c.data = nil, nil
	}
	return n, nil
}

// readInto reads what is there; false means wait.
func (c *conn) readInto(fd uintptr) bool {
	b, ok := buffers.Get().(*[]byte)
	if !ok {
		return true
	}
	for {
		n, err := syscall.Read(int(fd), (*b)[:cap(*b)])
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			buffers.Put(b)
			return false
		case err != nil:
			c.err = err
		case n == 0:
			c.err = net.ErrClosed
		default:
			c.buf, c.data = b, (*b)[:n:n]
			return true
		}
		buffers.Put(b)
		return true
	}
}

// Write is the library's way out: control frames, each whole.
func (c *conn) Write(p []byte) (int, error) {
	c.lend(p)
	return len(p), nil
}

// SetWriteDeadline is not the library's to set: writes here do not wait.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// attempt writes what the socket takes at once. It is called with the lock, under
// which Close closes: so the descriptor is the connection's own. A RawConn would
// see to the same, at a tenth of what a push costs.
func (c *conn) attempt(b []byte) (int, error) {
	n, err := syscall.Write(c.fd, b)
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) {
		err = nil
	}
	return max(n, 0), err
}

// Close closes the connection, when nobody writes to its descriptor.
func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.close()
}

// close is called with the lock. TLS says goodbye first, which may wait.
func (c *conn) close() error {
	c.dead = true
	if c.raw == nil {
		go func() { _ = c.Conn.Close() }()
		return nil
	}
	return c.Conn.Close()
}

// send writes whole frames without waiting; b is shared and not changed. What
// the socket does not take is queued, and only then does a writer exist.
func (c *conn) send(b []byte) { c.sendView(nil, b) }

// lend is send for bytes that their owner uses again.
func (c *conn) lend(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.write(segment{frames: b, lent: true})
}

// sendView is send for the newest view of a STATE topic, which takes the place of
// one that still waits: a slow reader hears the newest of each, not all of them.
// It says whether one was replaced.
func (c *conn) sendView(view *topic, b []byte) (replaced bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.write(segment{view: view, frames: b})
}

// settle keeps what waits of a view where it is: what is shown from now on has
// its place behind what the session begins with.
func (c *conn) settle(view *topic) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.queue {
		if c.queue[i].view == view {
			c.queue[i].view = nil
		}
	}
}

// owes says whether something waits for the socket.
func (c *conn) owes() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.owed > 0
}

// last is send for a close frame: nothing is said after it.
func (c *conn) last(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.write(segment{frames: b})
	c.closing = true
}

// write is called with the lock.
func (c *conn) write(s segment) (replaced bool) {
	switch {
	case c.dead || c.closing:
		return false
	case c.draining:
		return c.enqueue(s)
	}
	n, err := 0, error(nil)
	if c.raw != nil {
		n, err = c.attempt(s.frames)
		c.terms.traffic.sent.Add(1)
		c.terms.traffic.sentBytes.Add(uint64(n)) //nolint:gosec // a count
	}
	switch {
	case err != nil:
		_ = c.close()
	case n < len(s.frames):
		c.draining = true
		c.queue = append(c.queue, segment{frames: s.frames, lent: s.lent}.waiting(n))
		c.owe(len(s.frames) - n)
		go c.drain()
	}
	return false
}

// enqueue is called with the lock.
func (c *conn) enqueue(s segment) (replaced bool) {
	if s.view != nil {
		for i := range c.queue {
			if old := &c.queue[i]; old.view == s.view {
				c.owe(len(s.frames) - len(old.frames))
				old.frames = s.frames
				return true
			}
		}
	}
	if c.owed+len(s.frames) <= c.terms.limit {
		c.queue = append(c.queue, s.waiting(0))
		c.owe(len(s.frames))
		return false
	}
	// What is being written ends at a frame's end; what waits is dropped, and the
	// client comes back for it.
	c.owe(len(c.terms.slow) + c.writing - c.owed)
	c.queue, c.dead = append(c.queue[:0], segment{frames: c.terms.slow}), true
	c.terms.onSlow()
	_ = c.Conn.SetWriteDeadline(time.Now().Add(2 * time.Second)) //nolint:forbidigo // a deadline of the socket
	return false
}

// owe counts bytes that wait, or do not any more.
func (c *conn) owe(n int) {
	c.owed += n
	c.terms.traffic.owed.Add(int64(n))
}

const (
	// writeTimeout bounds how long a reader may take for what is written at once.
	writeTimeout = 10 * time.Second
	// writeAtOnce is how much that is, about: little enough for a slow line.
	writeAtOnce = 64 << 10
)

// batch takes what is to be written at once from the queue. It is called with the lock.
func (c *conn) batch() net.Buffers {
	n := 0
	for n < len(c.queue) && (n == 0 || c.writing < writeAtOnce) {
		c.writing += len(c.queue[n].frames)
		n++
	}
	batch := make(net.Buffers, n)
	for i := range batch {
		batch[i] = c.queue[i].frames
	}
	c.queue = slices.Delete(c.queue, 0, n)
	return batch
}

// written notes what became of a batch. It is called with the lock.
func (c *conn) written(err error) {
	if err != nil {
		if !c.dead && errors.Is(err, os.ErrDeadlineExceeded) { // else it was told, or has gone
			c.terms.onSlow()
		}
		c.queue = nil
		c.owe(c.writing - c.owed)
		_ = c.close()
	}
	c.owe(-c.writing)
	c.writing = 0
}

// drain writes the queue until it is empty; the connection owns it.
func (c *conn) drain() {
	for {
		c.mu.Lock()
		batch := c.batch()
		if len(batch) == 0 {
			c.queue, c.draining = nil, false
			if c.dead {
				_ = c.close()
			}
			c.mu.Unlock()
			return
		}
		if !c.dead {
			_ = c.Conn.SetWriteDeadline(time.Now().Add(writeTimeout)) //nolint:forbidigo // a deadline of the socket
		}
		c.mu.Unlock()
		n, err := batch.WriteTo(c.Conn)
		c.terms.traffic.sent.Add(1)
		c.terms.traffic.sentBytes.Add(uint64(n)) //nolint:gosec // a count
		c.mu.Lock()
		c.written(err)
		if !c.dead {
			_ = c.Conn.SetWriteDeadline(time.Time{})
		}
		c.mu.Unlock()
	}
}

// hijacker hands the library the conn of a session, and buffers that hold one control frame.
type hijacker struct {
	http.ResponseWriter
	terms *terms
	conn  *conn
}

// Hijack takes the connection over.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	early, err := rw.Peek(rw.Reader.Buffered())
	if err == nil {
		err = h.conn.wrap(nc, early, h.terms)
	}
	if err != nil {
		_ = nc.Close()
		return nil, nil, err
	}
	return h.conn, frameBuffers(h.conn), nil
}

// frameBuffers are the library's: it reads what it needs of a header, and 128
// bytes hold any control frame, so that each leaves in one Write.
func frameBuffers(c net.Conn) *bufio.ReadWriter {
	return bufio.NewReadWriter(bufio.NewReaderSize(c, 16), bufio.NewWriterSize(c, 128))
}

var _ http.Hijacker = (*hijacker)(nil)
