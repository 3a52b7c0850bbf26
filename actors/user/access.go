package user

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/messages"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// Who may come in as a user is part of the user: the sessions and keys there
// are, since when tokens are taken, and whether an operator keeps the user out.
// All times here are real ones, as the issuer's are.

const (
	// maxSessions is how many sessions and API keys a user may have at once.
	maxSessions = 50
	// keepEndedSession is how long a session that has ended is remembered: longer
	// than anything it said may be on its way.
	keepEndedSession = 24 * time.Hour
)

// GetAccess says whether the user may come in.
func (user) GetAccess(s *state, _ *taskv1.GetAccessRequest, _ entity.Env) (*taskv1.GetAccessResponse, error) {
	return &taskv1.GetAccessResponse{
		Known: s.GetUserId() != "", Suspended: s.GetSuspension() != nil, Note: s.GetSuspension().GetNote(), Region: s.GetSettings().GetRegion(),
		NotBeforeTime: s.GetNotBeforeTime(), KeysNotBeforeTime: s.GetKeysNotBeforeTime(),
	}, nil
}

// Filtered returns what operations choose stored users by.
func Filtered(stored proto.Message) (suspended bool, region string) {
	s, _ := stored.(*state)
	return s.GetSuspension() != nil, s.GetSettings().GetRegion()
}

// RegisterUser notes that the user has come for the first time.
func (user) RegisterUser(s *state, _ *taskv1.RegisterUserRequest, env entity.Env) ([]*event, *taskv1.RegisterUserResponse, error) {
	if s.GetUserId() != "" {
		return nil, &taskv1.RegisterUserResponse{}, nil
	}
	e := &event{Event: &journalv1.UserEvent_Registered{Registered: &journalv1.UserRegistered{UserId: env.ID}}}
	return []*event{e}, &taskv1.RegisterUserResponse{}, nil
}

// RegisterSession takes what a session says of itself. An older statement than
// the last changes nothing, also when the session has ended since. A new session
// is refused with LIMIT_REACHED when there are too many.
func (user) RegisterSession(s *state, req *taskv1.RegisterSessionRequest, env entity.Env) ([]*event, *taskv1.RegisterSessionResponse, error) {
	known := s.GetSessions()[req.GetSession().GetSessionId()]
	switch {
	case known != nil && req.GetStatement() <= known.GetStatement():
		return nil, &taskv1.RegisterSessionResponse{}, nil
	case known == nil && !req.GetEnded() && liveSessions(s) >= maxSessions:
		return nil, nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_LIMIT_REACHED, "there are %d sessions and API keys already: end some", maxSessions)
	}
	return []*event{registered(s, env, req.GetSession(), req.GetStatement(), req.GetEnded())}, &taskv1.RegisterSessionResponse{}, nil
}

// registered says where a session stands, and forgets those that ended long ago.
func registered(s *state, env entity.Env, session *marketplacev1.SessionSummary, statement uint64, ended bool) *event {
	r := &journalv1.SessionRegistered{UserId: env.ID, Session: session, Statement: statement, Ended: ended}
	if ended {
		r.EndTime = timestamppb.New(env.Real)
	}
	for id, known := range s.GetSessions() {
		if known.GetEndTime() != nil && env.Real.Sub(known.GetEndTime().AsTime()) > keepEndedSession {
			r.ForgottenIds = append(r.ForgottenIds, id)
		}
	}
	slices.Sort(r.GetForgottenIds())
	return &event{Event: &journalv1.UserEvent_SessionRegistered{SessionRegistered: r}}
}

// liveSessions counts the sessions that have not ended.
func liveSessions(s *state) int {
	live := 0
	for _, known := range s.GetSessions() {
		if known.GetEndTime() == nil {
			live++
		}
	}
	return live
}

