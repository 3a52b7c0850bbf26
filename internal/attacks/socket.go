package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// socket is a WebSocket without a library: it sends what no library would.
type socket struct {
	net.Conn
	r       *bufio.Reader
	reasons []string // of the refusals that came, each once
	results int      // how many answers were none
}

// The opcodes of RFC 6455, and the bit that ends a message.
const (
	opMore, opText, opBinary, opClose, opPing, opPong = 0, 1, 2, 8, 9, 10
	final                                             = 0x80
)

// handshake opens a socket at /ws, or at the path that stands among the headers
// as "path"; when it is not let in, it returns what came instead.
func (v *visitor) handshake(ctx context.Context, header map[string]string) (*socket, string) {
	c, err := v.dial(ctx)
	if err != nil {
		return nil, "cut"
	}
	fields := map[string]string{
		"Host": v.field.server.At.API, "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "marketplace.jsonrpc.v1",
	}
	if v.token != "" {
		fields["Authorization"] = "Bearer " + v.token
	}
	maps.Copy(fields, header)
	path := cmp.Or(fields["path"], "/ws")
	delete(fields, "path")
	var text strings.Builder
	text.WriteString("GET " + path + " HTTP/1.1\r\n")
	for name, value := range fields {
		fmt.Fprintf(&text, "%s: %s\r\n", name, value)
	}
	_, _ = c.Write([]byte(text.String() + "\r\n"))
	_ = c.SetReadDeadline(now().Add(10 * time.Second))
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		_ = c.Close()
		return nil, "cut"
	}
	if resp.StatusCode == http.StatusSwitchingProtocols { // what follows is no body
		return &socket{Conn: c, r: r}, "101"
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	_ = c.Close()
	return nil, answer{status: resp.StatusCode, body: string(body), err: err}.String()
}

// open opens a socket that must be let in.
func (v *visitor) open(ctx context.Context) (*socket, error) {
	s, said := v.handshake(ctx, nil)
	if s == nil {
		return nil, errors.New(said)
	}
	return s, nil
}

// frame returns a frame, masked with zeros, which is as good as any mask.
func frame(first byte, payload string) []byte {
	return append(head(first, true, uint64(len(payload))), payload...)
}

// head returns the head of a frame that claims a length.
func head(first byte, masked bool, length uint64) []byte {
	bit := byte(0)
	if masked {
		bit = 0x80
	}
	b := []byte{first}
	switch {
	case length < 126:
		b = append(b, bit|byte(length))
	case length < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, bit|126), uint16(length))
	default:
		b = binary.BigEndian.AppendUint64(append(b, bit|127), length)
	}
	if masked {
		b = append(b, 0, 0, 0, 0)
	}
	return b
}

// text sends a message.
func (s *socket) text(message string) { _, _ = s.Write(frame(final|opText, message)) }

// next reads a frame.
func (s *socket) next(by time.Time) (op byte, payload string, err error) {
	_ = s.SetReadDeadline(by)
	var h [8]byte
	if _, err := io.ReadFull(s.r, h[:2]); err != nil {
		return 0, "", err
	}
	op, n := h[0]&0xf, uint64(h[1]&0x7f)
	switch n {
	case 126:
		_, err = io.ReadFull(s.r, h[:2])
		n = uint64(binary.BigEndian.Uint16(h[:2]))
	case 127:
		_, err = io.ReadFull(s.r, h[:])
		n = binary.BigEndian.Uint64(h[:])
	}
	b := make([]byte, n)
	if err == nil {
		_, err = io.ReadFull(s.r, b)
	}
	return op, string(b), err
}

// take notes what a message says.
func (s *socket) take(message string) {
	if strings.Contains(message, `"method":`) {
		return // a push
	}
	reason := reasonIn(message)
	switch {
	case reason == "":
		s.results++
	case !slices.Contains(s.reasons, reason):
		s.reasons = append(s.reasons, reason)
	}
}

// verdict waits for the server to close, hangs up, and returns the code and the
// reasons of the refusals before it.
func (s *socket) verdict(within time.Duration) string {
	defer func() { _ = s.Close() }()
	return s.ending(within)
}

// ending is verdict for those who do not hang up.
func (s *socket) ending(within time.Duration) string {
	by, how := now().Add(within), "open"
	for how == "open" {
		op, payload, err := s.next(by)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return strings.TrimSpace(how + " " + strings.Join(s.reasons, " "))
		case err != nil:
			how = "cut"
		case op == opClose && len(payload) >= 2:
			how = code(payload)
		case op == opClose:
			how = "closed"
		case op == opText:
			s.take(payload)
		}
	}
	return strings.TrimSpace(how + " " + strings.Join(s.reasons, " "))
}

// code is the code of a close frame.
func code(payload string) string {
	return strconv.FormatUint(uint64(binary.BigEndian.Uint16([]byte(payload))), 10)
}

// answers reads so many answers and returns how many there were.
func (s *socket) answers(n int, within time.Duration) (answered int) {
	for by := now().Add(within); answered < n; {
		op, payload, err := s.next(by)
		if err != nil || op == opClose {
			return answered
		}
		if op == opText && !strings.Contains(payload, `"method":`) {
			s.take(payload)
			answered++
		}
	}
	return answered
}
