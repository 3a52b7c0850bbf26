package gateway

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// HTTP returns the handler of /api/: the same methods, one request at a time.
// Commands carry their command id in Idempotency-Key; reads may also be GET,
// with their fields in the query. Guard is to stand before it.
func (g *Gateway) HTTP() http.Handler { return http.HandlerFunc(g.serveHTTP) }

// SessionHTTP returns the handler that says who is signed in.
func (g *Gateway) SessionHTTP() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		who, err := g.caller(r)
		if err != nil {
			g.refuseHTTP(w, err)
			return
		}
		g.writeMessage(w, &marketplacev1.GetSessionResponse{Session: g.described(who)})
	})
}

// shown returns what a request shows: a token or key, else the cookie.
func (g *Gateway) shown(r *http.Request) Credential {
	if token := bearer(r); token != "" {
		return Credential{Bearer: token}
	}
	return Credential{Cookie: g.cookie(r)}
}

// caller says who sends a request, and holds them to how much they may ask.
func (g *Gateway) caller(r *http.Request) (Principal, error) {
	shown, now := g.shown(r), g.clock.Now().UnixMilli()
	if shown == (Credential{}) {
		return Principal{}, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_TOKEN_REQUIRED, "the request needs an access token: Authorization: Bearer …")
	}
	if shown.Cookie != "" && !g.originAllowed(r) { // browsers do not show it to such a page; others could
		return Principal{}, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_ORIGIN_REFUSED, "the request comes from a page of another site")
	}
	address := g.address(r)
	if !g.handshakes.take(address, 0, now) {
		return Principal{}, errGuessing()
	}
	who, err := g.who(r.Context(), shown)
	if err != nil {
		g.blame(address, err)
		return Principal{}, err
	}
	if !g.callers.take(who.Subject, 1, now) {
		return Principal{}, later(marketplacev1.ErrorReason_ERROR_REASON_RATE_LIMITED, time.Second/time.Duration(g.limits.Rate), "more than %d requests a second", g.limits.Rate)
	}
	return who, nil
}

func (g *Gateway) serveHTTP(w http.ResponseWriter, r *http.Request) {
	g.counts.requests.Add(1)
	w.Header().Set("Cache-Control", "no-store")
	revoked := g.revoked.Load()
	m, req, who, err := g.prepareHTTP(w, r)
	if err != nil {
		g.refuseHTTP(w, err)
		return
	}
	if m.Streams() {
		g.stream(w, r, who, revoked, m, req) //nolint:contextcheck // the stream outlives the request that begins it
		return
	}
	asked, span := g.clock.Now(), g.trace(req, m)
	answered := make(chan *clusterv1.Response, 1)
	g.actors.Call(req, g.limits.CallTimeout, func(r *clusterv1.Response) { answered <- r })
	var response *clusterv1.Response
	select {
	case response = <-answered:
	case <-r.Context().Done():
		span.End("nobody waits for the answer any more")
		return
	}
	body, err := answer(m, response, &who)
	g.meters.answered(m, g.clock.Now().Sub(asked))
	span.End(reasonOf(err))
	if err != nil {
		if response.GetError().GetCode() == int32(code.Code_NOT_FOUND) {
			g.callers.charge(who.Subject, missCost, g.clock.Now().UnixMilli())
		}
		g.refuseHTTP(w, err)
		return
	}
	if response.GetEpoch() != "" {
		w.Header().Set("Marketplace-Position", position{response.GetEpoch(), response.GetVersion()}.String())
	}
	g.writeJSON(w, http.StatusOK, body)
}

