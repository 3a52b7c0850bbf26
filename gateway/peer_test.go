package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// peer is a client.
type peer struct {
	t  *testing.T
	ws *websocket.Conn
}

func (s *server) dial(token string) *peer {
	s.t.Helper()
	o := &websocket.DialOptions{HTTPClient: s.http.Client(), Subprotocols: []string{Subprotocol}}
	if token != "" {
		o.HTTPHeader = http.Header{"Authorization": {"Bearer " + token}}
	}
	ws, _, err := websocket.Dial(s.t.Context(), s.http.URL+"/ws", o)
	if err != nil {
		s.t.Fatal(err)
	}
	ws.SetReadLimit(1 << 24)
	s.t.Cleanup(func() { _ = ws.CloseNow() })
	return &peer{s.t, ws}
}

func (p *peer) send(frame string) {
	p.t.Helper()
	if err := p.ws.Write(p.t.Context(), websocket.MessageText, []byte(frame)); err != nil {
		p.t.Error(err)
	}
}

// ask sends a request.
func (p *peer) ask(id int, method, params string) {
	p.t.Helper()
	p.send(`{"jsonrpc":"2.0","id":` + strconv.Itoa(id) + `,"method":"` + method + `","params":` + params + `}`)
}

// said is any frame of the server.
type said struct {
	ID     *int           `json:"id"`
	Method string         `json:"method"`
	Result map[string]any `json:"result"`
	Error  *struct {
		Code    int             `json:"code"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	} `json:"error"`
	Params struct {
		Subscription string          `json:"subscription"`
		Position     string          `json:"position"`
		Previous     string          `json:"previous"`
		End          bool            `json:"end"`
		Error        json.RawMessage `json:"error"`
		ReconnectMs  int64           `json:"reconnectMs"`
	} `json:"params"`
}

// reason is why a request was refused, "" when it was not.
func (f said) reason() string {
	if f.Error == nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(f.Error.Data), `"reason"`)
	parts := strings.SplitN(rest, `"`, 3)
	return parts[1]
}

// next returns the next frame, or the error that ended the connection.
func (p *peer) next() (said, error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Second)
	defer cancel()
	var f said
	_, b, err := p.ws.Read(ctx)
	if err != nil {
		return f, err
	}
	return f, json.Unmarshal(b, &f)
}

// hear returns the next frame.
func (p *peer) hear() said {
	p.t.Helper()
	f, err := p.next()
	if err != nil {
		p.t.Fatal(err)
	}
	return f
}

// closed reads until the connection ends and returns the code.
func (p *peer) closed() Code {
	p.t.Helper()
	for {
		if _, err := p.next(); err != nil {
			return Code(websocket.CloseStatus(err))
		}
	}
}