// ListSessions returns what lets the user in, the newest first.
func (user) ListSessions(s *state, _ *marketplacev1.ListSessionsRequest, _ entity.Env) (*marketplacev1.ListSessionsResponse, error) {
	r := &marketplacev1.ListSessionsResponse{}
	for _, known := range s.GetSessions() {
		if !known.GetEnding() && known.GetEndTime() == nil {
			r.Sessions = append(r.Sessions, proto.CloneOf(known.GetSession()))
		}
	}
	slices.SortFunc(r.GetSessions(), func(a, b *marketplacev1.SessionSummary) int {
		return cmp.Or(b.GetCreateTime().AsTime().Compare(a.GetCreateTime().AsTime()), cmp.Compare(a.GetSessionId(), b.GetSessionId()))
	})
	return r, nil
}

// EndSessions signs the user out everywhere.
func (user) EndSessions(_ *state, req *marketplacev1.EndSessionsRequest, env entity.Env) ([]*event, *marketplacev1.EndSessionsResponse, error) {
	e, at := signOut(env, req.GetIncludeApiKeys())
	return []*event{e}, &marketplacev1.EndSessionsResponse{NotBeforeTime: at}, nil
}

// SignOutUser signs the user out everywhere, for an operator.
func (user) SignOutUser(_ *state, _ *marketplacev1.SignOutUserRequest, env entity.Env) ([]*event, *marketplacev1.SignOutUserResponse, error) {
	e, at := signOut(env, true)
	return []*event{e}, &marketplacev1.SignOutUserResponse{NotBeforeTime: at}, nil
}

// signOut refuses every token, session and key that began until now, this
// millisecond included: sessions tell their time in whole ones. Tokens tell theirs
// in whole seconds, so one of the same second may be refused that was issued after.
func signOut(env entity.Env, includeKeys bool) (*event, *timestamppb.Timestamp) {
	at := timestamppb.New(env.Real.Add(time.Millisecond))
	return &event{Event: &journalv1.UserEvent_SignedOut{SignedOut: &journalv1.UserSignedOut{
		UserId: env.ID, NotBeforeTime: at, SignedOutBy: env.Subject, IncludeApiKeys: includeKeys,
	}}}, at
}

// SuspendUser keeps the user out. Who is kept out already is refused with WRONG_STATE.
func (user) SuspendUser(s *state, req *marketplacev1.SuspendUserRequest, env entity.Env) ([]*event, *marketplacev1.SuspendUserResponse, error) {
	if s.GetSuspension() != nil {
		return nil, nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_WRONG_STATE, "the user is suspended already: %s", s.GetSuspension().GetNote())
	}
	e := &event{Event: &journalv1.UserEvent_Suspended{Suspended: &journalv1.UserSuspended{
		Suspension: &journalv1.Suspension{Note: req.GetNote(), SuspendedBy: env.Subject},
	}}}
	return []*event{e}, &marketplacev1.SuspendUserResponse{}, nil
}

// ReinstateUser lets the user in again. Who is not kept out is refused with WRONG_STATE.
func (user) ReinstateUser(s *state, req *marketplacev1.ReinstateUserRequest, env entity.Env) ([]*event, *marketplacev1.ReinstateUserResponse, error) {
	if s.GetSuspension() == nil {
		return nil, nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_WRONG_STATE, "the user is not suspended")
	}
	e := &event{Event: &journalv1.UserEvent_Reinstated{Reinstated: &journalv1.UserReinstated{Note: req.GetNote(), ReinstatedBy: env.Subject}}}
	return []*event{e}, &marketplacev1.ReinstateUserResponse{}, nil
}

// applyAccess folds what is about coming in; false for every other event. It
// needs no book: most people come to look.
func applyAccess(s *state, e *event) bool {
	switch ev := e.GetEvent().(type) {
	case *journalv1.UserEvent_Registered:
		s.UserId = ev.Registered.GetUserId()
	case *journalv1.UserEvent_SessionRegistered:
		applySession(s, ev.SessionRegistered)
	case *journalv1.UserEvent_SignedOut:
		applySignOut(s, ev.SignedOut)
	case *journalv1.UserEvent_Suspended:
		s.Suspension = proto.CloneOf(ev.Suspended.GetSuspension())
	case *journalv1.UserEvent_Reinstated:
		s.Suspension = nil
	default:
		return false
	}
	return true
}

