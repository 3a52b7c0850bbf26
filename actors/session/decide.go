package session

import (
	"crypto/sha256"
	"crypto/subtle"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/messages"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// How long a key may live.
const (
	shortestKey = time.Minute
	longestKey  = 366 * 24 * time.Hour
)

// Decide hands a request to the method that decides it.
func (k session) Decide(s *state, req proto.Message, env entity.Env) ([]*event, proto.Message, error) {
	events, reply, err := messages.DecideSession(k, s, req, env)
	return stamp(env, events), reply, err
}

// StartSession begins the session of a browser. It is as it began, however often it is asked.
func (session) StartSession(s *state, req *taskv1.StartSessionRequest, env entity.Env) ([]*event, *taskv1.StartSessionResponse, error) {
	if s.GetSession() != nil {
		return nil, &taskv1.StartSessionResponse{}, nil
	}
	now := timestamppb.New(env.Real)
	e := &event{Event: &journalv1.SessionEvent_Started{Started: &journalv1.SessionStarted{
		Session: &marketplacev1.SessionSummary{
			SessionId: env.ID, Type: marketplacev1.SessionType_SESSION_TYPE_BROWSER, Name: req.GetName(), Roles: req.GetGrant().GetRoles(),
			CreateTime: now, ExpireTime: req.GetExpireTime(), RenewTime: now,
		},
		Subject: req.GetSubject(), Digest: req.GetDigest(), Grant: req.GetGrant(), IdleDuration: req.GetIdleDuration(),
	}}}
	return []*event{e}, &taskv1.StartSessionResponse{}, nil
}

// CreateApiKey makes a key that may be some of what its maker is.
func (session) CreateApiKey(s *state, req *marketplacev1.CreateApiKeyRequest, env entity.Env) ([]*event, *marketplacev1.CreateApiKeyResponse, error) {
	if s.GetSession() != nil {
		return nil, nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_WRONG_STATE, "session %s exists already", env.ID)
	}
	for _, role := range req.GetRoles() {
		if !slices.Contains(env.Roles, role) {
			return nil, nil, messages.RefuseField("roles", "must be some of the caller's")
		}
	}
	if lives := req.GetExpireTime().AsTime().Sub(env.Real); lives < shortestKey || lives > longestKey {
		return nil, nil, messages.RefuseField("expireTime", "must be from a minute to a year ahead")
	}
	now := timestamppb.New(env.Real)
	digest := sha256.Sum256([]byte(env.Secret))
	e := &event{Event: &journalv1.SessionEvent_Started{Started: &journalv1.SessionStarted{
		Session: &marketplacev1.SessionSummary{
			SessionId: env.ID, Type: marketplacev1.SessionType_SESSION_TYPE_API_KEY, Name: req.GetName(), Roles: req.GetRoles(),
			CreateTime: now, ExpireTime: req.GetExpireTime(),
		},
		Subject: env.Subject, Digest: digest[:],
	}}}
	return []*event{e}, &marketplacev1.CreateApiKeyResponse{SessionId: env.ID, ApiKey: secretOf(env.ID, env.Secret)}, nil
}

// CheckSession says who the secret lets in. One that is wrong, and one of a
// session that is over, is refused as one of a session that never was.
func (session) CheckSession(s *state, req *taskv1.CheckSessionRequest, env entity.Env) (*taskv1.CheckSessionResponse, error) {
	if err := check(s, req.GetDigest(), env); err != nil {
		return nil, err
	}
	r := &taskv1.CheckSessionResponse{
		Subject: s.GetSubject(), Roles: slices.Clone(s.GetSession().GetRoles()), Type: s.GetSession().GetType(),
		IssueTime: s.GetSession().GetCreateTime(), ExpireTime: s.GetSession().GetExpireTime(), EndTime: timestamppb.New(end(s)),
	}
	if g := s.GetGrant(); g != nil {
		r.ExpireTime = g.GetExpireTime()
	}
	return r, nil
}

// check compares a secret's digest, in the same time for all that are wrong.
func check(s *state, digest []byte, env entity.Env) error {
	if subtle.ConstantTimeCompare(digest, s.GetDigest()) != 1 || ended(s) || !env.Real.Before(end(s)) {
		return messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND, "there is no session %s", env.ID)
	}
	return nil
}

