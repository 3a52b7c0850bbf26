package gateway

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// engine is the load: all clients of a measurement, driven from one epoll loop
// on one thread, so that what they cost is small and the same for every server.
//
// # Concurrency
//
// Clients and callbacks belong to the loop. do and call bring a function there.
type engine struct {
	to      *syscall.SockaddrInet4
	speaks  dialect
	poll    int
	wake    [2]int // a pipe
	buffer  []byte
	clients []*client // by file descriptor
	began   time.Time
	ended   chan struct{}

	// What the measurement wants to hear, all on the loop. ready comes once for
	// a client, when what it said first was answered.
	ready  func(c *client)
	heard  func(c *client, m message, at time.Duration)
	missed func(c *client, why error)

	mu    sync.Mutex
	calls []func()
	over  bool
}

// newEngine starts a loop whose clients connect to an address and speak a dialect.
func newEngine(address string, speaks dialect) (*engine, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	e := &engine{
		to: &syscall.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}, speaks: speaks,
		buffer: make([]byte, 256<<10), began: time.Now(), ended: make(chan struct{}),
	}
	if e.poll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	if err := syscall.Pipe2(e.wake[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
		return nil, err
	}
	if err := e.watch(e.wake[0], syscall.EPOLL_CTL_ADD, syscall.EPOLLIN); err != nil {
		return nil, err
	}
	go e.run()
	return e, nil
}

// now is the time that everything is measured in.
func (e *engine) now() time.Duration { return time.Since(e.began) }

// do runs f on the loop.
func (e *engine) do(f func()) {
	e.mu.Lock()
	e.calls = append(e.calls, f)
	first := len(e.calls) == 1
	e.mu.Unlock()
	if first {
		_, _ = syscall.Write(e.wake[1], []byte{0}) // a full pipe wakes, too
	}
}

// call is do that waits.
func (e *engine) call(f func()) {
	done := make(chan struct{})
	e.do(func() {
		f()
		close(done)
	})
	<-done
}

// close resets every connection and ends the loop.
func (e *engine) close() {
	e.do(func() {
		for _, c := range e.clients {
			if c != nil {
				e.drop(c)
			}
		}
		e.over = true
	})
	<-e.ended
	_ = syscall.Close(e.poll)
	_ = syscall.Close(e.wake[0])
	_ = syscall.Close(e.wake[1])
}

func (e *engine) watch(fd, how int, events uint32) error {
	return syscall.EpollCtl(e.poll, how, fd, &syscall.EpollEvent{Events: events, Fd: int32(fd)})
}

func (e *engine) run() {
	runtime.LockOSThread()
	defer close(e.ended)
	events := make([]syscall.EpollEvent, 1024)
	for !e.over {
		n, err := syscall.EpollWait(e.poll, events, -1)
		if err != nil && err != syscall.EINTR {
			return
		}
		for _, ev := range events[:max(n, 0)] {
			if int(ev.Fd) == e.wake[0] {
				e.runCalls()
				continue
			}
			e.serve(int(ev.Fd), ev.Events)
		}
	}
}

func (e *engine) runCalls() {
	var rubbish [64]byte
	_, _ = syscall.Read(e.wake[0], rubbish[:])
	e.mu.Lock()
	calls := e.calls
	e.calls = nil
	e.mu.Unlock()
	for _, f := range calls {
		f()
	}
}

// serve does what a socket is ready for.
func (e *engine) serve(fd int, events uint32) {
	c := e.clientOf(fd)
	if c == nil {
		return
	}
	if events&syscall.EPOLLOUT != 0 {
		e.writable(c)
	}
	if e.clientOf(fd) == c && events&(syscall.EPOLLIN|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
		e.readable(c)
	}
}

func (e *engine) clientOf(fd int) *client {
	if fd < len(e.clients) {
		return e.clients[fd]
	}
	return nil
}

// dial begins to connect a client; its first frames follow the handshake. It
// is called on the loop.
func (e *engine) dial(c *client) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	*c = client{fd: fd, index: c.index, first: c.first, wants: len(c.first), dialled: e.now(), sent: c.sent}
	c.out = append(c.out, e.handshake()...)
	if err := syscall.Connect(fd, e.to); err != nil && err != syscall.EINPROGRESS {
		_ = syscall.Close(fd)
		return err
	}
	for len(e.clients) <= fd {
		e.clients = append(e.clients, nil)
	}
	e.clients[fd] = c
	return e.watch(fd, syscall.EPOLL_CTL_ADD, syscall.EPOLLIN|syscall.EPOLLOUT)
}

func (e *engine) handshake() string {
	host := net.JoinHostPort(netip.AddrFrom4(e.to.Addr).String(), fmt.Sprint(e.to.Port))
	return "GET " + e.speaks.path() + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: " + e.speaks.subprotocol() + "\r\n\r\n"
}

// drop resets a connection: no TIME_WAIT stays behind, and the server sees a sudden loss.
func (e *engine) drop(c *client) {
	e.clients[c.fd] = nil
	_ = syscall.SetsockoptLinger(c.fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
	_ = syscall.Close(c.fd)
}

// lose drops a connection that ended by itself.
func (e *engine) lose(c *client, why error) {
	e.drop(c)
	if e.missed != nil {
		e.missed(c, why)
	}
}
