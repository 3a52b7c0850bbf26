package gateway

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// TestFramesNeverInterleave has shared pushes, pongs and large replies leave on
// many connections at once: whatever arrives is whole, and in order.
func TestFramesNeverInterleave(t *testing.T) {
	s := serve(t, nil)
	large := strings.Repeat("x", 100_000)
	s.cast.answer = func(req *clusterv1.Request) *clusterv1.Response {
		if strings.Contains(req.GetMethod(), "Watch") {
			return accountOf(req)
		}
		return reply(&marketplacev1.GetAccountResponse{Account: &marketplacev1.Account{UserId: large}}, 1)
	}
	const peers, pushes, reads = 20, 300, 6
	var begun, all sync.WaitGroup
	begun.Add(peers)
	for range peers {
		p := s.dial("ann")
		all.Go(func() {
			p.ask(1, "session/watch-broadcasts", "{}")
			p.hear()
			begun.Done()
			all.Go(func() {
				for range reads {
					if err := p.ws.Ping(t.Context()); err != nil {
						t.Error(err)
						return
					}
				}
			})
			for i := range reads {
				p.ask(2+i, "cloud-user/get-account", "{}")
			}
			last, answers := "e.1", 0
			for answers < reads || last != "e.301" {
				f, err := p.next()
				switch {
				case err != nil:
					t.Error(err)
					return
				case f.ID != nil:
					answers++
					if account, ok := f.Result["account"].(map[string]any); !ok || account["userId"] != large {
						t.Error("a reply is not whole")
					}
				case f.Params.Previous != last:
					t.Errorf("a push follows %s, not %s", f.Params.Previous, last)
				default:
					last = f.Params.Position
				}
			}
			p.ws.CloseRead(t.Context()) // answers pings until the others are done
		})
	}
	begun.Wait()
	for v := range uint64(pushes) {
		s.announce(v+2, "x")
	}
	all.Wait()
}

// announce is what the broadcasting actor says at a version.
func (s *server) announce(v uint64, text string) {
	said := &marketplacev1.WatchBroadcastsResponse{Broadcasts: []*marketplacev1.Broadcast{{Text: text}}}
	s.gateway.Hub().Push(&clusterv1.Push{
		Kind: "broadcast", Id: "marketplace", Method: messages.ByPath("session/watch-broadcasts").Name, Epoch: "e",
		Frame: &clusterv1.Frame{Version: v, Previous: v - 1, Payload: reply(said, v).GetPayload()},
	})
}

// note is as much as a push may say.
var note = strings.Repeat("y", 64<<10)

// TestSlowReader sends a client away that does not read a stream whose every
// item counts, and none that does.
func TestSlowReader(t *testing.T) {
	s := serve(t, nil)
	slow, fast := s.dial("ann"), s.dial("ann")
	for _, p := range []*peer{slow, fast} {
		p.ask(1, "session/watch-broadcasts", "{}")
		p.hear()
	}
	v := uint64(1)
	for s.gateway.Stats().Sessions == 2 && !s.someDead() { // until both sockets and the queue are full
		v++
		s.announce(v, note)
		if f := fast.hear(); f.Params.Previous != (position{"e", v - 1}).String() {
			t.Fatalf("the fast one hears a push behind %s", f.Params.Previous)
		}
	}
	if code := slow.closed(); code != CodeSlow {
		t.Errorf("the slow one is closed with %d, not %d", code, CodeSlow)
	}
	s.announce(v+1, note)
	fast.hear()
	eventually(t, "the slow one is forgotten", func() bool { return s.gateway.Stats().Sessions == 1 })
}

