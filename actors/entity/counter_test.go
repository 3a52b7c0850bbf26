package entity_test

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

// counter is a kind for tests, over messages of the user's: a grant adds to the
// credit, and its note says what else it does.
type counter struct{}

// What the note of a grant asks for.
const (
	refuse  = "refuse"  // a refusal
	nothing = "nothing" // no event
	crash   = "panic"   // a panic in Decide
	silent  = "silent"  // an event without an item
	badList = "badlist" // an item of a list whose name no store takes
	begin   = "begin"   // want a task
	queue   = "queue"   // want a task that waits for its turn
	cancel  = "cancel"  // want it no more
	alarm   = "alarm"   // want to be woken after amount seconds
	calm    = "calm"    // want to be woken no more
	rouse   = "rouse"   // alarm, and want a task then
	fatal   = "fatal"   // alarm, and a panic in Woken
)

type (
	tally = marketplacev1.Account
	event = journalv1.UserEvent
)

var counterKind = entity.Define("user", marketplacev1.ErrorReason_ERROR_REASON_ACCOUNT_NOT_FOUND, entity.Behavior[*tally, *event](counter{}))

func (counter) Decide(s *tally, req proto.Message, env entity.Env) ([]*event, proto.Message, error) {
	at := timestamppb.New(env.Now)
	switch req := req.(type) {
	case *marketplacev1.GetAccountRequest:
		return nil, &marketplacev1.GetAccountResponse{Account: s}, nil
	case *marketplacev1.UpdateSettingsRequest:
		e := &event{EventTime: at, Event: &journalv1.UserEvent_SettingsUpdated{SettingsUpdated: &journalv1.SettingsUpdated{UserId: env.ID, Settings: req.GetSettings()}}}
		return []*event{e}, &marketplacev1.UpdateSettingsResponse{Revision: req.GetSettings().GetRevision()}, nil
	case *taskv1.SettleDeploymentRequest: // absolute: shows in no view and no list
		if req.GetCharged() <= s.GetUsedTotal() {
			return nil, &taskv1.SettleDeploymentResponse{}, nil
		}
		e := &event{EventTime: at, Event: &journalv1.UserEvent_DeploymentSettled{DeploymentSettled: &journalv1.DeploymentSettled{UserId: env.ID, Charged: req.GetCharged()}}}
		return []*event{e}, &taskv1.SettleDeploymentResponse{Covered: true}, nil
	case *marketplacev1.GrantCreditRequest:
		return grant(s, req, env)
	}
	return nil, nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_UNKNOWN_METHOD, "not known")
}

func grant(s *tally, req *marketplacev1.GrantCreditRequest, env entity.Env) ([]*event, proto.Message, error) {
	switch req.GetNote() {
	case refuse:
		return nil, nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_WRONG_STATE, "refused at %d", s.GetCredit())
	case nothing:
		return nil, &marketplacev1.GrantCreditResponse{Credit: s.GetCredit()}, nil
	case crash:
		panic("a bug of the kind")
	}
	e := &event{EventTime: timestamppb.New(env.Now), Event: &journalv1.UserEvent_CreditGranted{CreditGranted: &journalv1.CreditGranted{UserId: env.ID, Amount: req.GetAmount(), Note: req.GetNote()}}}
	return []*event{e}, &marketplacev1.GrantCreditResponse{Credit: s.GetCredit() + req.GetAmount(), TransactionId: env.Now.Format(time.RFC3339Nano)}, nil
}