// RenewSession asks the issuer for the next token, unless that is under way. A
// key, and what nothing brings a token for, is left as it is.
func (session) RenewSession(s *state, req *taskv1.RenewSessionRequest, env entity.Env) ([]*event, *taskv1.RenewSessionResponse, error) {
	if err := check(s, req.GetDigest(), env); err != nil {
		return nil, nil, err
	}
	if s.GetRenewing() || s.GetGrant().GetRefreshToken() == "" {
		return nil, &taskv1.RenewSessionResponse{}, nil
	}
	return []*event{{Event: &journalv1.SessionEvent_RenewalWanted{RenewalWanted: &journalv1.SessionRenewalWanted{}}}}, &taskv1.RenewSessionResponse{}, nil
}

// EndSession ends the session for its owner.
func (session) EndSession(s *state, _ *marketplacev1.EndSessionRequest, _ entity.Env) ([]*event, *marketplacev1.EndSessionResponse, error) {
	if ended(s) {
		return nil, nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_WRONG_STATE, "the session has ended already: %s", s.GetEndNote())
	}
	return []*event{over("its owner ended it")}, &marketplacev1.EndSessionResponse{}, nil
}

// CloseSession ends the session; one that has ended stays so.
func (session) CloseSession(s *state, _ *taskv1.CloseSessionRequest, _ entity.Env) ([]*event, *taskv1.CloseSessionResponse, error) {
	if ended(s) {
		return nil, &taskv1.CloseSessionResponse{}, nil
	}
	return []*event{over("its owner signed out")}, &taskv1.CloseSessionResponse{}, nil
}

func over(note string) *event {
	return &event{Event: &journalv1.SessionEvent_Ended{Ended: &journalv1.SessionEnded{Note: note}}}
}

// Woken ends what nobody has used for long, or what lasts no longer.
func (session) Woken(s *state, env entity.Env) []*event {
	if s.GetSession() == nil || ended(s) || env.Real.Before(end(s)) {
		return nil
	}
	return stamp(env, []*event{over("its time is over")})
}

// TaskDone takes what the user and the issuer say. What was wanted of a session
// that has ended meanwhile changes nothing.
func (session) TaskDone(s *state, done entity.Done, env entity.Env) []*event {
	switch do := done.Task.Do.(type) {
	case *taskv1.RegisterSessionRequest:
		return stamp(env, told(s, do, done.Err))
	case *taskv1.RenewGrant:
		return stamp(env, renewed(s, done))
	}
	return nil
}

// told ends a statement. A user who has too many sessions has no room for this one.
func told(s *state, do *taskv1.RegisterSessionRequest, err *messages.Error) []*event {
	if do.GetStatement() <= s.GetTold() {
		return nil
	}
	events := []*event{{Event: &journalv1.SessionEvent_Told{Told: &journalv1.SessionTold{Statement: do.GetStatement()}}}}
	if err != nil && !ended(s) {
		events = append(events, over(err.Message))
	}
	return events
}

// renewed takes the issuer's answer. What it refuses for good ends the session:
// the person has been signed out there.
func renewed(s *state, done entity.Done) []*event {
	if !s.GetRenewing() || done.Task.ID != taskID(s.GetSession().GetSessionId(), "renew", s.GetRenewals()) {
		return nil
	}
	if done.Err != nil {
		return []*event{
			{Event: &journalv1.SessionEvent_RenewalFailed{RenewalFailed: &journalv1.SessionRenewalFailed{Note: done.Err.Message}}},
			over("its issuer renews it no more: " + done.Err.Message),
		}
	}
	grant, ok := done.Result.(*taskv1.GrantRenewed)
	if !ok {
		return nil
	}
	return []*event{{Event: &journalv1.SessionEvent_Renewed{Renewed: &journalv1.SessionRenewed{Grant: grant.GetGrant()}}}}
}

// taskID names a task, numbered.
func taskID(id, what string, number uint64) string {
	return id + "/" + what + "/" + strconv.FormatUint(number, 10)
}
