package gateway

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/threefoldtech/cloud-marketplace/messages"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// The names of the session's own methods.
const (
	openMethod    = "session/open"
	refreshMethod = "session/refresh"
)

// bearer returns the token of an Authorization header, or "".
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// hostAllowed holds requests to the names this server has: a page of another
// name that resolves to this machine must not get in.
func (g *Gateway) hostAllowed(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	return g.hosts[strings.ToLower(strings.Trim(host, "[]"))]
}

// open signs a connection in: by the token of its handshake, else by that of
// its first frame, which must come in time.
func (s *Session) open(token string) {
	l := s.gateway.limits
	s.work = s.run
	s.ws.SetReadLimit(int64(l.FrameBytes))                                               // beyond it the library closes with 1009
	s.patient = l.PingAfter.Milliseconds() - rand.Int64N(l.PingAfter.Milliseconds()/4+1) //nolint:gosec // spreads pings, guards nothing
	s.heard()
	var id []byte
	if token == "" {
		late := time.AfterFunc(l.OpenWithin, func() { //nolint:forbidigo // a limit of the connection
			s.close(CodeNotOpened, "session/open did not come in time")
		})
		var ok bool
		if id, token, ok = s.firstFrame(); !late.Stop() || !ok {
			_ = s.ws.CloseNow()
			return
		}
	}
	who, err := s.gateway.identify(token)
	if err != nil {
		s.gateway.counts.refused.Add(1)
		e := messages.AsError(err)
		s.conn.send(appendError(nil, id, e))
		if e.Retry > 0 { // it is not the token's fault
			s.close(CodeFault, e.Message)
		} else {
			s.close(CodeExpired, e.Message)
		}
		_, _, _ = s.ws.Read(context.Background()) // until the client has gone, or the time for that is over
		_ = s.ws.CloseNow()
		return
	}
	s.who = who
	if !s.gateway.enter(s) {
		s.close(CodeDraining, "this server stops; another one answers")
		return
	}
	if id != nil {
		s.conn.send(appendResult(nil, id, s.describe(&marketplacev1.OpenSessionResponse{Session: s.session()}), ""))
	}
	go func() {
		s.read()
		s.end()
	}()
}

// identify says who a token stands for. One that would be closed at once, being
// past the grace that sessions get, is refused even if the verifier is lenient.
func (g *Gateway) identify(token string) (Principal, error) {
	who, err := g.verify(token)
	if err == nil && g.clock.Now().After(who.Expires.Add(g.limits.ExpiryGrace)) {
		return Principal{}, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_TOKEN_EXPIRED, "the access token has expired")
	}
	return who, err
}

// enter notes a session that is signed in; false when the gateway drains.
func (g *Gateway) enter(s *Session) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.draining.Load() {
		return false
	}
	g.sessions[s] = struct{}{}
	return true
}

// firstFrame reads session/open. What is anything else is refused and closed.
func (s *Session) firstFrame() (id []byte, token string, ok bool) {
	_, r, err := s.ws.Reader(context.Background())
	if err != nil {
		return nil, "", false
	}
	frame, err := readFrame(r)
	if err != nil {
		return nil, "", false
	}
	e, err := parseEnvelope(*frame)
	method, _ := text(e.method)
	if err != nil || method != openMethod || !checkID(e.id) {
		s.conn.send(appendError(nil, nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_TOKEN_REQUIRED, "the first frame must be session/open with an access token")))
		s.close(CodeNotOpened, "the first frame must be session/open")
		return nil, "", false
	}
	body := &marketplacev1.OpenSessionRequest{}
	if err := messages.ParseJSON(e.params, body); err != nil {
		s.conn.send(appendError(nil, e.id, messages.AsError(err)))
		s.close(CodeNotOpened, "session/open could not be read")
		return nil, "", false
	}
	return e.id, body.GetAccessToken(), true
}

// session says who is signed in.
func (s *Session) session() *marketplacev1.Session {
	who := s.principal()
	return &marketplacev1.Session{
		Subject: who.Subject, Roles: who.Roles, ExpireTime: timestamppb.New(who.Expires), ServerTime: timestamppb.New(s.gateway.clock.Now()),
	}
}

// refresh prolongs the session with a newer token of the same subject.
func (s *Session) refresh(token string) (*marketplacev1.Session, error) {
	who, err := s.gateway.identify(token)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	same, older := who.Subject == s.who.Subject, who.Expires.Before(s.who.Expires)
	if same && !older {
		s.who, s.noticed = who, false
	}
	s.mu.Unlock()
	if same && older {
		return nil, messages.RefuseField("accessToken", "ends before the token that the session has")
	}
	if !same {
		return nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_TOKEN_INVALID, "the token is somebody else's: open another connection for it")
	}
	return s.session(), nil
}
