package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/internal/telemetry"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

const (
	// missCost is what asking for something that does not exist costs, in
	// requests: guessing ids is slow.
	missCost = 10
	// patience is how many more requests may be refused for coming too fast
	// than are taken.
	patience = 1000

	cancelMethod = "$/cancelRequest"
)

// handle takes one frame and appends what is to be said at once.
func (s *Session) handle(out, frame []byte) []byte {
	s.gateway.counts.requests.Add(1)
	e, err := parseEnvelope(frame)
	if not, ok := errors.AsType[*requestError](err); ok {
		s.conn.lend(appendFailure(out, nil, not.code, malformed("%s", not.text))) // behind what was answered
		s.close(CodeProtocol, not.text)
		return out[:0]
	}
	method, ok := text(e.method)
	now := s.gateway.clock.Now()
	limited := s.pay(now) // whatever it is that came
	switch {
	case method == cancelMethod:
		s.cancel(e.params)
		return out
	case limited != nil && !checkID(e.id):
		return appendError(out, nil, limited)
	case limited != nil:
		return appendError(out, bytes.Clone(e.id), limited)
	case !checkID(e.id):
		return appendFailure(out, nil, codeInvalid, malformed("id must be a string of at most %d bytes or an integer from 0 to 2^53", maxID))
	case !ok:
		return appendFailure(out, bytes.Clone(e.id), codeInvalid, malformed("method must be a string"))
	}
	id := bytes.Clone(e.id) // the frame's buffer is used again
	if err := s.begin(id); err != nil {
		return appendError(out, id, messages.AsError(err))
	}
	answered, err := s.dispatch(id, method, e, now)
	switch {
	case err != nil:
		s.finish(id)
		return appendError(out, id, s.tell(method, err))
	case answered != nil:
		s.finish(id)
		return appendResult(out, id, answered, "")
	}
	return out
}

// tell logs what is not the caller's fault and returns what the caller hears.
func (s *Session) tell(method string, err error) *messages.Error {
	if _, refused := errors.AsType[*messages.Error](err); !refused {
		s.gateway.log.Error("request failed", slog.String("method", method), slog.Any("error", err))
	}
	e := messages.AsError(err)
	s.gateway.meters.refused(e)
	return e
}

// trace begins the span of a request, and has what follows go below it.
func (g *Gateway) trace(req *clusterv1.Request, m *messages.Method) *telemetry.Span {
	span := g.tracer.Start(req.GetHeaders()["traceparent"], m.Path)
	if parent := span.Parent(); parent != "" {
		req.Headers = map[string]string{"traceparent": parent}
	}
	return span
}

// reasonOf returns the reason of a refusal, or "".
func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	return messages.ReasonName(messages.AsError(err).Reason)
}

// pay takes what a frame costs, or refuses it.
func (s *Session) pay(now time.Time) *messages.Error {
	l := s.gateway.limits
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.bucket.take(1, int64(l.Rate), int64(l.Burst), now.UnixMilli()) {
		if s.refused++; s.refused == patience {
			go s.close(CodeTooMany, "too many requests")
		}
		e := messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_RATE_LIMITED, "more than %d requests a second", l.Rate)
		e.Retry = time.Second / time.Duration(l.Rate)
		return e
	}
	s.refused = max(0, s.refused-1)
	return nil
}

// begin takes a place for a request, or refuses it.
func (s *Session) begin(id []byte) error {
	l := s.gateway.limits
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) >= l.InFlight {
		e := messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_RATE_LIMITED, "more than %d requests wait for their answers", l.InFlight)
		e.Retry = 10 * time.Millisecond
		return e
	}
	same := func(other []byte) bool { return bytes.Equal(id, other) }
	if slices.ContainsFunc(s.pending, same) || slices.ContainsFunc(s.watching, func(w watched) bool { return same(w.id) }) {
		return malformed("id %s belongs to a request that is still open", id)
	}
	s.pending = append(s.pending, id)
	return nil
}

// finish gives a request's place back.
func (s *Session) finish(id []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.pending) - 1
	for i := range s.pending {
		if bytes.Equal(s.pending[i], id) {
			s.pending[i], s.pending[last] = s.pending[last], nil
			s.pending = s.pending[:last]
			break
		}
	}
	if cap(s.pending) > spareLimit && len(s.pending) == 0 {
		s.pending = nil
	}
}

