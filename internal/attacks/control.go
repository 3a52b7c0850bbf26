package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/messages"
)

const (
	tick      = "tick "
	tickEvery = 250 * time.Millisecond
	callEvery = 50 * time.Millisecond
	// callWithin is how long a call of an honest client may take, on a machine
	// that is under attack.
	callWithin = 3 * time.Second
)

// controls are honest clients, who work while others attack: one has a WebSocket
// with two watches and calls, one a stream by HTTP. An operator says something
// now and then, which both must hear once and in order.
type controls struct {
	field *field
	quit  context.CancelFunc
	done  sync.WaitGroup

	mu      sync.Mutex
	said    int // by the operator
	heard   map[string]int
	calls   int
	slowest time.Duration
	asked   map[int]time.Time
	wrong   []string
}

// startControls has them work until stop.
func (f *field) startControls(ctx context.Context) (*controls, error) {
	life, quit := context.WithCancel(context.WithoutCancel(ctx))
	c := &controls{field: f, quit: quit, heard: map[string]int{}, asked: map[int]time.Time{}}
	socket, err := c.startSocket(life)
	if err == nil {
		err = c.startEvents(life)
	}
	if err != nil {
		quit()
		return nil, err
	}
	operator := f.visitor("cloud-operator")
	c.done.Go(func() {
		for clock.Pause(life, tickEvery) {
			a := operator.post(life, "cloud-operator/broadcast", messages.NewCommandID(), fmt.Sprintf(`{"severity":"SEVERITY_INFO","text":"%s%d"}`, tick, c.said+1))
			c.mu.Lock()
			if c.said++; a.status != http.StatusOK && life.Err() == nil {
				c.fault("the operator hears %s", a)
			}
			c.mu.Unlock()
		}
	})
	c.done.Go(func() { c.call(life, socket) })
	return c, nil
}

// fault notes what must not be. It is called with the lock.
func (c *controls) fault(format string, args ...any) {
	if len(c.wrong) < 5 {
		c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
	}
}

func (c *controls) startSocket(ctx context.Context) (*websocket.Conn, error) {
	v := c.field.visitor("cloud-user")
	ws, resp, err := websocket.Dial(ctx, "ws://"+c.field.server.At.API+"/ws", &websocket.DialOptions{
		HTTPClient: v.http, HTTPHeader: http.Header{"Authorization": {"Bearer " + v.token}}, Subprotocols: []string{"marketplace.jsonrpc.v1"},
	})
	if resp != nil && resp.Body != nil {
		_ = resp.Body.Close()
	}
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(1 << 20)
	for i, method := range []string{"session/watch-broadcasts", "cloud-user/watch-account"} {
		if err := ws.Write(ctx, websocket.MessageText, []byte(call(1_000_000+i, method, "{}"))); err != nil {
			return nil, err
		}
	}
	c.done.Go(func() {
		position := ""
		for {
			_, b, err := ws.Read(ctx)
			c.mu.Lock()
			if err != nil {
				if ctx.Err() == nil {
					c.fault("the socket ended: %v", err)
				}
				c.mu.Unlock()
				return
			}
			position = c.take(b, position)
			c.mu.Unlock()
		}
	})
	return ws, nil
}

// take reads a frame and returns the position of the broadcasts after it. It is
// called with the lock.
func (c *controls) take(b []byte, position string) string {
	var in struct {
		ID     *int            `json:"id"`
		Method string          `json:"method"`
		Error  json.RawMessage `json:"error"`
		Result struct {
			Position string `json:"position"`
		} `json:"result"`
		Params struct {
			Position string          `json:"position"`
			Previous string          `json:"previous"`
			End      bool            `json:"end"`
			Result   json.RawMessage `json:"result"`
		} `json:"params"`
	}
	switch err := json.Unmarshal(b, &in); { //nolint:forbidigo // a frame
	case err != nil || in.Error != nil || in.Params.End:
		c.fault("the socket hears %.200s", b)
	case in.ID != nil && *in.ID == 1_000_000:
		return in.Result.Position
	case in.ID != nil:
		if asked, ok := c.asked[*in.ID]; ok {
			c.slowest = max(c.slowest, now().Sub(asked))
			delete(c.asked, *in.ID)
		}
	case in.Method == "session/watch-broadcasts":
		if in.Params.Previous != position {
			c.fault("a push follows %s, not %s", in.Params.Previous, position)
		}
		c.hear("socket", in.Params.Result)
		return in.Params.Position
	}
	return position
}