// prepareHTTP makes the actor's request of an HTTP request, and says who asks.
func (g *Gateway) prepareHTTP(w http.ResponseWriter, r *http.Request) (*messages.Method, *clusterv1.Request, Principal, error) {
	m, err := find(strings.TrimPrefix(r.URL.Path, "/api/"))
	if err != nil {
		return nil, nil, Principal{}, err
	}
	switch {
	case m.Session:
		err = messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_UNKNOWN_METHOD, "%s is for WebSocket connections", m.Path)
	case m.Streams() && !wantsEvents(r):
		err = messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_UNKNOWN_METHOD, "%s is a stream: by HTTP it is heard with GET and Accept: text/event-stream", m.Path)
	case r.Method != http.MethodPost && (r.Method != http.MethodGet || m.Command()):
		err = messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_MALFORMED_REQUEST, "%s is called by POST", m.Path)
	}
	if err != nil {
		return nil, nil, Principal{}, err
	}
	who, err := g.caller(r)
	if err != nil {
		return nil, nil, who, err
	}
	cmd := meta{CommandID: r.Header.Get("Idempotency-Key"), Traceparent: r.Header.Get("Traceparent")}
	if err := admit(m, who, cmd.CommandID, g.clock.Now()); err != nil {
		return nil, nil, who, err
	}
	params, err := g.paramsHTTP(w, r, m)
	if err != nil {
		return nil, nil, who, err
	}
	body, err := decode(m, params)
	if err != nil {
		return nil, nil, who, err
	}
	req, err := request(m, who, cmd, body)
	return m, req, who, err
}

// paramsHTTP returns a request's parameters as JSON: the body, or the query.
func (g *Gateway) paramsHTTP(w http.ResponseWriter, r *http.Request, m *messages.Method) ([]byte, error) {
	if r.Method == http.MethodGet {
		return queryJSON(m, r.URL.Query())
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(g.limits.FrameBytes)))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_TOO_LARGE, "the body is larger than %d bytes", g.limits.FrameBytes)
	case err != nil:
		return nil, malformed("the body could not be read")
	}
	return body, nil
}

// queryJSON turns a query into parameters: a.b=1 is {"a":{"b":"1"}}. Numbers
// may be strings in JSON of protocol messages; booleans may not.
func queryJSON(m *messages.Method, query map[string][]string) ([]byte, error) {
	root := map[string]any{}
	for path, values := range query {
		if len(values) != 1 {
			return nil, malformed("%q is given %d times", path, len(values))
		}
		at, fields := root, m.Request().ProtoReflect().Descriptor().Fields()
		names := strings.Split(path, ".")
		for i, name := range names {
			f := fields.ByJSONName(name)
			switch {
			case f == nil:
				return nil, malformed("unknown field %q", path)
			case i == len(names)-1 && at[name] != nil:
				return nil, malformed("%q is a value and has fields", path)
			case i == len(names)-1:
				at[name] = queryValue(f, values[0])
			case f.Kind() != protoreflect.MessageKind:
				return nil, malformed("%q has no fields", name)
			default:
				inner, ok := at[name].(map[string]any)
				if !ok && at[name] != nil {
					return nil, malformed("%q is a value and has fields", path)
				}
				if !ok {
					inner = map[string]any{}
					at[name] = inner
				}
				at, fields = inner, f.Message().Fields()
			}
		}
	}
	return json.Marshal(root) //nolint:forbidigo // strings and booleans of the query
}

func queryValue(f protoreflect.FieldDescriptor, value string) any {
	if f.Kind() == protoreflect.BoolKind {
		switch value {
		case "true":
			return true
		case "false":
			return false
		}
	}
	return value
}

// refuseHTTP answers with a google.rpc.Status.
func (g *Gateway) refuseHTTP(w http.ResponseWriter, err error) {
	if _, known := errors.AsType[*messages.Error](err); !known {
		g.log.Error("request failed", slog.Any("error", err))
	}
	e := messages.AsError(err)
	g.counts.refused.Add(1)
	g.meters.refused(e)
	if e.Retry > 0 {
		w.Header().Set("Retry-After", itoa(int64(e.Retry.Seconds())+1))
	}
	body, err := messages.AppendJSON(nil, e.Status())
	if err != nil {
		body = []byte("{}")
	}
	g.writeJSON(w, int(messages.Rule(e.Reason).GetHttpStatus()), body)
}

// writeMessage answers with a message.
func (g *Gateway) writeMessage(w http.ResponseWriter, m proto.Message) {
	body, err := messages.AppendJSON(nil, m)
	if err != nil {
		g.refuseHTTP(w, err)
		return
	}
	g.writeJSON(w, http.StatusOK, body)
}

func (g *Gateway) writeJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil { //nolint:gosec // JSON, and said to be
		g.log.Debug("answer not written", slog.Any("error", err))
	}
}