// dispatch answers a request itself, or hands it to whoever does.
func (s *Session) dispatch(id []byte, path string, e envelope, now time.Time) (answered []byte, err error) {
	m, err := find(path)
	if err != nil {
		return nil, err
	}
	cmd, ok := parseMeta(e.meta)
	if !ok {
		return nil, malformed("meta must be an object whose commandId and traceparent are strings")
	}
	who := s.principal()
	if err := admit(m, who, cmd.CommandID, now); err != nil {
		return nil, err
	}
	if m.Session {
		return s.answerItself(m, e.params)
	}
	params, after := e.params, ""
	if m.Streams() {
		if params, after, err = splitAfter(params); err != nil {
			return nil, err
		}
	}
	body, err := decode(m, params)
	if err != nil {
		return nil, err
	}
	req, err := request(m, who, cmd, body)
	if err != nil {
		return nil, err
	}
	if m.Streams() {
		return nil, s.subscribe(id, m, req, after)
	}
	address := topicAddress{req.GetKind(), req.GetId()}
	span := s.gateway.trace(req, m)
	s.gateway.actors.Call(req, s.gateway.limits.CallTimeout, func(r *clusterv1.Response) {
		s.after(address, item{id: id, method: m, answer: r, asked: now, span: span})
	})
	return nil, nil
}

// after lets an answer go behind the pushes that its actor said before it.
func (s *Session) after(a topicAddress, it item) {
	var streams []*topic
	s.mu.Lock()
	for _, w := range s.watching {
		if w.topic.key.topicAddress == a {
			streams = append(streams, w.topic)
		}
	}
	s.mu.Unlock()
	if len(streams) == 0 {
		s.push(it)
		return
	}
	// In one order for all answers, so that none overtakes another.
	slices.SortFunc(streams, func(a, b *topic) int { return strings.Compare(a.key.method, b.key.method) })
	s.behind(streams, it)
}

// behind lets an answer go when each of the streams has said what it had to say.
func (s *Session) behind(streams []*topic, it item) {
	for i, t := range streams {
		if t.then(func() { s.behind(streams[i+1:], it) }) {
			return
		}
	}
	s.push(it)
}

// answerItself answers the session's own methods.
func (s *Session) answerItself(m *messages.Method, params []byte) ([]byte, error) {
	body, err := decode(m, params)
	if err != nil {
		return nil, err
	}
	switch req := body.(type) {
	case *marketplacev1.GetSessionRequest:
		return s.describe(&marketplacev1.GetSessionResponse{Session: s.session()}), nil
	case *marketplacev1.RefreshSessionRequest:
		session, err := s.refresh(req.GetAccessToken())
		if err != nil {
			return nil, err
		}
		return s.describe(&marketplacev1.RefreshSessionResponse{Session: session}), nil
	}
	return nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_WRONG_STATE, "the session is open already; %s prolongs it", refreshMethod)
}

func (s *Session) describe(m proto.Message) []byte {
	b, err := messages.AppendJSON(nil, m)
	if err != nil {
		s.gateway.log.Error("session not described", slog.Any("error", err))
	}
	return b
}

// reply appends an actor's answer.
func (s *Session) reply(out []byte, it item) []byte {
	s.finish(it.id)
	at := len(out)
	out, err := s.appendAnswer(out, it)
	if !it.asked.IsZero() {
		s.gateway.meters.answered(it.method, s.gateway.clock.Now().Sub(it.asked))
	}
	it.span.End(reasonOf(err))
	if err == nil {
		return out
	}
	out = out[:at]
	if it.answer.GetError().GetCode() == int32(code.Code_NOT_FOUND) {
		l := s.gateway.limits
		s.mu.Lock()
		s.bucket.charge(missCost, int64(l.Rate), int64(l.Burst), s.gateway.clock.Now().UnixMilli())
		s.mu.Unlock()
	}
	return appendError(out, it.id, s.tell(it.method.Path, err))
}

// appendAnswer appends what an actor answered, in the frame where it will leave.
func (s *Session) appendAnswer(out []byte, it item) ([]byte, error) {
	if it.answer.GetError() != nil {
		return out, messages.FromStatus(it.answer.GetError())
	}
	body := it.method.Response()
	if err := proto.Unmarshal(it.answer.GetPayload(), body); err != nil {
		return out, fmt.Errorf("decode the answer of %s: %w", it.method.Path, err)
	}
	if len(it.method.Addressed()) > 0 {
		who := s.principal()
		body = shown(it.method, body, &who)
	}
	out, at := beginFrame(out)
	out = append(append(append(out, `{"jsonrpc":"2.0","id":`...), it.id...), `,"result":`...)
	out, err := messages.AppendJSON(out, body)
	if err != nil {
		return out, err
	}
	if epoch := it.answer.GetEpoch(); epoch != "" { // else a read model: no single actor stands behind it
		out = append(append(append(out, `,"meta":{"position":"`...), epoch...), '.')
		out = append(strconv.AppendUint(out, it.answer.GetVersion(), 10), `"}`...)
	}
	return endFrame(append(out, '}'), at), nil
}

// cancel ends the subscription that a request began. A command cannot be taken
// back: its answer comes all the same.
func (s *Session) cancel(params []byte) {
	var p struct {
		ID json.RawMessage `json:"id"`
	}
	if json.Unmarshal(params, &p) != nil { //nolint:forbidigo // the frame's own part, not a protocol message
		return
	}
	if t := s.takeWatch(p.ID); t != nil {
		t.leave(s)
	}
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
