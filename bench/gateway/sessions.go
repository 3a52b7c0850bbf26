package gateway

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/actors"
	real "github.com/threefoldtech/cloud-marketplace/gateway"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// sink takes what is written to sessions that have no socket: the bytes go to
// /dev/null by a write(2) each, and the first and the last are timed.
type sink struct {
	null int
	want int64

	began       time.Time
	first, last atomic.Int64
	got         atomic.Int64
	done        chan struct{}
}

// arm begins to count deliveries.
func (s *sink) arm(want int) {
	s.began, s.want, s.done = time.Now(), int64(want), make(chan struct{})
	s.got.Store(0)
}

// delivered counts one.
func (s *sink) delivered() {
	switch s.got.Add(1) {
	case 1:
		s.first.Store(int64(time.Since(s.began)))
	case s.want:
		s.last.Store(int64(time.Since(s.began)))
		close(s.done)
	}
}

// deaf is a connection whose other end says a few frames and then only listens.
type deaf struct {
	sink   *sink
	closed chan struct{}
	once   sync.Once
}

// wait waits until the connection is closed.
func (d *deaf) wait() error {
	<-d.closed
	return net.ErrClosed
}

// write writes to /dev/null.
func (d *deaf) write(b []byte) (int, error) {
	n, err := syscall.Write(d.sink.null, b)
	d.sink.delivered()
	return n, err
}

// deafConn is the net.Conn of a deaf. It has no descriptor to give away, so the
// gateway writes to it as to TLS: on a goroutine of its own.
type deafConn struct{ d *deaf }

func (c deafConn) Read([]byte) (int, error)         { return 0, c.d.wait() }
func (c deafConn) Write(b []byte) (int, error)      { return c.d.write(b) }
func (c deafConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c deafConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c deafConn) SetDeadline(time.Time) error      { return nil }
func (c deafConn) SetReadDeadline(time.Time) error  { return nil }
func (c deafConn) SetWriteDeadline(time.Time) error { return nil }
func (c deafConn) Close() error {
	c.d.once.Do(func() { close(c.d.closed) })
	return nil
}

// upgrade is the ResponseWriter of a handshake without a socket.
type upgrade struct {
	header http.Header
	conn   deafConn
	says   []byte
}

func (u *upgrade) Header() http.Header         { return u.header }
func (u *upgrade) Write(b []byte) (int, error) { return len(b), nil }
func (u *upgrade) WriteHeader(int)             {}

// Hijack hands over the connection; what the client says has come already.
func (u *upgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	r := bufio.NewReader(bytes.NewReader(u.says))
	_, err := r.Peek(len(u.says))
	return u.conn, bufio.NewReadWriter(r, bufio.NewWriter(u.conn)), err
}

// serveSessions has the gateway serve sessions without sockets, all of which
// listen, and says how long a broadcast takes from the first to the last; or how
// long it takes to write the same bytes as often, by nothing but a loop.
func serveSessions(dir, count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	null, err := syscall.Open("/dev/null", syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	to := &sink{null: null}
	g := real.New(real.Config{
		Limits: real.Limits{PingAfter: 24 * time.Hour, Connections: 1 << 20, PerAddress: 1 << 20, HandshakeRate: 1 << 20, HandshakeBurst: 1 << 20},
		Identify: func(_ context.Context, shown real.Credential) (real.Principal, error) {
			return real.Principal{Subject: shown.Bearer, Roles: []optionsv1.Role{optionsv1.Role_ROLE_CLOUD_USER}, Expires: time.Now().Add(24 * time.Hour)}, nil
		},
	})
	return withActors(dir, g.Hub().Push, func(s *actors.System) error {
		g.Start(s)
		listen(g, to, n)
		say("")
		return orders(func(order, _ string) {
			switch order {
			case "broadcast":
				to.arm(n)
				broadcast(s)
			case "loop":
				to.arm(n)
				loop(to, n)
			}
			<-to.done
			say(to.last.Load() - to.first.Load())
		})
	})
}

// listen makes n sessions, and waits until all of them listen.
func listen(g *real.Gateway, to *sink, n int) {
	says := appendMasked(nil, 0x81, ours{}.listen())
	handler := g.WebSocket()
	to.arm(n) // the answers
	var wait sync.WaitGroup
	for part := range slices.Chunk(make([]struct{}, n), max(1, n/runtime.NumCPU()+1)) {
		wait.Go(func() {
			for i := range part {
				req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://127.0.0.1/ws", nil)
				if err != nil {
					return
				}
				req.Header = http.Header{
					"Authorization": {"Bearer " + userName(i)}, "Connection": {"Upgrade"}, "Upgrade": {"websocket"},
					"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-Websocket-Protocol": {real.Subprotocol},
				}
				handler.ServeHTTP(&upgrade{header: http.Header{}, conn: deafConn{&deaf{sink: to, closed: make(chan struct{})}}, says: says}, req)
			}
		})
	}
	wait.Wait()
	<-to.done
	time.Sleep(time.Second)
}

// broadcast has an operator say something to all.
func broadcast(s *actors.System) {
	m := messages.ByPath("cloud-operator/broadcast")
	body := &marketplacev1.SendBroadcastRequest{Text: text, Severity: marketplacev1.Severity_SEVERITY_INFO}
	payload, err := proto.Marshal(body)
	if err != nil {
		return
	}
	command := messages.NewCommandID()
	id, err := m.ActorID("operator", command, body)
	if err != nil {
		return
	}
	s.Call(&clusterv1.Request{Kind: m.Actor, Id: id, Method: m.Name, Payload: payload, Subject: "operator", CommandId: command}, time.Minute, func(*clusterv1.Response) {})
}

// loop writes as many frames of the same size.
func loop(to *sink, n int) {
	frame := serverFrame([]byte(broadcastPush(text)))
	for range n {
		_, _ = syscall.Write(to.null, frame)
		to.delivered()
	}
}

// measureSessions times a broadcast to sessions without sockets and the loop beside it.
func measureSessions(ctx context.Context, env *Environment, times int) (ours, bare map[string]float64, err error) {
	c, err := startPeer(ctx, *env, sessions)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = c.stop() }()
	took := map[string][]time.Duration{}
	for range times + 1 {
		for _, order := range []string{"broadcast", "loop"} {
			var d time.Duration
			if err := c.tell(order, nil); err != nil {
				return nil, nil, err
			}
			if err := c.hear(&d); err != nil {
				return nil, nil, err
			}
			if d <= 0 {
				return nil, nil, fmt.Errorf("%s: the last came before the first", order)
			}
			took[order] = append(took[order], d)
		}
	}
	figure := func(order string) map[string]float64 {
		return map[string]float64{"spread": percentile(took[order][1:], 0.5)} // the first is a rehearsal
	}
	return figure("broadcast"), figure("loop"), nil
}
