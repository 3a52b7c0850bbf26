// Package session is what lets a person in besides the issuer's tokens: a
// browser that has signed in, or a key for a program.
//
// Whoever comes shows the session's id and a secret, of which only the digest is
// kept. A browser's session holds what the issuer's last token said, and what
// brings the next one, sealed; it asks for that when it is used again, once
// however many of its connections want it. A key lives by itself until it ends.
//
// The user is told of every session, so that people see and end what lets them
// in. All times here are real ones, as the issuer's are.
package session

import (
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/messages"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

type (
	state = journalv1.SessionState
	event = journalv1.SessionEvent
)

// session is the behavior of the kind.
type session struct{}

// Kind is the session.
var Kind = entity.Define("session", marketplacev1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND, entity.Behavior[*state, *event](session{})).ByRealTime()

var _ messages.SessionDecider[*state, *event, entity.Env] = session{}

// Apply folds an event into the state. Whatever the user is to hear is another statement.
func (session) Apply(s *state, e *event) {
	switch ev := e.GetEvent().(type) {
	case *journalv1.SessionEvent_Started:
		s.Session, s.Subject, s.Digest = proto.CloneOf(ev.Started.GetSession()), ev.Started.GetSubject(), ev.Started.GetDigest()
		s.Grant, s.IdleDuration = proto.CloneOf(ev.Started.GetGrant()), ev.Started.GetIdleDuration()
		s.Statement++
	case *journalv1.SessionEvent_RenewalWanted:
		s.Renewing = true
		s.Renewals++
	case *journalv1.SessionEvent_Renewed:
		s.Renewing = false
		s.Grant = proto.CloneOf(ev.Renewed.GetGrant())
		if summary := s.GetSession(); summary != nil {
			summary.Roles, summary.RenewTime = s.GetGrant().GetRoles(), e.GetEventTime()
		}
		s.Statement++
	case *journalv1.SessionEvent_RenewalFailed:
		s.Renewing = false
	case *journalv1.SessionEvent_Ended:
		s.Renewing, s.EndNote, s.Grant = false, ev.Ended.GetNote(), nil
		s.Statement++
	case *journalv1.SessionEvent_Told:
		s.Told = ev.Told.GetStatement()
	}
}

// ended says whether the session is over.
func ended(s *state) bool { return s.GetEndNote() != "" }

// end is when the session ends if nobody renews it.
func end(s *state) time.Time {
	at := s.GetSession().GetExpireTime().AsTime()
	if s.GetGrant() == nil {
		return at
	}
	idle := s.GetSession().GetRenewTime().AsTime().Add(s.GetIdleDuration().AsDuration())
	if s.GetGrant().GetRefreshToken() == "" { // nothing brings another token
		idle = s.GetGrant().GetExpireTime().AsTime()
	}
	if idle.Before(at) {
		return idle
	}
	return at
}

// Owner is whose session it is.
func (session) Owner(s *state) string { return s.GetSubject() }

// View has nothing to show: sessions are in the user's list.
func (session) View(string, *state, string) proto.Message { return nil }

// Tasks tell the user, and ask the issuer for the next token.
func (session) Tasks(id string, s *state) []entity.Task {
	var tasks []entity.Task
	if s.GetStatement() > s.GetTold() {
		tasks = append(tasks, entity.Task{ID: taskID(id, "register", s.GetStatement()), Do: &taskv1.RegisterSessionRequest{
			UserId: s.GetSubject(), Session: proto.CloneOf(s.GetSession()), Statement: s.GetStatement(), Ended: ended(s),
		}})
	}
	if s.GetRenewing() {
		tasks = append(tasks, entity.Task{ID: taskID(id, "renew", s.GetRenewals()), Do: &taskv1.RenewGrant{
			SessionId: id, Subject: s.GetSubject(), Grant: proto.CloneOf(s.GetGrant()),
		}})
	}
	return tasks
}

// Wake is the end.
func (session) Wake(s *state) time.Time {
	if s.GetSession() == nil || ended(s) {
		return time.Time{}
	}
	return end(s)
}

// Announce tells the gateways of the end: connections of the session close.
func (session) Announce(id string, s *state, e *event) entity.Announcement {
	if e.GetEnded() == nil {
		return entity.Announcement{}
	}
	return entity.Announcement{Out: []entity.Out{{Topic: messages.TopicAccess, Message: &taskv1.AccessChanged{Subject: s.GetSubject(), SessionId: id}}}}
}

// stamp writes the time of the decision on its events.
func stamp(env entity.Env, events []*event) []*event {
	for _, e := range events {
		e.EventTime = timestamppb.New(env.Real)
	}
	return events
}

// The parts of a key and of a cookie: what it is, the session's id, the secret.
const (
	// KeyPrefix begins every API key, so that people and programs that look for
	// leaked secrets know one.
	KeyPrefix = "tfmkey"
	separator = "_"
)

// secretOf is how a key is shown, once.
func secretOf(id, secret string) string {
	return strings.Join([]string{KeyPrefix, id, secret}, separator)
}
