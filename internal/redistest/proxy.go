package redistest

import (
	"context"
	"io"
	"net"
	"sync/atomic"
)

// Proxy stands between a store and its server. Told to, it lets a request
// through and cuts the connection instead of passing the answer on.
type Proxy struct {
	// Addr is its host and port.
	Addr string
	// Cuts is how many answers it has cut off.
	Cuts atomic.Uint64

	server   string
	listener net.Listener
	cut      atomic.Bool
}

// StartProxy starts a proxy before a server.
func StartProxy(server string) (*Proxy, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{Addr: l.Addr().String(), server: server, listener: l}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.pass(c)
		}
	}()
	return p, nil
}

// CutNext has the next answer cut off, on whatever connection.
func (p *Proxy) CutNext() { p.cut.Store(true) }

// Heal has answers pass again.
func (p *Proxy) Heal() { p.cut.Store(false) }

// Close takes no more connections.
func (p *Proxy) Close() { _ = p.listener.Close() }

// pass carries one connection.
func (p *Proxy) pass(c net.Conn) {
	defer func() { _ = c.Close() }()
	s, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", p.server)
	if err != nil {
		return
	}
	defer func() { _ = s.Close() }()
	go func() {
		_, _ = io.Copy(s, c)
		_ = s.Close()
	}()
	b := make([]byte, 64<<10)
	for {
		n, err := s.Read(b)
		if n > 0 && p.cut.CompareAndSwap(true, false) {
			p.Cuts.Add(1)
			return
		}
		if err != nil {
			return
		}
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
	}
}
