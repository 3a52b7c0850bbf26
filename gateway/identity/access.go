package identity

import (
	"context"
	"crypto/sha256"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// Actors are who keeps sessions and accounts. done is called once and must not block.
type Actors interface {
	Call(req *clusterv1.Request, timeout time.Duration, done func(*clusterv1.Response))
}

// Accounts says who comes in, by whatever they show, and whether they may: the
// account has the last word.
type Accounts struct {
	Verifier *Verifier
	Actors   Actors
	Clock    clock.Clock
}

const (
	// KeyPrefix begins every API key.
	KeyPrefix = "tfmkey_"

	internalSubject = "$identity"
	callTimeout     = 5 * time.Second
	renewAhead      = 2 * time.Minute // how long before its end what the issuer said is asked for anew
	renewLook       = 50 * time.Millisecond
)

// Bearer returns who an access token or an API key stands for. Every error is a
// *messages.Error, of those that Verify names, ACCOUNT_SUSPENDED, or one that
// allows another try.
func (a *Accounts) Bearer(ctx context.Context, text string) (Principal, error) {
	if key, found := strings.CutPrefix(text, KeyPrefix); found {
		return a.session(ctx, key, optionsv1.Role_ROLE_CLOUD_OPERATOR)
	}
	who, err := a.Verifier.Verify(text)
	if err != nil {
		return Principal{}, err
	}
	access, err := a.access(ctx, who.Subject)
	if err != nil {
		return Principal{}, err
	}
	if since := access.GetNotBeforeTime(); since != nil && who.IssuedAt.Before(since.AsTime()) {
		return Principal{}, invalid("the access token was issued before its owner signed out everywhere: sign in again")
	}
	who.Region = access.GetRegion()
	return who, nil
}

// Cookie returns who the cookie of a session stands for. When what its issuer
// said is over, or will be soon, the session asks anew.
func (a *Accounts) Cookie(ctx context.Context, text string) (Principal, error) {
	return a.session(ctx, text, optionsv1.Role_ROLE_UNSPECIFIED)
}

// split returns the id and the digest of the secret in what is shown.
func split(text string) (id string, digest []byte, ok bool) {
	id, secret, found := strings.Cut(text, "_")
	sum := sha256.Sum256([]byte(secret))
	return id, sum[:], found && messages.ValidID(id)
}

// session returns who a session lets in, less a role that it cannot have. One
// that began before its owner signed out everywhere is refused at once, for it may
// not have heard yet that it is to end.
func (a *Accounts) session(ctx context.Context, text string, without optionsv1.Role) (Principal, error) {
	id, digest, ok := split(text)
	if !ok {
		return Principal{}, invalid("this is no session or API key")
	}
	found, err := a.check(ctx, id, digest)
	if err != nil {
		return Principal{}, err
	}
	who := Principal{
		Subject: found.GetSubject(), SessionID: id, IssuedAt: found.GetIssueTime().AsTime(),
		Expires: found.GetExpireTime().AsTime(), Renewable: found.GetEndTime().AsTime(),
	}
	for _, r := range found.GetRoles() {
		if r != without {
			who.Roles = append(who.Roles, r)
		}
	}
	access, err := a.access(ctx, who.Subject)
	if err != nil {
		return Principal{}, err
	}
	since := access.GetNotBeforeTime()
	if found.GetType() == marketplacev1.SessionType_SESSION_TYPE_API_KEY {
		who.Renewable = time.Time{}
		since = access.GetKeysNotBeforeTime()
	}
	if since != nil && who.IssuedAt.Before(since.AsTime()) {
		return Principal{}, invalid("the session or API key has ended: its owner signed out everywhere")
	}
	who.Region = access.GetRegion()
	return who, nil
}

// check asks the session, and has it renewed when that is due. That is waited for
// only when what the issuer said last holds no more.
func (a *Accounts) check(ctx context.Context, id string, digest []byte) (*taskv1.CheckSessionResponse, error) {
	found := &taskv1.CheckSessionResponse{}
	look := func() error {
		err := a.ask(ctx, &taskv1.CheckSessionRequest{SessionId: id, Digest: digest}, found)
		if e := messages.AsError(err); err != nil && e.Reason == marketplacev1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND {
			return invalid("the session or API key does not exist, or has ended")
		}
		return err
	}
	if err := look(); err != nil {
		return nil, err
	}
	if found.GetType() != marketplacev1.SessionType_SESSION_TYPE_BROWSER || a.Clock.Now().Add(renewAhead).Before(found.GetExpireTime().AsTime()) {
		return found, nil
	}
	if err := a.ask(ctx, &taskv1.RenewSessionRequest{SessionId: id, Digest: digest}, &taskv1.RenewSessionResponse{}); err != nil {
		return nil, err
	}
	over := func() bool { return a.Clock.Now().After(found.GetExpireTime().AsTime()) }
	for waited := time.Duration(0); over() && waited < callTimeout; waited += renewLook {
		if !clock.Pause(ctx, renewLook) {
			break
		}
		if err := look(); err != nil {
			return nil, err
		}
	}
	if over() {
		e := messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_ACTOR_UNAVAILABLE, "the issuer does not renew the session now: ask again in a moment")
		e.Retry = time.Second
		return nil, e
	}
	return found, nil
}

// access asks the account, and makes it when its owner comes for the first time.
func (a *Accounts) access(ctx context.Context, subject string) (*taskv1.GetAccessResponse, error) {
	access := &taskv1.GetAccessResponse{}
	if err := a.ask(ctx, &taskv1.GetAccessRequest{UserId: subject}, access); err != nil {
		return nil, err
	}
	if access.GetSuspended() {
		return nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_ACCOUNT_SUSPENDED, "the account is suspended: %s", access.GetNote())
	}
	if !access.GetKnown() {
		// Nobody waits for it: should it be lost, the next coming is the first.
		a.call(&taskv1.RegisterUserRequest{UserId: subject}, func(*clusterv1.Response) {})
	}
	return access, nil
}

// call asks an actor. done is called once and must not block.
func (a *Accounts) call(body proto.Message, done func(*clusterv1.Response)) {
	req, err := messages.RequestFrom(internalSubject, body)
	if err != nil {
		done(&clusterv1.Response{Error: messages.AsError(err).Status()})
		return
	}
	a.Actors.Call(req, callTimeout, done)
}

// ask asks an actor and waits for its answer.
func (a *Accounts) ask(ctx context.Context, body, into proto.Message) error {
	answered := make(chan *clusterv1.Response, 1)
	a.call(body, func(r *clusterv1.Response) { answered <- r })
	select {
	case r := <-answered:
		if r.GetError() != nil {
			return messages.FromStatus(r.GetError())
		}
		return proto.Unmarshal(r.GetPayload(), into)
	case <-ctx.Done():
		return messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_ACTOR_TIMEOUT, "nobody waits for the answer any more")
	}
}
