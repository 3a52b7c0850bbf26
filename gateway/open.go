package gateway

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/messages"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// The names of the session's own methods.
const (
	openMethod    = "session/open"
	refreshMethod = "session/refresh"
)

// refusedCost is what a credential that is refused costs its address, in
// connections: guessing is slow.
const refusedCost = 10

// bearer returns the token or key of an Authorization header, or "".
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// open signs a connection in: by what its handshake brought, else by its first
// frame, which must come in time.
func (s *Session) open(shown Credential) {
	l := s.gateway.limits
	s.work = s.run
	s.ws.SetReadLimit(int64(l.FrameBytes))                                               // beyond it the library closes with 1009
	s.patient = l.PingAfter.Milliseconds() - rand.Int64N(l.PingAfter.Milliseconds()/4+1) //nolint:gosec // spreads pings, guards nothing
	s.heard()
	var id []byte
	if shown == (Credential{}) {
		s.openByMS.Store(s.gateway.clock.Now().Add(l.OpenWithin).UnixMilli())
		s.gateway.wheel.add(s, time.Second)
		var ok bool
		if id, shown.Bearer, ok = s.firstFrame(); !ok {
			s.end()
			return
		}
		s.openByMS.Store(0)
	}
	revoked := s.gateway.revoked.Load()
	who, err := s.gateway.who(context.Background(), shown)
	if err == nil {
		err = s.enter(shown, who, revoked)
	}
	if err != nil {
		s.turnAway(id, err)
		return
	}
	s.gateway.wheel.add(s, time.Second)
	if id != nil {
		s.conn.send(appendResult(nil, id, s.describe(&marketplacev1.OpenSessionResponse{Session: s.session()}), ""))
	}
	go func() {
		s.read()
		s.end()
	}()
}

// enter notes whose session it is. Access may have changed since who was found
// out, when it had changed as often as revoked says: then they are looked at again.
func (s *Session) enter(shown Credential, who Principal, revoked uint64) error {
	g := s.gateway
	s.mu.Lock()
	s.who = who
	if !who.Renewable.IsZero() {
		s.cookie = shown.Cookie
	}
	s.mu.Unlock()
	replaced, ok := g.registry.enter(s, who.Subject, g.limits.PerUser, func() bool { return !g.draining.Load() })
	if !ok {
		return later(marketplacev1.ErrorReason_ERROR_REASON_DRAINING, time.Second, "this server stops; another one answers")
	}
	if replaced != nil {
		replaced.close(CodeReplaced, "a newer connection of the same account took its place")
	}
	return g.still(shown, revoked)
}

// still looks again at who shows a credential, if access has changed since it
// had changed as often as revoked says.
func (g *Gateway) still(shown Credential, revoked uint64) error {
	if g.revoked.Load() == revoked {
		return nil
	}
	_, err := g.who(context.Background(), shown)
	return err
}

// blame lets an address pay for a credential that is refused.
func (g *Gateway) blame(address string, err error) {
	if !messages.Rule(messages.AsError(err).Reason).GetRetry() {
		g.handshakes.charge(address, refusedCost, g.clock.Now().UnixMilli())
	}
}

// errGuessing refuses to look at more credentials of an address.
func errGuessing() *messages.Error {
	return later(marketplacev1.ErrorReason_ERROR_REASON_RATE_LIMITED, time.Second, "too many credentials of this address were refused")
}

// turnAway says why nobody is let in, and hangs up.
func (s *Session) turnAway(id []byte, err error) {
	s.gateway.counts.refused.Add(1)
	e := s.tell(openMethod, err)
	s.conn.send(appendError(nil, id, e))
	code := codeOf(e)
	if code == CodeExpired {
		s.gateway.blame(s.address, e)
	}
	s.close(code, e.Message)
	_, _, _ = s.ws.Read(context.Background()) // until the client has gone, or the time for that is over
	s.end()
}