// hear notes the ticks in a push. It is called with the lock.
func (c *controls) hear(who string, result []byte) {
	var pushed struct {
		Broadcasts []struct {
			Text string `json:"text"`
		} `json:"broadcasts"`
	}
	if err := json.Unmarshal(result, &pushed); err != nil { //nolint:forbidigo // a push
		c.fault("the %s hears %.200s", who, result)
	}
	for _, b := range pushed.Broadcasts {
		text, found := strings.CutPrefix(b.Text, tick)
		if !found {
			continue
		}
		if n, err := strconv.Atoi(text); err != nil || n != c.heard[who]+1 {
			c.fault("the %s hears %s after %d", who, text, c.heard[who])
		}
		c.heard[who]++
	}
}

// call asks again and again, and looks whether the answers come.
func (c *controls) call(ctx context.Context, ws *websocket.Conn) {
	for i := 0; clock.Pause(ctx, callEvery); i++ {
		c.mu.Lock()
		c.asked[i] = now()
		c.calls++
		for id, asked := range c.asked {
			if now().Sub(asked) > callWithin {
				c.fault("call %d has no answer", id)
				delete(c.asked, id)
			}
		}
		c.mu.Unlock()
		if err := ws.Write(ctx, websocket.MessageText, []byte(call(i, "cloud-user/get-account", "{}"))); err != nil {
			return // its reader tells
		}
	}
}

func (c *controls) startEvents(ctx context.Context) error {
	v := c.field.visitor("cloud-user")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.field.server.At.API+"/api/session/watch-broadcasts", http.NoBody)
	if err != nil {
		return err
	}
	req.Header = http.Header{"Accept": {"text/event-stream"}, "Authorization": {"Bearer " + v.token}}
	resp, err := v.http.Do(req)
	if err != nil {
		return err
	}
	c.done.Go(func() {
		defer func() { _ = resp.Body.Close() }()
		err := c.events(resp.Body)
		c.mu.Lock()
		defer c.mu.Unlock()
		if ctx.Err() == nil {
			c.fault("the stream by HTTP ended: %v", err)
		}
	})
	return nil
}

// outcomes are the lines of the honest clients.
func (c *controls) outcomes() []outcome {
	c.quit()
	c.done.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	o := outcome{attack: attack{name: "honest clients meanwhile", want: "no error, no gap"}, heard: "no error, no gap", took: c.slowest}
	for _, who := range []string{"socket", "stream by HTTP"} {
		if c.heard[who] < c.said-1 {
			c.fault("the %s heard %d of %d", who, c.heard[who], c.said)
		}
	}
	if len(c.wrong) > 0 {
		o.heard = strings.Join(c.wrong, "; ")
	}
	o.name = fmt.Sprintf("honest clients meanwhile: %d calls (the slowest beside), %d pushes to each of two", c.calls, c.said)
	return []outcome{o}
}

func (c *controls) stop() {
	c.quit()
	c.done.Wait()
}

// events reads a stream by HTTP.
func (c *controls) events(r io.Reader) error {
	lines := newLines(r)
	named := false
	for {
		line, err := lines()
		if err != nil {
			return err
		}
		switch data, found := strings.CutPrefix(line, "data: "); {
		case line == "":
			named = false
		case strings.HasPrefix(line, "event: "):
			named = true
		case found && !named:
			c.mu.Lock()
			c.hear("stream by HTTP", []byte(data))
			c.mu.Unlock()
		}
	}
}
