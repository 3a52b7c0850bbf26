package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
)

// withinLimit is how long the server may take to notice what passes a limit of
// ten seconds: it looks every five.
const withinLimit = 20 * time.Second

// slow are attacks that hold what they have for as long as they can.
func slow() []attack {
	return []attack{
		{name: "slow: handshake, a byte at a time", want: "cut or 408", waits: true, do: slowHandshake},
		{name: "slow: connection that says nothing", want: "cut or 408", waits: true, do: silent},
		{name: "slow: never opens the session", want: "4504", waits: true, do: unopened(func(context.Context, *socket) {})},
		{name: "slow: pings, and never opens the session", want: "4504", waits: true, do: unopened(pinging)},
		{name: "slow: session/open, a byte at a time", want: "4504", waits: true, do: unopened(drip(head(final|opText, true, 1000), 100*time.Millisecond))},
		{name: "slow: message, a byte at a time", want: "4505", waits: true, do: opened(drip(head(final|opText, true, 1000), 500*time.Millisecond))},
		{name: "slow: head that claims 1 TiB, and bytes of it", want: "1009 or 4505", waits: true, do: opened(drip(head(final|opText, true, 1<<40), 500*time.Millisecond))},
		{name: "slow: empty continuations without end", want: "4505", waits: true, do: opened(continuing)},
		{name: "slow: half a head, then silence", want: "4001", waits: true, long: true, do: opened(func(_ context.Context, s *socket) { _, _ = s.Write([]byte{final | opText}) })},
		{name: "slow: never answers a ping", want: "4001", waits: true, long: true, do: opened(func(context.Context, *socket) {})},
		{name: "slow: body of a request, a byte at a time", want: "400 or cut", waits: true, do: slowBody(true)},
		{name: "slow: body of a request by nobody, a byte at a time", want: "401 or cut", waits: true, do: slowBody(false)},
	}
}

// drip returns what sends a beginning, and then a byte now and then.
func drip(first []byte, every time.Duration) func(context.Context, *socket) {
	return func(ctx context.Context, s *socket) { trickle(ctx, s, first, every) }
}

func trickle(ctx context.Context, to io.Writer, first []byte, every time.Duration) {
	_, err := to.Write(first)
	for err == nil && clock.Pause(ctx, every) {
		_, err = to.Write([]byte("x"))
	}
}

func pinging(ctx context.Context, s *socket) {
	for clock.Pause(ctx, 200*time.Millisecond) {
		if _, err := s.Write(frame(final|opPing, "x")); err != nil {
			return
		}
	}
}

// continuing sends fragments of nothing, thousands at once.
func continuing(ctx context.Context, s *socket) {
	_, err := s.Write(frame(opText, ""))
	many := []byte(strings.Repeat(string(frame(opMore, "")), 1000))
	for err == nil && clock.Pause(ctx, 5*time.Millisecond) {
		_, err = s.Write(many)
	}
}

// opened does something with a socket that is signed in until the server has enough.
func opened(do func(context.Context, *socket)) func(context.Context, *field) string {
	return func(ctx context.Context, f *field) string { return hold(ctx, f.visitor("cloud-user"), do) }
}

// unopened does something with a socket that is not signed in.
func unopened(do func(context.Context, *socket)) func(context.Context, *field) string {
	return func(ctx context.Context, f *field) string { return hold(ctx, f.visitor(), do) }
}

func hold(ctx context.Context, v *visitor, do func(context.Context, *socket)) string {
	s, said := v.handshake(ctx, nil)
	if s == nil {
		return said
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go do(ctx, s)
	within := withinLimit
	if v.field.options.long { // a ping comes after 25 s
		within = 50 * time.Second
	}
	return s.verdict(within)
}

// slowHandshake sends a request's head so slowly that it never ends.
func slowHandshake(ctx context.Context, f *field) string {
	c, err := f.visitor().dial(ctx)
	if err != nil {
		return err.Error()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go trickle(ctx, c, []byte("GET /ws HTTP/1.1\r\nHost: "+f.server.At.API+"\r\nX-Slow: "), 200*time.Millisecond)
	return ended(c)
}

func silent(ctx context.Context, f *field) string {
	c, err := f.visitor().dial(ctx)
	if err != nil {
		return err.Error()
	}
	return ended(c)
}

// ended waits for the server to hang up or to answer.
func ended(c net.Conn) string {
	defer func() { _ = c.Close() }()
	_ = c.SetReadDeadline(now().Add(withinLimit))
	var b [12]byte
	n, err := io.ReadFull(c, b[:])
	switch timeout, ok := err.(net.Error); { //nolint:errorlint // nobody wraps it
	case ok && timeout.Timeout():
		return fmt.Sprint("open after ", withinLimit)
	case n == len(b):
		return string(b[9:])
	}
	return "cut"
}

// slowBody sends a request whose body does not come.
func slowBody(known bool) func(context.Context, *field) string {
	return func(ctx context.Context, f *field) string {
		v := f.visitor("cloud-user")
		c, err := v.dial(ctx)
		if err != nil {
			return err.Error()
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		head := "POST /api/cloud-user/get-account HTTP/1.1\r\nHost: " + f.server.At.API + "\r\nContent-Length: 1000\r\n"
		if known {
			head += "Authorization: Bearer " + v.token + "\r\n"
		}
		go trickle(ctx, c, []byte(head+"\r\n"), 500*time.Millisecond)
		return ended(c)
	}
}
