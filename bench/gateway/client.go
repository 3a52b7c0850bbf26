package gateway

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"
)

// client is one WebSocket connection of the load.
type client struct {
	fd      int
	index   int
	first   [][]byte // what it says first, one frame each
	wants   int      // answers to that which have not come
	dialled time.Duration
	open    bool // the handshake is over
	out     []byte
	left    []byte          // the beginning of a frame
	sent    []time.Duration // when each request in flight was sent
}

// say appends a frame to what leaves next. The mask is zero, so that a payload
// is as it is.
func (c *client) say(payload []byte) { c.out = appendMasked(c.out, 0x81, payload) }

func appendMasked(to []byte, kind byte, payload []byte) []byte {
	to = append(to, kind)
	switch n := len(payload); {
	case n < 126:
		to = append(to, 0x80|byte(n))
	case n < 1<<16:
		to = binary.BigEndian.AppendUint16(append(to, 0x80|126), uint16(n))
	default:
		to = binary.BigEndian.AppendUint64(append(to, 0x80|127), uint64(n))
	}
	return append(append(to, 0, 0, 0, 0), payload...)
}

// flush writes what was said; what the socket does not take follows when it does.
func (e *engine) flush(c *client) {
	if len(c.out) == 0 {
		return
	}
	n, err := syscall.Write(c.fd, c.out)
	if err != nil && err != syscall.EAGAIN {
		e.lose(c, err)
		return
	}
	c.out = c.out[:copy(c.out, c.out[max(n, 0):])]
	if len(c.out) > 0 {
		_ = e.watch(c.fd, syscall.EPOLL_CTL_MOD, syscall.EPOLLIN|syscall.EPOLLOUT)
	}
}

// writable goes on writing, the handshake first.
func (e *engine) writable(c *client) {
	e.flush(c)
	if e.clientOf(c.fd) == c && len(c.out) == 0 {
		c.out = nil
		_ = e.watch(c.fd, syscall.EPOLL_CTL_MOD, syscall.EPOLLIN)
	}
}

// readable takes all that has come.
func (e *engine) readable(c *client) {
	for {
		n, err := syscall.Read(c.fd, e.buffer)
		switch {
		case err == syscall.EAGAIN:
			return
		case err != nil:
			e.lose(c, err)
			return
		case n == 0:
			e.lose(c, io.EOF)
			return
		}
		data := e.buffer[:n]
		if len(c.left) > 0 {
			c.left = append(c.left, data...)
			data = c.left
		}
		used, err := e.take(c, data)
		if err != nil {
			e.lose(c, err)
			return
		}
		if e.clientOf(c.fd) != c {
			return
		}
		c.left = append(c.left[:0], data[used:]...)
		if len(c.left) == 0 {
			c.left = nil
		}
		e.flush(c)
		if n < len(e.buffer) {
			return
		}
	}
}

var (
	endOfHead = []byte("\r\n\r\n")
	switching = []byte("HTTP/1.1 101")
	errClosed = errors.New("the server closed")
)

// take handles the frames that are whole, and says how many bytes those were.
func (e *engine) take(c *client, data []byte) (used int, err error) {
	at := e.now()
	if !c.open {
		end := bytes.Index(data, endOfHead)
		if end < 0 {
			return 0, nil
		}
		if !bytes.HasPrefix(data, switching) {
			return 0, fmt.Errorf("handshake: %.80q", data)
		}
		used, c.open = end+len(endOfHead), true
		for _, f := range c.first {
			c.say(f)
		}
		if c.wants == 0 {
			e.ready(c)
		}
	}
	for e.clientOf(c.fd) == c {
		kind, payload, size := frame(data[used:])
		if size == 0 {
			break
		}
		used += size
		switch kind {
		case 1:
			err = e.speaks.messages(payload, func(m message) error { return e.hear(c, m, at) })
		case 8:
			err = fmt.Errorf("%w: %d %s", errClosed, binary.BigEndian.Uint16(payload), payload[2:])
		case 9:
			c.out = appendMasked(c.out, 0x8a, payload)
		}
		if err != nil {
			return used, err
		}
	}
	return used, nil
}

// hear handles one message: the answers to what was said first, then all.
func (e *engine) hear(c *client, m message, at time.Duration) error {
	switch {
	case m.kind == refusal:
		return fmt.Errorf("refused: %.200s", m.body)
	case m.kind == ping:
		c.say(e.speaks.pong())
	case m.kind == reply && c.wants > 0:
		if c.wants--; c.wants == 0 {
			e.ready(c)
		}
	case e.heard != nil:
		e.heard(c, m, at)
	}
	return nil
}

// frame returns the first frame, or a size of 0 when it is not whole.
func frame(data []byte) (kind byte, payload []byte, size int) {
	if len(data) < 2 {
		return 0, nil, 0
	}
	n, head := int(data[1]), 2
	switch {
	case n == 126 && len(data) >= 4:
		n, head = int(binary.BigEndian.Uint16(data[2:])), 4
	case n == 127 && len(data) >= 10:
		n, head = int(binary.BigEndian.Uint64(data[2:])), 10
	case n >= 126:
		return 0, nil, 0
	}
	if len(data) < head+n {
		return 0, nil, 0
	}
	return data[0] & 0x0f, data[head : head+n], head + n
}
