package gateway

import (
	"bytes"
	"encoding/json"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// bare is the ceiling: no library, no goroutine and no buffer for a connection,
// no check of anything. What is said to all is framed once, and written by one
// write(2) for each listener.
type bare struct {
	threads        int // that write
	poll, listener int
	upgraded       map[int]bool

	mu        sync.Mutex
	listeners []int
	pending   []byte
	sweeping  bool
}

// serveBare serves until its input ends.
func serveBare(threads int) error {
	b := &bare{threads: threads, upgraded: map[int]bool{}}
	address, err := b.listen()
	if err != nil {
		return err
	}
	go b.run()
	say(address)
	return orders(func(_, args string) {
		var what publication
		if json.Unmarshal([]byte(args), &what) == nil {
			frame := serverFrame([]byte(broadcastPush(what.Text)))
			for range what.Times {
				b.publish(frame)
			}
		}
	})
}

func (b *bare) listen() (address string, err error) {
	// The standard library makes the socket; from then on nothing of it is used.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	at := netip.MustParseAddrPort(l.Addr().String())
	_ = l.Close()
	if b.listener, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0); err != nil {
		return "", err
	}
	_ = syscall.SetsockoptInt(b.listener, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if err := syscall.Bind(b.listener, &syscall.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
		return "", err
	}
	if err := syscall.Listen(b.listener, 4096); err != nil {
		return "", err
	}
	if b.poll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return "", err
	}
	return at.String(), b.add(b.listener)
}

func (b *bare) add(fd int) error {
	return syscall.EpollCtl(b.poll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)})
}

func (b *bare) run() {
	runtime.LockOSThread()
	events, buffer := make([]syscall.EpollEvent, 512), make([]byte, 64<<10)
	for {
		n, err := syscall.EpollWait(b.poll, events, -1)
		if err != nil && err != syscall.EINTR {
			return
		}
		for _, ev := range events[:max(n, 0)] {
			if int(ev.Fd) == b.listener {
				b.accept()
			} else {
				b.serve(int(ev.Fd), buffer)
			}
		}
	}
}

func (b *bare) accept() {
	for {
		fd, _, err := syscall.Accept4(b.listener, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
		_ = b.add(fd)
	}
}

const accepted = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: marketplace.jsonrpc.v1\r\n\r\n"

// serve answers what has come. Frames are small here, and come whole.
func (b *bare) serve(fd int, buffer []byte) {
	n, err := syscall.Read(fd, buffer)
	switch {
	case err == syscall.EAGAIN:
		return
	case err != nil || n == 0:
		b.forget(fd)
		return
	case !b.upgraded[fd]:
		b.upgraded[fd] = true
		_, _ = syscall.Write(fd, []byte(accepted))
		return
	}
	var out []byte
	for data := buffer[:n]; len(data) > 6; {
		// As appendMasked writes it: the mask is zero.
		size, skip := int(data[1]&0x7f), 6
		if size == 126 {
			size, skip = int(data[2])<<8|int(data[3]), 8
		}
		payload := data[skip : skip+size]
		data = data[skip+size:]
		rest, _ := bytes.CutPrefix(payload, oursReply)
		id, _ := number(rest)
		if id == listenID && bytes.Contains(payload, []byte(broadcasts)) {
			b.mu.Lock()
			b.listeners = append(b.listeners, fd)
			b.mu.Unlock()
		}
		out = append(out, serverFrame([]byte(`{"jsonrpc":"2.0","id":`+strconv.Itoa(id)+`,"result":{}}`))...)
	}
	_, _ = syscall.Write(fd, out)
}

func (b *bare) forget(fd int) {
	b.mu.Lock()
	for i, other := range b.listeners {
		if other == fd {
			last := len(b.listeners) - 1
			b.listeners[i] = b.listeners[last]
			b.listeners = b.listeners[:last]
			break
		}
	}
	b.mu.Unlock()
	delete(b.upgraded, fd)
	_ = syscall.Close(fd)
}

// publish writes a frame to all; frames that come meanwhile leave together.
func (b *bare) publish(frame []byte) {
	b.mu.Lock()
	b.pending = append(b.pending, frame...)
	first := !b.sweeping
	b.sweeping = true
	b.mu.Unlock()
	if first {
		go b.sweep()
	}
}

// sweep writes, on so many threads at once.
func (b *bare) sweep() {
	for {
		b.mu.Lock()
		frames, all := b.pending, slices.Clone(b.listeners)
		b.pending = nil
		b.sweeping = len(frames) > 0
		b.mu.Unlock()
		if len(frames) == 0 {
			return
		}
		var wait sync.WaitGroup
		for part := range slices.Chunk(all, max(1, (len(all)+b.threads-1)/b.threads)) {
			wait.Go(func() {
				for _, fd := range part {
					writeAll(fd, frames)
				}
			})
		}
		wait.Wait()
	}
}

// writeAll waits for a full socket in the crudest way: it happens next to never.
func writeAll(fd int, frames []byte) {
	for len(frames) > 0 {
		n, err := syscall.Write(fd, frames)
		switch {
		case err == syscall.EAGAIN:
			time.Sleep(time.Millisecond)
		case err != nil:
			return
		default:
			frames = frames[n:]
		}
	}
}

// serverFrame is a text frame as servers send it.
func serverFrame(payload []byte) []byte {
	b := []byte{0x81, byte(len(payload))}
	if len(payload) >= 126 {
		b = []byte{0x81, 126, byte(len(payload) >> 8), byte(len(payload))}
	}
	return append(b, payload...)
}