// codeOf is the close code of those who are not let in.
func codeOf(e *messages.Error) Code {
	switch {
	case e.Reason == marketplacev1.ErrorReason_ERROR_REASON_DRAINING:
		return CodeDraining
	case e.Retry > 0 || messages.Rule(e.Reason).GetRetry() || e.Reason == marketplacev1.ErrorReason_ERROR_REASON_INTERNAL: // it is not the credential's fault
		return CodeFault
	case e.Reason == marketplacev1.ErrorReason_ERROR_REASON_ACCOUNT_SUSPENDED:
		return CodeForbidden
	}
	return CodeExpired
}

// who says who a credential stands for. One that would be closed at once, being
// past the grace that sessions get, is refused even if the verifier is lenient.
func (g *Gateway) who(ctx context.Context, shown Credential) (Principal, error) {
	who, err := g.identify(ctx, shown)
	if err == nil && g.clock.Now().After(who.Expires.Add(g.limits.ExpiryGrace)) {
		return Principal{}, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_TOKEN_EXPIRED, "the access token has expired")
	}
	return who, err
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
	err = messages.ParseJSON(e.params, body)
	if err == nil {
		err = messages.Validate(body)
	}
	if err != nil {
		s.conn.send(appendError(nil, e.id, messages.AsError(err)))
		s.close(CodeNotOpened, "session/open could not be read")
		return nil, "", false
	}
	return e.id, body.GetAccessToken(), true
}

// session says who is signed in.
func (s *Session) session() *marketplacev1.Session { return s.gateway.described(s.principal()) }

// described says who is signed in.
func (g *Gateway) described(who Principal) *marketplacev1.Session {
	return &marketplacev1.Session{
		Subject: who.Subject, Roles: who.Roles, ExpireTime: timestamppb.New(who.Expires), ServerTime: timestamppb.New(g.clock.Now()), SessionId: who.SessionID,
	}
}

// refresh prolongs the session with a newer token of the same subject.
func (s *Session) refresh(token string) (*marketplacev1.Session, error) {
	g := s.gateway
	if !g.handshakes.take(s.address, 0, g.clock.Now().UnixMilli()) {
		return nil, errGuessing()
	}
	shown, revoked := Credential{Bearer: token}, g.revoked.Load()
	who, err := g.who(context.Background(), shown)
	if err != nil {
		g.blame(s.address, err)
		return nil, err
	}
	if err := s.prolong(who); err != nil {
		return nil, err
	}
	if err := g.still(shown, revoked); err != nil {
		e := messages.AsError(err)
		s.close(codeOf(e), e.Message)
		return nil, err
	}
	return s.session(), nil
}

// prolong takes what a newer credential says, if it is the same person's. Streams
// that are not for the roles it says end.
func (s *Session) prolong(who Principal) error {
	s.mu.Lock()
	same, older := who.Subject == s.who.Subject, who.Expires.Before(s.who.Expires)
	var lost []watched
	if same && !older {
		s.who, s.noticed = who, false
		s.watching = slices.DeleteFunc(s.watching, func(w watched) bool {
			if w.topic.method.Allows(who.Roles) {
				return false
			}
			lost = append(lost, w)
			return true
		})
	}
	s.mu.Unlock()
	for _, w := range lost {
		w.topic.dismiss(s, roleRequired(w.topic.method))
	}
	switch {
	case !same:
		return messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_TOKEN_INVALID, "the token is somebody else's: open another connection for it")
	case older:
		return messages.RefuseField("accessToken", "ends before the token that the session has")
	}
	return nil
}

const (
	// renewTries is how often what is newer is asked for, renewPause how long after
	// the last time: whoever asks hears what holds while that is on its way.
	renewTries = 10
	renewPause = 500 * time.Millisecond
)

// renew prolongs a browser's session by its cookie; the page has nothing to do.
func (s *Session) renew() {
	s.mu.Lock()
	cookie, ends := s.cookie, s.who.Expires
	s.mu.Unlock()
	var who Principal
	var err error
	for range renewTries {
		who, err = s.gateway.who(context.Background(), Credential{Cookie: cookie})
		if err != nil || who.Expires.After(ends) || !clock.Pause(context.Background(), renewPause) {
			break
		}
	}
	if err == nil {
		err = s.prolong(who)
	}
	if err != nil {
		_ = s.tell(refreshMethod, err) // logged; the client hears of it when it must act
		s.expiring()
	}
}
