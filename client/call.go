package client

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/coder/websocket"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/messages"
)

// call is a request that waits for its answer.
type call struct {
	id     uint64
	frame  []byte
	answer chan reply // holds one
}

// reply is what came back.
type reply struct {
	result   json.RawMessage
	position string
	err      error
}

// Call asks and waits for the answer. A command gets a new command id; use
// Command to choose it. A refusal is a *messages.Error.
func (c *Client) Call(ctx context.Context, method string, req, resp proto.Message) error {
	return c.Command(ctx, method, "", req, resp)
}

// Command is Call under a command id of the caller's: whoever asks again with
// the same id, from wherever, gets the same answer.
func (c *Client) Command(ctx context.Context, method, commandID string, req, resp proto.Message) error {
	params, err := messages.AppendJSON(nil, req)
	if err != nil {
		return fmt.Errorf("encode the request of %s: %w", method, err)
	}
	result, err := c.Raw(ctx, method, commandID, params)
	if err != nil || resp == nil {
		return err
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(result, resp); err != nil {
		return fmt.Errorf("decode the answer of %s: %w", method, err)
	}
	return nil
}

// Raw is Call with JSON. An empty command id is made when the method needs one.
func (c *Client) Raw(ctx context.Context, method, commandID string, params json.RawMessage) (json.RawMessage, error) {
	if m := messages.ByPath(method); commandID == "" && (m == nil || m.Command()) {
		commandID = messages.NewCommandID()
	}
	one := &call{answer: make(chan reply, 1)}
	ws, err := c.open(one, func(id uint64) []byte { return frame(id, method, commandID, params) })
	if err != nil {
		return nil, err
	}
	if ws != nil {
		c.write(ws, one.frame)
	}
	select {
	case r := <-one.answer:
		return r.result, r.err
	case <-ctx.Done():
		c.mu.Lock()
		delete(c.calls, one.id)
		c.mu.Unlock()
		return nil, fmt.Errorf("%s (command id %s): %w", method, commandID, ctx.Err())
	}
}

// open gives a call its number; without a connection it is sent with the next.
func (c *Client) open(one *call, encode func(id uint64) []byte) (*websocket.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure != nil {
		return nil, c.failure
	}
	c.next++
	one.id, one.frame = c.next, encode(c.next)
	c.calls[one.id] = one
	return c.ws, nil
}

// frame is a request as it is sent.
func frame(id uint64, method, commandID string, params json.RawMessage) []byte {
	b := strconv.AppendUint([]byte(`{"jsonrpc":"2.0","id":`), id, 10)
	b = append(append(b, `,"method":`...), strconv.Quote(method)...)
	if commandID != "" {
		b = append(append(b, `,"meta":{"commandId":`...), strconv.Quote(commandID)+"}"...)
	}
	if len(params) > 0 {
		b = append(append(b, `,"params":`...), params...)
	}
	return append(b, '}')
}

// write sends a frame. What could not be sent is sent with the next connection.
func (c *Client) write(ws *websocket.Conn, b []byte) {
	if err := ws.Write(c.ctx, websocket.MessageText, b); err != nil {
		_ = ws.CloseNow()
	}
}

// resend returns what the last connection left unanswered, the oldest first.
func (c *Client) resend() [][]byte {
	var frames [][]byte
	for _, id := range slices.Sorted(maps.Keys(c.calls)) {
		frames = append(frames, c.calls[id].frame)
	}
	watches := c.watches
	c.watches = map[uint64]*watch{}
	for _, id := range slices.Sorted(maps.Keys(watches)) {
		frames = append(frames, c.subscribe(watches[id]))
	}
	return frames
}

// refusal returns the error that a JSON-RPC error object tells.
func refusal(data json.RawMessage, message string) error {
	s := &status.Status{}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(data, s); err != nil {
		s.Message = message
	}
	return messages.FromStatus(s)
}
