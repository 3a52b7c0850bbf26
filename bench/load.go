package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/threefoldtech/cloud-marketplace/messages"
)

// load is all connections of a measurement.
type load struct {
	conns     []*conn
	answered  atomic.Int64
	measuring atomic.Bool
	stopped   chan struct{}
	wait      sync.WaitGroup
	mu        sync.Mutex
	took      []time.Duration
	failure   error
}

// conn is a WebSocket that costs the generator as little as possible: frames
// are written in one piece and replies are read by their length alone.
type conn struct {
	net.Conn
	in   *bufio.Reader
	user string
	next uint64
	sent map[uint64]time.Time
	out  []byte
	took []time.Duration
}

// userName is the user whom a connection grants credit to.
func userName(n int) string { return "bench-" + strconv.Itoa(n) }

// dial upgrades a connection by hand.
func dial(ctx context.Context, address, token string, n int) (*conn, error) {
	nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	var key [16]byte
	_, _ = rand.Read(key[:])
	_, err = fmt.Fprintf(nc, "GET /ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Protocol: marketplace.jsonrpc.v1\r\nSec-WebSocket-Key: %s\r\nAuthorization: Bearer %s\r\n\r\n",
		address, base64.StdEncoding.EncodeToString(key[:]), token)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc, in: bufio.NewReaderSize(nc, 16<<10), user: userName(n), sent: map[uint64]time.Time{}}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("handshake: %s", resp.Status)
	}
	return c, nil
}

// request appends one grant. The mask is zero, so the payload is as it is.
func (c *conn) request() {
	c.next++
	c.sent[c.next] = time.Now()
	b := fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%d,"method":"cloud-operator/grant-credit","meta":{"commandId":"%s"},"params":{"userId":"%s","amount":"1","note":"bench"}}`,
		c.next, messages.NewCommandID(), c.user)
	c.out = append(c.out, 0x81)
	if len(b) < 126 {
		c.out = append(c.out, 0x80|byte(len(b)))
	} else {
		c.out = binary.BigEndian.AppendUint16(append(c.out, 0x80|126), uint16(len(b)))
	}
	c.out = append(append(c.out, 0, 0, 0, 0), b...)
}

func (c *conn) flush() error {
	_, err := c.Write(c.out)
	c.out = c.out[:0]
	return err
}

// frame reads one frame of the server. Pings are answered.
func (c *conn) frame() ([]byte, error) {
	head, err := c.in.Peek(2)
	if err != nil {
		return nil, err
	}
	code, size, skip := head[0]&0x0f, int(head[1]), 2
	if size == 126 {
		if head, err = c.in.Peek(4); err != nil {
			return nil, err
		}
		size, skip = int(binary.BigEndian.Uint16(head[2:])), 4
	}
	if _, err := c.in.Discard(skip); err != nil {
		return nil, err
	}
	body, err := c.in.Peek(size)
	if err != nil {
		return nil, err
	}
	body = bytes.Clone(body)
	_, err = c.in.Discard(size)
	switch code {
	case 8:
		return nil, fmt.Errorf("the server closed: %s", body)
	case 9:
		c.out = append(c.out, 0x8a, 0x80, 0, 0, 0, 0)
	}
	return body, err
}

var (
	idPrefix = []byte(`{"jsonrpc":"2.0","id":`)
	failed   = []byte(`"error"`)
)

// start sets every connection going, with depth requests in flight.
func (l *load) start(depth int) {
	for _, c := range l.conns {
		l.wait.Go(func() {
			if err := l.drive(c, depth); err != nil {
				l.mu.Lock()
				l.failure = errors.Join(l.failure, err)
				l.mu.Unlock()
			}
		})
	}
}

// drive answers every reply with a new request; those of one read leave together.
func (l *load) drive(c *conn, depth int) error {
	for range depth {
		c.request()
	}
	if err := c.flush(); err != nil {
		return err
	}
	for {
		body, err := c.frame()
		if err != nil {
			select {
			case <-l.stopped:
				return nil
			default:
				return err
			}
		}
		if !bytes.HasPrefix(body, idPrefix) {
			continue
		}
		if bytes.Contains(body, failed) {
			return fmt.Errorf("refused: %s", body)
		}
		rest := body[len(idPrefix):]
		id, err := strconv.ParseUint(string(rest[:bytes.IndexByte(rest, ',')]), 10, 64)
		if err != nil {
			return err
		}
		if l.measuring.Load() {
			c.took = append(c.took, time.Since(c.sent[id]))
		}
		delete(c.sent, id)
		l.answered.Add(1)
		c.request()
		if c.in.Buffered() < 64 {
			if err := c.flush(); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.EOF) {
				return err
			}
		}
	}
}

// stop ends the load and collects what was measured.
func (l *load) stop() error {
	close(l.stopped)
	for _, c := range l.conns {
		_ = c.Close()
	}
	l.wait.Wait()
	for _, c := range l.conns {
		l.took = append(l.took, c.took...)
	}
	slices.Sort(l.took)
	return l.failure
}

func (l *load) percentile(p float64) time.Duration {
	if len(l.took) == 0 {
		return 0
	}
	return l.took[int(float64(len(l.took)-1)*p)]
}