// applySession takes a statement of a session.
func applySession(s *state, ev *journalv1.SessionRegistered) {
	s.UserId = ev.GetUserId()
	for _, id := range ev.GetForgottenIds() {
		delete(s.GetSessions(), id)
	}
	if s.Sessions == nil {
		s.Sessions = map[string]*journalv1.UserSession{}
	}
	id := ev.GetSession().GetSessionId()
	known := s.GetSessions()[id]
	if ev.GetEnded() {
		s.Sessions[id] = &journalv1.UserSession{Statement: ev.GetStatement(), EndTime: ev.GetEndTime()}
		return
	}
	since := s.GetNotBeforeTime()
	if ev.GetSession().GetType() == marketplacev1.SessionType_SESSION_TYPE_API_KEY {
		since = s.GetKeysNotBeforeTime()
	}
	// One that began before the user signed out everywhere may be told of after.
	late := known == nil && since != nil && ev.GetSession().GetCreateTime().AsTime().Before(since.AsTime())
	s.Sessions[id] = &journalv1.UserSession{
		Statement: ev.GetStatement(), Session: proto.CloneOf(ev.GetSession()), Ending: late || known.GetEnding(),
	}
}

// applySignOut wants the sessions ended that there are.
func applySignOut(s *state, ev *journalv1.UserSignedOut) {
	s.UserId = ev.GetUserId()
	s.NotBeforeTime = ev.GetNotBeforeTime()
	if ev.GetIncludeApiKeys() {
		s.KeysNotBeforeTime = ev.GetNotBeforeTime()
	}
	for _, known := range s.GetSessions() {
		browser := known.GetSession().GetType() == marketplacev1.SessionType_SESSION_TYPE_BROWSER
		if known.GetEndTime() == nil && (browser || ev.GetIncludeApiKeys()) {
			known.Ending = true
		}
	}
}

// closings ask sessions to end, until they say that they have.
func closings(userID string, s *state) []entity.Task {
	var tasks []entity.Task
	for _, id := range slices.Sorted(maps.Keys(s.GetSessions())) {
		if s.GetSessions()[id].GetEnding() {
			tasks = append(tasks, entity.Task{ID: userID + "/close/" + id, Do: &taskv1.CloseSessionRequest{SessionId: id}, Timeout: 30 * time.Second})
		}
	}
	return tasks
}

// closed ends the wish for a session to end that nobody finds.
func closed(s *state, do *taskv1.CloseSessionRequest, done entity.Done, env entity.Env) []*event {
	known := s.GetSessions()[do.GetSessionId()]
	if done.Err == nil || !known.GetEnding() {
		return nil // it says itself that it has ended
	}
	return []*event{registered(s, env, &marketplacev1.SessionSummary{SessionId: do.GetSessionId()}, known.GetStatement(), true)}
}

// accessChanged is published for the gateways, which close what may not go on.
func accessChanged(e *event, userID string) []entity.Out {
	changed := &taskv1.AccessChanged{Subject: userID}
	switch ev := e.GetEvent().(type) {
	case *journalv1.UserEvent_SignedOut:
		changed.NotBeforeTime = ev.SignedOut.GetNotBeforeTime()
		if ev.SignedOut.GetIncludeApiKeys() {
			changed.KeysNotBeforeTime = ev.SignedOut.GetNotBeforeTime()
		}
	case *journalv1.UserEvent_Suspended:
		changed.Suspended = true
	default:
		return nil
	}
	return []entity.Out{{Topic: messages.TopicAccess, Message: changed}}
}
