package gateway

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/status"

	"github.com/threefoldtech/cloud-marketplace/messages"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// envelope is a JSON-RPC request with its parts still encoded; they are slices
// of the frame.
type envelope struct {
	version, id, method, meta, params []byte
}

// meta is what JSON-RPC itself lacks. Unknown keys are ignored.
type meta struct{ CommandID, Traceparent string }

const (
	maxNesting = 32
	maxID      = 64
)

// The codes of JSON-RPC for frames that are no request.
const (
	codeParse   = -32700
	codeInvalid = -32600
)

// requestError says why a frame is no JSON-RPC request.
type requestError struct {
	code int
	text string
}

// Error returns the sentence.
func (n *requestError) Error() string { return n.text }

// parseEnvelope splits a frame. A frame that is no JSON-RPC request gives a *requestError.
func parseEnvelope(frame []byte) (envelope, error) {
	var e envelope
	switch {
	case !utf8.Valid(frame):
		return e, &requestError{codeParse, "the frame is not UTF-8"}
	case !json.Valid(frame):
		return e, &requestError{codeParse, "the frame is not JSON"}
	}
	s := scanner{data: frame}
	s.space()
	switch s.peek() {
	case '{':
	case '[':
		return e, &requestError{codeInvalid, "batches are not taken: send the requests one by one, without waiting"}
	default:
		return e, &requestError{codeInvalid, "the frame is not a JSON-RPC request"}
	}
	if !s.members(e.take) {
		return e, &requestError{codeInvalid, "the frame is nested too deeply"}
	}
	if string(e.version) != `"2.0"` {
		return e, &requestError{codeInvalid, `"jsonrpc" must be "2.0"`}
	}
	return e, nil
}

// scanner walks over JSON that is known to be valid.
type scanner struct {
	data []byte
	at   int
}

func (s *scanner) peek() byte {
	if s.at < len(s.data) {
		return s.data[s.at]
	}
	return 0
}

func (s *scanner) space() {
	for s.at < len(s.data) && (s.data[s.at] == ' ' || s.data[s.at] == '\t' || s.data[s.at] == '\n' || s.data[s.at] == '\r') {
		s.at++
	}
}

// take keeps a member of the frame.
func (e *envelope) take(key, value []byte) {
	switch string(plain(key)) {
	case "jsonrpc":
		e.version = value
	case "id":
		e.id = value
	case "method":
		e.method = value
	case "meta":
		e.meta = value
	case "params":
		e.params = value
	}
}

// members gives the members of an object to take; false when one is nested too deeply.
func (s *scanner) members(take func(key, value []byte)) bool {
	s.at++ // {
	for {
		s.space()
		if s.peek() != '"' {
			return true // }
		}
		key, _ := s.value()
		s.space()
		s.at++ // :
		s.space()
		value, ok := s.value()
		if !ok {
			return false
		}
		take(key, value)
		s.space()
		s.at++ // , or }
	}
}

// value returns the bytes of the value that begins here; false when it is nested too deeply.
func (s *scanner) value() ([]byte, bool) {
	from, depth := s.at, 0
	for s.at < len(s.data) {
		c := s.data[s.at]
		switch c {
		case '"':
			s.text()
		case '{', '[':
			if depth++; depth >= maxNesting { // the frame itself is one
				return nil, false
			}
			s.at++
		case '}', ']':
			if depth == 0 {
				return s.data[from:s.at], true
			}
			depth--
			s.at++
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return s.data[from:s.at], true
			}
			s.at++
		default:
			s.at++
		}
		if depth == 0 && (c == '"' || c == '}' || c == ']') {
			return s.data[from:s.at], true
		}
	}
	return s.data[from:s.at], true
}

// text goes past a string.
func (s *scanner) text() {
	for s.at++; s.at < len(s.data); s.at++ {
		switch s.data[s.at] {
		case '\\':
			s.at++
		case '"':
			s.at++
			return
		}
	}
}

// checkID says whether a request's id is a string of at most 64 bytes or an
// integer from 0 to 2^53.
func checkID(id []byte) bool {
	switch {
	case len(id) == 0:
		return false
	case id[0] == '"':
		return len(id) <= maxID+2
	}
	n, err := strconv.ParseUint(string(id), 10, 64)
	return err == nil && n <= 1<<53
}

// text returns a JSON string's value.
func text(raw []byte) (string, bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), true
	}
	var s string
	err := json.Unmarshal(raw, &s) //nolint:forbidigo // a string with escapes, not a protocol message
	return s, err == nil
}

// plain returns a key without its quotes, and without escapes if it has some.
func plain(key []byte) []byte {
	if bytes.IndexByte(key, '\\') < 0 {
		return key[1 : len(key)-1]
	}
	s, _ := text(key)
	return []byte(s)
}

// quote returns text as JSON.
func quote(text string) string {
	b, err := json.Marshal(text) //nolint:forbidigo // one string
	if err != nil {
		return `""`
	}
	return string(b)
}

// parseMeta reads what JSON-RPC lacks.
func parseMeta(raw []byte) (m meta, ok bool) {
	if len(raw) == 0 {
		return m, true
	}
	if raw[0] != '{' {
		return m, string(raw) == "null"
	}
	s, ok := scanner{data: raw}, true
	s.members(func(key, value []byte) {
		var known bool
		switch string(plain(key)) {
		case "commandId":
			m.CommandID, known = text(value)
		case "traceparent":
			m.Traceparent, known = text(value)
		default:
			known = true
		}
		ok = ok && known
	})
	return m, ok
}

// appendResult appends a frame that answers a request. position may be empty.
func appendResult(to, id, result []byte, position string) []byte {
	p := make([]byte, 0, 80+len(id)+len(result)+len(position))
	p = append(append(append(p, `{"jsonrpc":"2.0","id":`...), id...), `,"result":`...)
	p = append(p, result...)
	if position != "" {
		p = append(append(append(p, `,"meta":{"position":"`...), position...), `"}`...)
	}
	return appendFrame(to, append(p, '}'))
}

// appendError appends a frame that refuses a request; id may be nil.
func appendError(to, id []byte, e *messages.Error) []byte {
	return appendFailure(to, id, messages.JSONRPCCode(e.Reason), e)
}

func appendFailure(to, id []byte, code int, e *messages.Error) []byte {
	if id == nil {
		id = []byte("null")
	}
	p := append(append([]byte(`{"jsonrpc":"2.0","id":`), id...), `,"error":`...)
	p = appendErrorObject(p, code, e.Status())
	return appendFrame(to, append(p, '}'))
}

// appendErrorObject appends a JSON-RPC error object whose data is the status.
func appendErrorObject(to []byte, code int, s *status.Status) []byte {
	to = append(strconv.AppendInt(append(to, `{"code":`...), int64(code), 10), `,"message":`...)
	to = append(append(to, quote(s.GetMessage())...), `,"data":`...)
	data, err := messages.AppendJSON(nil, s)
	if err != nil {
		data = []byte("{}")
	}
	return append(append(to, data...), '}')
}

func malformed(format string, args ...any) *messages.Error {
	return messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_MALFORMED_REQUEST, format, args...)
}
