package redisstore_test

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"
)

// proxy stands between a store and its server. Told to, it lets a request
// through and cuts the connection instead of passing the answer on.
type proxy struct {
	addr   string
	server string
	cut    atomic.Bool
	cuts   atomic.Uint64
}

func startProxy(t *testing.T, server string) *proxy {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), server: server}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.pass(c)
		}
	}()
	return p
}

// cutAnswers cuts every connection at its next answer, until one was cut.
func (p *proxy) cutAnswers() { p.cut.Store(true) }
func (p *proxy) heal()       { p.cut.Store(false) }

func (p *proxy) pass(c net.Conn) {
	s, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", p.server)
	if err != nil {
		_ = c.Close()
		return
	}
	go func() {
		_, _ = io.Copy(s, c)
		_ = s.Close()
	}()
	b := make([]byte, 64<<10)
	for {
		n, err := s.Read(b)
		if n > 0 && p.cut.CompareAndSwap(true, false) {
			p.cuts.Add(1)
			break
		}
		if err != nil {
			break
		}
		if _, err := c.Write(b[:n]); err != nil {
			break
		}
	}
	_ = c.Close()
	_ = s.Close()
}
