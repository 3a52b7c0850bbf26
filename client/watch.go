package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/messages"
	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
)

// Event is something that a watch tells.
type Event struct {
	// Result is the stream's response as JSON; nil when the event tells something else.
	Result json.RawMessage
	// Position is where the stream is after the event; a watch may begin after it.
	Position string
	// Begun says that the watch begins, or begins again after a lost connection.
	Begun bool
	// Recovered says of a beginning that nothing was missed before it.
	Recovered bool
	// End says why the watch is over; there are no more events.
	End error
}

// Decode reads the event's result.
func (e Event) Decode(m proto.Message) error {
	return (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(e.Result, m)
}

// watch is a subscription that outlives connections.
type watch struct {
	method   string
	params   json.RawMessage
	tell     func(Event)
	views    bool   // every push is the whole truth, whatever came before
	id       uint64 // of the request that subscribed last
	name     string // the server's for the subscription, once it said
	position string
}

// Watch hears a stream, from a position on or, with "", from now. stop ends it.
func (c *Client) Watch(method string, req proto.Message, after string, tell func(Event)) (stop func(), err error) {
	params, err := messages.AppendJSON(nil, req)
	if err != nil {
		return nil, fmt.Errorf("encode the request of %s: %w", method, err)
	}
	return c.WatchRaw(method, params, after, tell)
}

// WatchRaw is Watch with JSON.
func (c *Client) WatchRaw(method string, params json.RawMessage, after string, tell func(Event)) (stop func(), err error) {
	known := messages.ByPath(method)
	w := &watch{method: method, params: params, tell: tell, position: after}
	w.views = known != nil && known.Stream == optionsv1.Stream_STREAM_STATE
	c.mu.Lock()
	if c.failure != nil {
		c.mu.Unlock()
		return nil, c.failure
	}
	b, ws := c.subscribe(w), c.ws
	c.mu.Unlock()
	if ws != nil {
		c.write(ws, b)
	}
	return func() { c.stop(w) }, nil
}

// subscribe gives a watch a number and returns its request. It is called with the lock.
func (c *Client) subscribe(w *watch) []byte {
	c.next++
	w.id, w.name = c.next, ""
	c.watches[w.id] = w
	params := w.params
	if w.position != "" {
		members := map[string]json.RawMessage{}
		if json.Unmarshal(params, &members) == nil { //nolint:forbidigo // one member is added to JSON of the caller's
			members["after"] = json.RawMessage(`"` + w.position + `"`)
			if b, err := json.Marshal(members); err == nil { //nolint:forbidigo // as above
				params = b
			}
		}
	}
	return frame(w.id, w.method, "", params)
}

func (c *Client) stop(w *watch) {
	c.mu.Lock()
	delete(c.watches, w.id)
	ws, id := c.ws, w.id
	c.mu.Unlock()
	if ws != nil {
		c.write(ws, fmt.Appendf(nil, `{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":%d}}`, id))
	}
}

// incoming is any frame of the server.
type incoming struct {
	ID     *uint64         `json:"id"`
	Method string          `json:"method"`
	Result json.RawMessage `json:"result"`
	Error  *failure        `json:"error"`
	Params params          `json:"params"`
	Meta   struct {
		Position string `json:"position"`
	} `json:"meta"`
}

type failure struct {
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data"`
}

type params struct {
	Subscription string          `json:"subscription"`
	Position     string          `json:"position"`
	Previous     string          `json:"previous"`
	Result       json.RawMessage `json:"result"`
	End          bool            `json:"end"`
	Error        *failure        `json:"error"`
	ReconnectMS  int64           `json:"reconnectMs"`
}

type subscribed struct {
	Subscription string `json:"subscription"`
	Recovered    bool   `json:"recovered"`
	Position     string `json:"position"`
}

// read takes what comes until the connection ends.
func (c *Client) read(ws *websocket.Conn) error {
	for {
		_, b, err := ws.Read(c.ctx)
		if err != nil {
			return err
		}
		var in incoming
		if err := json.Unmarshal(b, &in); err != nil { //nolint:forbidigo // the frame; what it holds is decoded by its type
			return errors.Join(err, ws.Close(websocket.StatusInvalidFramePayloadData, "not JSON"))
		}
		if in.ID != nil {
			c.answered(&in)
		} else {
			c.notified(ws, &in)
		}
	}
}

// answered gives an answer to whoever waits for it.
func (c *Client) answered(in *incoming) {
	var err error
	if in.Error != nil {
		err = refusal(in.Error.Data, in.Error.Message)
	}
	c.mu.Lock()
	one, w := c.calls[*in.ID], c.watches[*in.ID]
	delete(c.calls, *in.ID)
	c.mu.Unlock()
	switch {
	case one != nil:
		one.answer <- reply{result: in.Result, position: in.Meta.Position, err: err}
	case w == nil:
	case err != nil && retryable(err): // it is about the moment: the watch goes on
		c.done.Go(func() { c.askAgain(w, *in.ID) })
	case err != nil:
		c.mu.Lock()
		delete(c.watches, *in.ID)
		c.mu.Unlock()
		w.tell(Event{End: err})
	default:
		var s subscribed
		if json.Unmarshal(in.Result, &s) == nil { //nolint:forbidigo // the frame's own part
			w.name, w.position = s.Subscription, s.Position
			w.tell(Event{Begun: true, Recovered: s.Recovered, Position: s.Position})
		}
	}
}

// retryable says whether a refusal is about the moment.
func retryable(err error) bool {
	var known *messages.Error
	return errors.As(err, &known) && messages.Rule(known.Reason).GetRetry()
}

// askAgain asks anew for a watch that was refused for the moment, unless it was
// stopped meanwhile or asked for with another connection.
func (c *Client) askAgain(w *watch, id uint64) {
	if !c.wait(firstPause + rand.N(firstPause)) { //nolint:gosec // spreads questions, guards nothing
		return
	}
	c.mu.Lock()
	if c.watches[id] != w {
		c.mu.Unlock()
		return
	}
	delete(c.watches, id)
	b, ws := c.subscribe(w), c.ws
	c.mu.Unlock()
	if ws != nil {
		c.write(ws, b)
	}
}

// notified takes a push, or what the session says.
func (c *Client) notified(ws *websocket.Conn, in *incoming) {
	switch in.Method {
	case "session/expiring":
		c.done.Go(c.refresh)
	case "session/draining":
		c.mu.Lock()
		c.hint = time.Duration(in.Params.ReconnectMS) * time.Millisecond
		c.mu.Unlock()
	default:
		c.pushed(ws, in)
		return
	}
	if c.config.OnNotice != nil {
		c.config.OnNotice(in.Method)
	}
}

// pushed gives a push to its watch. A push that does not follow the last makes
// the watch begin again after what it has.
func (c *Client) pushed(ws *websocket.Conn, in *incoming) {
	c.mu.Lock()
	var w *watch
	for _, one := range c.watches {
		if one.method == in.Method && one.name == in.Params.Subscription {
			w = one
			break
		}
	}
	c.mu.Unlock()
	switch {
	case w == nil:
	case in.Params.End:
		c.ended(w, in.Params.Error)
	case in.Params.Previous != w.position && !w.views:
		c.mu.Lock()
		old := w.id
		delete(c.watches, old)
		again := c.subscribe(w)
		c.mu.Unlock()
		c.write(ws, fmt.Appendf(nil, `{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":%d}}`, old))
		c.write(ws, again)
	default:
		w.position = in.Params.Position
		w.tell(Event{Result: in.Params.Result, Position: in.Params.Position})
	}
}

// ended begins a stream anew that the server could not continue, and ends a
// watch that the server refused.
func (c *Client) ended(w *watch, f *failure) {
	var err error = messages.AsError(errors.New("ended"))
	if f != nil {
		err = refusal(f.Data, f.Message)
	}
	c.mu.Lock()
	delete(c.watches, w.id)
	var again []byte
	if retryable(err) {
		again = c.subscribe(w)
	}
	ws := c.ws
	c.mu.Unlock()
	if again == nil {
		w.tell(Event{End: err})
	} else if ws != nil {
		c.write(ws, again)
	}
}

// refresh prolongs the session with a new token.
func (c *Client) refresh() {
	ctx, cancel := context.WithTimeout(c.ctx, 10*time.Second)
	defer cancel()
	token, err := c.config.Token(ctx)
	if err == nil {
		_, err = c.Raw(ctx, "session/refresh", "", json.RawMessage(fmt.Sprintf(`{"accessToken":%q}`, token)))
	}
	if err != nil {
		c.config.Log.WarnContext(ctx, "session not refreshed", slog.Any("error", err))
	}
}