// TestSlowReaderOfViews lets a client be slow that watches a view: it hears the
// newest when it reads again, and never owes more than that.
func TestSlowReaderOfViews(t *testing.T) {
	s := serve(t, func(c *Config) { c.Limits.QueueBytes = 256 << 10 })
	p := s.dial("ann")
	p.ask(1, "cloud-user/watch-account", "{}")
	p.hear()
	const last = 300 // of 64 KiB each: more than the sockets and the queue hold
	for v := uint64(2); v <= last; v++ {
		f := frame(v, v-1)
		f.Payload = reply(&marketplacev1.WatchAccountResponse{Account: &marketplacev1.Account{UserId: note, Credit: int64(v)}}, v).GetPayload()
		s.push("ann", f)
	}
	heard, at := 0, ""
	for ; at != "e.300"; heard++ {
		at = p.hear().Params.Position
	}
	if heard >= last-1 {
		t.Errorf("it heard %d of %d views", heard, last-1)
	}
	p.ask(2, "session/get", "{}")
	if f := p.hear(); f.ID == nil {
		t.Errorf("the connection says %+v", f)
	}
	if c := s.gateway.Stats().Hub.Coalesced; c == 0 {
		t.Error("no view took the place of another")
	}
}

// someDead says whether a connection is being sent away.
func (s *server) someDead() bool {
	for _, session := range s.gateway.registry.all() {
		session.conn.mu.Lock()
		dead := session.conn.dead
		session.conn.mu.Unlock()
		if dead {
			return true
		}
	}
	return false
}

// handshake opens a socket as ann, by hand.
const handshake = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: " + Subprotocol + "\r\nAuthorization: Bearer ann\r\n\r\n"

// TestEarlyBytes reads what came in one piece with the handshake.
func TestEarlyBytes(t *testing.T) {
	s := serve(t, nil)
	nc, err := net.Dial("tcp", s.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	b := []byte(handshake)
	for _, id := range []string{"1", "2", "3"} {
		text := `{"jsonrpc":"2.0","id":` + id + `,"method":"cloud-user/get-account"}`
		b = append(append(b, 0x81, 0x80|byte(len(text)), 0, 0, 0, 0), text...) // masked with zeros
	}
	if _, err := nc.Write(b); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(nc)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v: %v", resp, err)
	}
	for range 3 {
		header := make([]byte, 2)
		if _, err := readFull(r, header); err != nil || header[0] != 0x81 {
			t.Fatalf("%x: %v", header, err)
		}
		n := int(header[1])
		if n == 126 {
			if _, err := readFull(r, header); err != nil {
				t.Fatal(err)
			}
			n = int(header[0])<<8 | int(header[1])
		}
		body := make([]byte, n)
		if _, err := readFull(r, body); err != nil || !strings.Contains(string(body), `"userId"`) {
			t.Fatalf("%s: %v", body, err)
		}
	}
}

func readFull(r *bufio.Reader, b []byte) (int, error) {
	n := 0
	for n < len(b) {
		m, err := r.Read(b[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// TestNothingAfterTheCloseFrame answers what came before a frame that is no
// request, and says nothing behind the close frame.
func TestNothingAfterTheCloseFrame(t *testing.T) {
	s := serve(t, nil)
	p := s.dial("ann")
	for i := range 20 {
		p.ask(i, "session/get", "{}")
	}
	p.send("rubbish")
	for i := range 20 {
		if f := p.hear(); f.ID == nil || *f.ID != i {
			t.Fatalf("answer %d is %+v", i, f)
		}
	}
	if f := p.hear(); f.Error == nil || f.Error.Code != codeParse {
		t.Fatalf("rubbish is answered with %+v", f)
	}
	if _, err := p.next(); websocket.CloseStatus(err) != websocket.StatusCode(CodeProtocol) {
		t.Errorf("ended with %v", err)
	}
}

// TestLast writes nothing behind a close frame.
func TestLast(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	other, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	one, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := &conn{}
	err = c.wrap(one, nil, &terms{limit: 1 << 20, traffic: &traffic{}})
	if err != nil {
		t.Fatal(err)
	}
	c.send([]byte("answer"))
	c.last([]byte("end"))
	c.send([]byte("push"))
	c.last([]byte("end"))
	_ = c.Close()
	if got, err := io.ReadAll(other); err != nil || string(got) != "answerend" {
		t.Errorf("written: %q, %v", got, err)
	}
}
