package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coder/websocket"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
)

const (
	comeAgain = 100 * time.Millisecond
	// gulp is how many large answers a slow listener asks for and does not read.
	gulp = 120
	// sip is the socket's buffer of a slow listener, so that the server keeps the rest.
	sip = 4096
	// sulk is how long it reads nothing, unless it is sent away before.
	sulk = 15 * time.Second
)

// listener is one connection after the other, which goes on where the last ended.
type listener struct {
	crowd   *crowd
	user    *user
	address string // of its own
	slow    bool

	mu       sync.Mutex
	ws       *websocket.Conn
	position string // of the broadcasts; only its own goroutine writes it
	awake    bool   // a slow one reads, from now on

	begun       atomic.Bool
	last, shown atomic.Int64 // the broadcast heard last, the credit seen last
}

// current says whether all that was acknowledged has come.
func (l *listener) current() bool {
	granted := l.user.granted.Load() // 0: nothing was, this time
	return l.last.Load() == l.crowd.said.Load() && (granted == 0 || l.shown.Load() == granted)
}

// live comes back until ctx ends.
func (l *listener) live(ctx context.Context) {
	first := true
	for ctx.Err() == nil {
		if ws, err := l.dial(ctx); err == nil {
			l.set(ws)
			l.listen(ctx, ws, first)
			_ = ws.CloseNow()
			first = false
		}
		_ = clock.Pause(ctx, comeAgain)
	}
}

func (l *listener) dial(ctx context.Context) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(l.address)}}
	if l.slow {
		d.Control = func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, sip) })
		}
	}
	ws, resp, err := websocket.Dial(ctx, "ws://"+l.crowd.server.At.API+"/ws", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true}},
		HTTPHeader: http.Header{"Authorization": {"Bearer " + l.user.token}}, Subprotocols: []string{"marketplace.jsonrpc.v1"},
	})
	if resp != nil && resp.Body != nil {
		_ = resp.Body.Close()
	}
	if err == nil {
		ws.SetReadLimit(16 << 20)
	}
	return ws, err
}

func (l *listener) set(ws *websocket.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ws = ws
}

// cut ends the connection without a word, if there is one.
func (l *listener) cut() bool {
	l.mu.Lock()
	ws := l.ws
	l.ws = nil
	l.mu.Unlock()
	if ws == nil {
		return false
	}
	l.crowd.cuts.Add(1)
	_ = ws.CloseNow()
	return true
}

// wake has a slow listener read from now on.
func (l *listener) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.awake = true
}

func (l *listener) dozes() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.slow && !l.awake
}

// listen subscribes after the last position, and reads until the connection ends.
func (l *listener) listen(ctx context.Context, ws *websocket.Conn, first bool) {
	after := "{}"
	if l.position != "" {
		after = fmt.Sprintf(`{"after":%q}`, l.position)
	}
	for id, request := range []string{
		`"method":"session/watch-broadcasts","params":` + after,
		`"method":"cloud-user/watch-account","params":{}`,
	} {
		if ws.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%d,%s}`, id+1, request)) != nil {
			return
		}
	}
	for frames := 0; ; frames++ {
		if frames == 10 && l.dozes() && !l.doze(ctx, ws) {
			return
		}
		_, b, err := ws.Read(ctx)
		if err != nil {
			return
		}
		if !l.take(b, first) {
			return
		}
	}
}

// doze asks for much and reads nothing for a while; false when ctx ends meanwhile.
func (l *listener) doze(ctx context.Context, ws *websocket.Conn) bool {
	for i := range gulp {
		ask := fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%d,"method":"cloud-user/find-nodes","params":{"spec":{"vcpus":1,"memoryMib":256,"diskGib":1},"pageSize":200}}`, 100+i)
		if ws.Write(ctx, websocket.MessageText, ask) != nil {
			return true // reading will say so
		}
	}
	for waited := time.Duration(0); waited < sulk && l.dozes(); waited += comeAgain {
		if !clock.Pause(ctx, comeAgain) {
			return false
		}
	}
	return true
}

// frame is what this program looks at of one.
type frame struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Error  json.RawMessage `json:"error"`
	Result struct {
		Recovered bool   `json:"recovered"`
		Position  string `json:"position"`
	} `json:"result"`
	Params struct {
		Position string          `json:"position"`
		Previous string          `json:"previous"`
		End      bool            `json:"end"`
		Error    json.RawMessage `json:"error"`
		Result   struct {
			Broadcasts []struct {
				Text string `json:"text"`
			} `json:"broadcasts"`
			Account struct {
				GrantedTotal string `json:"grantedTotal"`
			} `json:"account"`
		} `json:"result"`
	} `json:"params"`
}

// take looks at what came. It returns false when the server has ended a stream
// that may be gone on with: the listener comes again.
func (l *listener) take(b []byte, first bool) bool {
	var f frame
	switch err := json.Unmarshal(b, &f); { //nolint:forbidigo // a frame
	case f.ID >= 100: // a large answer
	case bytes.Contains(b, []byte(`"STREAM_LOST"`)):
		l.crowd.ended.Add(1)
		return false
	case err != nil || f.Error != nil || f.Params.End:
		l.crowd.fault("%s hears %.300s", l.address, b)
	case f.ID == 1:
		if !first && !f.Result.Recovered {
			l.crowd.fault("%s was not recovered after %s", l.address, l.position)
		}
		l.position = f.Result.Position
		l.begun.Store(true)
	case f.Method == "session/watch-broadcasts":
		if f.Params.Previous != l.position {
			l.crowd.fault("%s is at %s, and a push follows %s", l.address, l.position, f.Params.Previous)
		}
		l.position = f.Params.Position
		for _, one := range f.Params.Result.Broadcasts {
			l.hear(one.Text)
		}
	case f.Method == "cloud-user/watch-account":
		n, err := strconv.ParseInt(f.Params.Result.Account.GrantedTotal, 10, 64)
		if err != nil {
			l.crowd.fault("%s hears %.300s", l.address, b)
		}
		l.shown.Store(n)
	}
	return true
}

// hear takes a broadcast, which must be the next.
func (l *listener) hear(text string) {
	n, err := strconv.ParseInt(text, 10, 64)
	if last := l.last.Load(); err != nil || n != last+1 {
		l.crowd.fault("%s hears %s after %d", l.address, text, last)
	}
	l.last.Store(n)
	l.crowd.heard.Add(1)
}
