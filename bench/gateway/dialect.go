package gateway

import (
	"bytes"
	"strconv"
)

// dialect is what a server speaks over WebSocket text frames. Requests are
// numbered by the caller; the first answers to a client are those of its first
// frames.
type dialect interface {
	path() string
	subprotocol() string
	// open signs in, watch hears the caller's own account, listen hears what is
	// said to all, and read asks for the caller's account.
	open(token string) []byte
	watch(user string) []byte
	listen() []byte
	read(id int) []byte
	// messages gives each message of a frame to a function, until that fails.
	messages(frame []byte, each func(message) error) error
	pong() []byte
}

// kind is what a message is.
type kind uint8

const (
	push kind = iota
	reply
	refusal
	ping
)

// message is a part of a frame; its body belongs to the engine.
type message struct {
	kind kind
	id   int
	body []byte
}

// The numbers of a client's first requests; reads come after them.
const (
	openID = 1 + iota
	watchID
	listenID
	readID
)

// ours is the marketplace's own dialect: JSON-RPC, one message a frame. The
// bare server speaks it, too.
type ours struct{}

func (ours) path() string        { return "/ws" }
func (ours) subprotocol() string { return "marketplace.jsonrpc.v1" }
func (ours) pong() []byte        { return nil }

func call(id int, method, rest string) []byte {
	return []byte(`{"jsonrpc":"2.0","id":` + strconv.Itoa(id) + `,"method":"` + method + `"` + rest + `}`)
}

func (ours) open(token string) []byte {
	return call(openID, "session/open", `,"params":{"accessToken":"`+token+`"}`)
}
func (ours) watch(string) []byte { return call(watchID, "cloud-user/watch-account", "") }
func (ours) listen() []byte      { return call(listenID, "session/watch-broadcasts", "") }
func (ours) read(id int) []byte {
	return call(id, "cloud-user/get-account", `,"params":{}`)
}

var (
	oursReply = []byte(`{"jsonrpc":"2.0","id":`)
	oursError = []byte(`,"error":`)
)

func (ours) messages(frame []byte, each func(message) error) error {
	rest, isReply := bytes.CutPrefix(frame, oursReply)
	if !isReply {
		return each(message{push, 0, frame})
	}
	m := message{reply, 0, frame}
	digits := 0
	m.id, digits = number(rest)
	if bytes.HasPrefix(rest[digits:], oursError) || digits == 0 {
		m.kind = refusal
	}
	return each(m)
}

// number reads the digits at the beginning.
func number(text []byte) (n, digits int) {
	for digits < len(text) && text[digits] >= '0' && text[digits] <= '9' {
		n = n*10 + int(text[digits]-'0')
		digits++
	}
	return n, digits
}

// theirs is the JSON dialect of centrifuge: one or more messages a frame, each
// on a line of its own.
type theirs struct{}

func (theirs) path() string        { return "/connection/websocket" }
func (theirs) subprotocol() string { return "centrifuge-json" }
func (theirs) pong() []byte        { return []byte("{}") }

func (theirs) open(token string) []byte {
	return []byte(`{"id":` + strconv.Itoa(openID) + `,"connect":{"token":"` + token + `"}}`)
}

func (theirs) subscribe(id int, channel string) []byte {
	return []byte(`{"id":` + strconv.Itoa(id) + `,"subscribe":{"channel":"` + channel + `"}}`)
}
func (t theirs) watch(user string) []byte { return t.subscribe(watchID, "account:"+user) }
func (t theirs) listen() []byte           { return t.subscribe(listenID, broadcasts) }
func (theirs) read(id int) []byte {
	return []byte(`{"id":` + strconv.Itoa(id) + `,"rpc":{"method":"get-account","data":{}}}`)
}

var (
	theirReply = []byte(`{"id":`)
	theirError = []byte(`,"error":`)
	newline    = []byte("\n")
)

func (theirs) messages(frame []byte, each func(message) error) error {
	for line := range bytes.SplitSeq(frame, newline) {
		m := message{push, 0, line}
		if len(line) <= 2 {
			m.kind = ping
		} else if rest, isReply := bytes.CutPrefix(line, theirReply); isReply {
			m.kind = reply
			digits := 0
			m.id, digits = number(rest)
			if bytes.HasPrefix(rest[digits:], theirError) {
				m.kind = refusal
			}
		}
		if err := each(m); err != nil {
			return err
		}
	}
	return nil
}