// Apply counts: grants in credit, ends of tasks in held, their failures in available.
func (counter) Apply(s *tally, e *event) {
	switch ev := e.GetEvent().(type) {
	case *journalv1.UserEvent_CreditGranted:
		s.UserId = ev.CreditGranted.GetUserId()
		s.Credit += ev.CreditGranted.GetAmount()
		switch ev.CreditGranted.GetNote() {
		case begin:
			s.LiveDeployments = 1
		case queue:
			s.LiveDeployments = 2
		case cancel:
			s.LiveDeployments = 0
		case alarm, rouse, fatal:
			switch ev.CreditGranted.GetNote() {
			case rouse:
				s.RunwayLevel = marketplacev1.RunwayLevel_RUNWAY_LEVEL_DAY
			case fatal:
				s.RunwayLevel = marketplacev1.RunwayLevel_RUNWAY_LEVEL_EXHAUSTED
			}
			s.RunOutTime = timestamppb.New(e.GetEventTime().AsTime().Add(time.Duration(ev.CreditGranted.GetAmount()) * time.Second))
		case calm:
			s.RunOutTime = nil
		}
	case *journalv1.UserEvent_SettingsUpdated:
		s.UserId, s.Settings = ev.SettingsUpdated.GetUserId(), ev.SettingsUpdated.GetSettings()
	case *journalv1.UserEvent_DeploymentSettled:
		s.UserId, s.UsedTotal = ev.DeploymentSettled.GetUserId(), ev.DeploymentSettled.GetCharged()
	case *journalv1.UserEvent_DeploymentsForgotten: // a task has ended
		s.LiveDeployments = 0
		s.Held++
		if len(ev.DeploymentsForgotten.GetDeploymentIds()) > 0 {
			s.Available++
		}
	case *journalv1.UserEvent_RunwayRecovered: // woken
		s.RunOutTime = nil
		s.HourlySpend++
		if s.GetRunwayLevel() != 0 {
			s.RunwayLevel, s.LiveDeployments = 0, 1
		}
	}
}

func (counter) Tasks(id string, s *tally) []entity.Task {
	if s.GetLiveDeployments() == 0 {
		return nil
	}
	t := entity.Task{ID: id + "/task", Do: &taskv1.CreateContract{DeploymentId: id}, Timeout: 5 * time.Second}
	if s.GetLiveDeployments() == 2 {
		t.Key = "twin/17"
	}
	return []entity.Task{t}
}

// TaskDone takes every end, also of a task that is not wanted any more.
func (counter) TaskDone(_ *tally, done entity.Done, env entity.Env) []*event {
	var failed []string
	if done.Err != nil {
		if done.Err.Message == crash {
			panic("a bug of the kind")
		}
		failed = append(failed, done.Err.Message)
	}
	return []*event{{EventTime: timestamppb.New(env.Now), Event: &journalv1.UserEvent_DeploymentsForgotten{DeploymentsForgotten: &journalv1.DeploymentsForgotten{DeploymentIds: failed}}}}
}

func (counter) Wake(s *tally) time.Time {
	if s.GetRunOutTime() == nil {
		return time.Time{}
	}
	return s.GetRunOutTime().AsTime()
}

func (counter) Woken(s *tally, env entity.Env) []*event {
	if s.GetRunOutTime() == nil || env.Now.Before(s.GetRunOutTime().AsTime()) {
		return nil
	}
	if s.GetRunwayLevel() == marketplacev1.RunwayLevel_RUNWAY_LEVEL_EXHAUSTED {
		panic("a bug of the kind")
	}
	return []*event{{EventTime: timestamppb.New(env.Now), Event: &journalv1.UserEvent_RunwayRecovered{RunwayRecovered: &journalv1.RunwayRecovered{}}}}
}

// View shows the credit alone, so that much can change that does not show.
func (counter) View(_ string, s *tally, _ string) proto.Message {
	return &marketplacev1.WatchAccountResponse{Account: &tally{Credit: s.GetCredit()}}
}

func (counter) Owner(s *tally) string { return s.GetUserId() }

func (counter) Announce(_ string, s *tally, e *event) entity.Announcement {
	g := e.GetCreditGranted()
	switch {
	case g == nil || strings.HasPrefix(g.GetNote(), silent):
		return entity.Announcement{}
	case g.GetNote() == badList:
		return entity.Announcement{Items: []entity.Item{{List: "", Message: &marketplacev1.Notification{}}}}
	}
	return entity.Announcement{Items: []entity.Item{
		{List: "transactions", Message: &marketplacev1.Transaction{CreditAfter: s.GetCredit()}},
		{List: "notifications", Message: &marketplacev1.Notification{NotificationId: g.GetNote(), Time: e.GetEventTime()}},
	}}
}
