package gateway

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// The connection relies on what coder/websocket does and does not promise. These
// tests hold a new version to it before anything else does.

// TestLibraryVersion is the version that was read and measured.
func TestLibraryVersion(t *testing.T) {
	text, err := os.ReadFile("../go.mod")
	if err != nil || !bytes.Contains(text, []byte("github.com/coder/websocket v1.8.15\n")) {
		t.Errorf("coder/websocket is another version: read what its Accept, Reader and control frames do, and run the benchmarks (%v)", err)
	}
}

// recorder is a net.Conn that keeps every Write apart.
type recorder struct {
	net.Conn
	mu     sync.Mutex
	writes [][]byte
}

func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writes = append(r.writes, bytes.Clone(b))
	return r.Conn.Write(b)
}

// recording hands the library a recorder, as hijacker hands it a conn.
type recording struct {
	http.ResponseWriter
	conn *recorder
}

func (h *recording) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, _, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.conn = &recorder{Conn: nc}
	return h.conn, frameBuffers(h.conn), nil
}

// TestLibraryControlFrames has every control frame leave in one Write of its own,
// however long: so they never interleave with frames that pass beside the library.
func TestLibraryControlFrames(t *testing.T) {
	type side struct {
		ws   *websocket.Conn
		conn *recorder
	}
	accepted, pongs := make(chan side, 1), make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := &recording{ResponseWriter: w}
		ws, err := websocket.Accept(h, r, &websocket.AcceptOptions{OnPongReceived: func(_ context.Context, b []byte) { pongs <- string(b) }})
		if err != nil {
			t.Error(err)
			return
		}
		accepted <- side{ws, h.conn}
		_, _, _ = ws.Reader(context.Background()) //nolint:contextcheck // the reader answers pings and closes, as long as there is a connection
	}))
	defer s.Close()
	client, _, err := websocket.Dial(t.Context(), s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	server := <-accepted
	heard := make(chan error, 1)
	go func() {
		_, _, err := client.Read(context.Background())
		heard <- err
	}()
	server.conn.take() // the handshake's
	if err := client.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := server.conn.Conn.Write(pingFrame); err != nil { // beside the library
		t.Fatal(err)
	}
	select {
	case <-pongs:
	case <-time.After(5 * time.Second):
		t.Fatal("the library does not tell of a pong that answers no ping of its own")
	}
	_ = server.ws.Close(4000, strings.Repeat("r", closeReasonMax))
	if err := <-heard; websocket.CloseStatus(err) != 4000 {
		t.Errorf("the client hears %v", err)
	}
	writes := server.conn.take()
	if len(writes) != 2 {
		t.Fatalf("%d writes for a pong and a close frame", len(writes))
	}
	for i, first := range []byte{0x8a, 0x88} {
		if b := writes[i]; b[0] != first || int(b[1]) != len(b)-2 {
			t.Errorf("write %d begins with %x and has %d bytes: not one whole control frame", i, b[:2], len(b))
		}
	}
}

// take returns the writes so far and forgets them.
func (r *recorder) take() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	writes := r.writes
	r.writes = nil
	return writes
}

// TestIdleConnectionOwnsNoBuffer has a connection that waits hold nothing to read
// into, and one that has read give back what it read into.
func TestIdleConnectionOwnsNoBuffer(t *testing.T) {
	s := serve(t, nil)
	p := s.dial("ann")
	p.ask(1, "session/get", `{}`)
	p.hear()
	eventually(t, "it waits without a buffer", func() bool {
		all := s.gateway.registry.all()
		return len(all) == 1 && all[0].conn.buf == nil && all[0].conn.queue == nil
	})
}

// TestStalled cuts what never ends: fragments without content, for which the
// library counts no bytes, and a message that stops in the middle.
func TestStalled(t *testing.T) {
	for name, then := range map[string]func(nc net.Conn){
		"empty fragments": func(nc net.Conn) {
			for {
				if _, err := nc.Write([]byte{0x00, 0x80, 0, 0, 0, 0}); err != nil {
					return
				}
			}
		},
		"silence": func(net.Conn) {},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(c *Config) { c.Limits.MessageWithin = 10 * time.Second })
			nc, r := s.upgrade()
			if _, err := nc.Write([]byte{0x01, 0x81, 0, 0, 0, 0, '{'}); err != nil { // a text begins
				t.Fatal(err)
			}
			go then(nc)
			eventually(t, "the message has begun", func() bool {
				all := s.gateway.registry.all()
				return len(all) == 1 && all[0].begunMS.Load() != 0
			})
			eventually(t, "it is cut", func() bool {
				s.clock.Advance(time.Second)
				return s.gateway.Stats().Sessions == 0
			})
			text, _ := io.ReadAll(r)
			if !bytes.Contains(text, closeFrame(CodeProtocol, "a message took too long")) {
				t.Errorf("it hears %q", text)
			}
		})
	}
}

// upgrade shakes hands by hand and returns the connection.
func (s *server) upgrade() (net.Conn, io.Reader) {
	s.t.Helper()
	nc, err := net.Dial("tcp", s.http.Listener.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = nc.Close() })
	if _, err := io.WriteString(nc, handshake); err != nil {
		s.t.Fatal(err)
	}
	r := bufio.NewReader(nc)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		s.t.Fatalf("%v: %v", resp, err)
	}
	return nc, r
}
