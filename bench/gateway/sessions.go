package gateway

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/actors"
	real "github.com/threefoldtech/cloud-marketplace/gateway"
	"github.com/threefoldtech/cloud-marketplace/internal/telemetry"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// deaf is a connection whose other end says a few frames and then only listens.
// Its descriptor is /dev/null's, to which the gateway writes as to a socket's.
type deaf struct {
	null   int
	closed chan struct{}
	once   sync.Once
}

func (d *deaf) SyscallConn() (syscall.RawConn, error) { return deafRaw{d}, nil }
func (d *deaf) Read([]byte) (int, error)              { return 0, deafRaw{d}.Read(nil) }
func (d *deaf) Write(b []byte) (int, error)           { return syscall.Write(d.null, b) }
func (d *deaf) LocalAddr() net.Addr                   { return &net.TCPAddr{} }
func (d *deaf) RemoteAddr() net.Addr                  { return &net.TCPAddr{} }
func (d *deaf) SetDeadline(time.Time) error           { return nil }
func (d *deaf) SetReadDeadline(time.Time) error       { return nil }
func (d *deaf) SetWriteDeadline(time.Time) error      { return nil }
func (d *deaf) Close() error {
	d.once.Do(func() { close(d.closed) })
	return nil
}

// deafRaw gives the descriptor away.
type deafRaw struct{ *deaf }

func (r deafRaw) Control(f func(fd uintptr)) error {
	f(uintptr(r.null)) //nolint:gosec // a descriptor is not negative
	return nil
}

// Read waits until the connection is closed.
func (r deafRaw) Read(func(fd uintptr) bool) error {
	<-r.closed
	return net.ErrClosed
}

func (r deafRaw) Write(f func(fd uintptr) bool) error { return r.Control(func(fd uintptr) { f(fd) }) }

// upgrade is the ResponseWriter of a handshake without a socket.
type upgrade struct {
	header http.Header
	conn   *deaf
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
// listen, and says how long a broadcast takes from the push to its last write, as
// the gateway's own metric has it; or how long it takes to write the same bytes
// as often, by nothing but a loop.
func serveSessions(dir, count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	nulls := make([]int, 64) // sessions have descriptors of their own in life; some are enough that threads do not meet at one
	for i := range nulls {
		if nulls[i], err = syscall.Open("/dev/null", syscall.O_WRONLY|syscall.O_CLOEXEC, 0); err != nil {
			return err
		}
	}
	metrics := telemetry.NewMetrics()
	g := real.New(real.Config{
		Metrics: metrics,
		Limits:  real.Limits{PingAfter: 24 * time.Hour, Connections: 1 << 20, PerAddress: 1 << 20, HandshakeRate: 1 << 20, HandshakeBurst: 1 << 20},
		Identify: func(_ context.Context, shown real.Credential) (real.Principal, error) {
			return real.Principal{Subject: shown.Bearer, Roles: []optionsv1.Role{optionsv1.Role_ROLE_CLOUD_USER}, Expires: time.Now().Add(24 * time.Hour)}, nil
		},
	})
	return withActors(dir, g.Hub().Push, func(s *actors.System) error {
		g.Start(s)
		if err := listen(g, nulls, n); err != nil {
			return err
		}
		say("")
		return orders(func(order, _ string) {
			var took []time.Duration
			for range inARow {
				if order == "loop" {
					took = append(took, loop(nulls, n))
					continue
				}
				before, times := delivery(metrics, "session/watch-broadcasts")
				broadcast(s)
				after, now := before, times
				for tries := 0; now == times; tries++ {
					if tries == 600 {
						say(0) // the bench takes that for what it is: nothing was written
						return
					}
					time.Sleep(50 * time.Millisecond) // to look costs a processor
					after, now = delivery(metrics, "session/watch-broadcasts")
				}
				took = append(took, time.Duration((after-before)*1e9))
			}
			slices.Sort(took)
			say(took[len(took)/2])
		})
	})
}

// inARow is how many broadcasts follow each other for one figure, their median.
const inARow = 15

// delivery returns the sum and the count of the gateway's deliveries of a stream.
func delivery(m *telemetry.Metrics, method string) (seconds float64, times uint64) {
	page := httptest.NewRecorder()
	m.Handler().ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, line := range strings.Split(page.Body.String(), "\n") {
		name, value, _ := strings.Cut(line, " ")
		if !strings.Contains(name, `delivery_seconds_`) || !strings.HasSuffix(name, `{method="`+method+`"}`) {
			continue
		}
		number, _ := strconv.ParseFloat(value, 64)
		if strings.Contains(name, "_sum") {
			seconds = number
		} else if strings.Contains(name, "_count") {
			times = uint64(number)
		}
	}
	return seconds, times
}

// listen makes n sessions, and waits until all of them listen.
func listen(g *real.Gateway, nulls []int, n int) error {
	says := appendMasked(nil, 0x81, ours{}.listen())
	handler := g.WebSocket()
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
				handler.ServeHTTP(&upgrade{header: http.Header{}, conn: &deaf{null: nulls[i%len(nulls)], closed: make(chan struct{})}, says: says}, req)
			}
		})
	}
	wait.Wait()
	for deadline := time.Now().Add(3 * time.Minute); g.Stats().Hub.Subscriptions < uint64(n); time.Sleep(100 * time.Millisecond) { //nolint:gosec // a count
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d sessions listen", g.Stats().Hub.Subscriptions, n)
		}
	}
	time.Sleep(time.Second)
	return nil
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

// loop writes as many frames of the same size, and returns how long it took.
func loop(nulls []int, n int) time.Duration {
	frame := serverFrame([]byte(broadcastPush(text)))
	began := time.Now()
	for i := range n {
		_, _ = syscall.Write(nulls[i%len(nulls)], frame)
	}
	return time.Since(began)
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
				return nil, nil, fmt.Errorf("%s: nothing was written", order)
			}
			took[order] = append(took[order], d)
		}
	}
	figure := func(order string) map[string]float64 {
		return map[string]float64{"spread": percentile(took[order][1:], 0.5)} // the first is a rehearsal
	}
	return figure("broadcast"), figure("loop"), nil
}
