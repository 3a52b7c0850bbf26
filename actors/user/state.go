// Package user is a user's account: credit in a double-entry book, what
// deployments hold and use of it, and the warnings before it runs out.
//
// # Money
//
// The account "credit" of the book is what the user has; "granted" and
// "received" are where it came from; "used" and "sent" are where it went. Deployments tell absolutes
// (charged so far, wanted held) and the user books the difference, so that a
// statement heard twice, or late, changes nothing.
//
// # Warnings
//
// The runway is what is available divided by what runs costs per hour. Each
// level of the ladder is told once per episode; an episode ends when the runway
// is a tenth longer than the level.
package user

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/actors/ledger"
	"github.com/threefoldtech/cloud-marketplace/messages"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// The accounts of a user's book.
const (
	credit  = "credit"
	granted = "granted"
	used    = "used"

	sent     = "sent"     // to other users
	received = "received" // from other users
)

type (
	state = journalv1.UserState
	event = journalv1.UserEvent
)

// user is the behavior of the kind.
type user struct{}

// Kind is the user.
var Kind = entity.Define("user", marketplacev1.ErrorReason_ERROR_REASON_ACCOUNT_NOT_FOUND, entity.Behavior[*state, *event](user{}))

var _ messages.UserDecider[*state, *event, entity.Env] = user{}

// Apply folds an event into the state.
func (user) Apply(s *state, e *event) {
	s.AsOfTime = e.GetEventTime()
	if applyAccess(s, e) {
		return
	}
	if s.GetBook() == nil {
		s.Book = ledger.New(ledger.USD)
	}
	switch ev := e.GetEvent().(type) {
	case *journalv1.UserEvent_CreditGranted:
		s.UserId = ev.CreditGranted.GetUserId()
		ledger.Post(s.GetBook(), granted, credit, ev.CreditGranted.GetAmount())
	case *journalv1.UserEvent_DeploymentSettled:
		applySettled(s, ev.DeploymentSettled, e.GetEventTime())
	case *journalv1.UserEvent_RunwayTold:
		s.ToldLevel = ev.RunwayTold.GetLevel()
	case *journalv1.UserEvent_RunwayRecovered:
		s.ToldLevel = ev.RunwayRecovered.GetLevel()
	case *journalv1.UserEvent_SettingsUpdated:
		s.UserId = ev.SettingsUpdated.GetUserId()
		s.Settings = proto.CloneOf(ev.SettingsUpdated.GetSettings())
	case *journalv1.UserEvent_DeploymentsForgotten:
		for _, id := range ev.DeploymentsForgotten.GetDeploymentIds() {
			delete(s.GetDeployments(), id)
		}
	case *journalv1.UserEvent_TransferBegun:
		applyBegun(s, ev.TransferBegun)
	case *journalv1.UserEvent_TransferEnded:
		applyEnded(s, ev.TransferEnded)
	case *journalv1.UserEvent_TransferReceived:
		applyReceived(s, ev.TransferReceived)
	case *journalv1.UserEvent_BroadcastAcknowledged:
		applyAcknowledged(s, ev.BroadcastAcknowledged)
	}
}

// applySettled books what a deployment used and sets its hold.
func applySettled(s *state, ev *journalv1.DeploymentSettled, at *timestamppb.Timestamp) {
	s.UserId = ev.GetUserId()
	d := s.GetDeployments()[ev.GetDeploymentId()]
	if d == nil {
		if s.Deployments == nil {
			s.Deployments = map[string]*journalv1.UserDeployment{}
		}
		d = &journalv1.UserDeployment{CreateTime: at}
		s.Deployments[ev.GetDeploymentId()] = d
	}
	if usage := ev.GetCharged() - d.GetCharged(); usage > 0 {
		ledger.Post(s.GetBook(), credit, used, usage)
		d.Unlisted += usage
	}
	d.Unlisted -= ev.GetRow().GetAmount()
	ledger.Hold(s.GetBook(), credit, ev.GetDeploymentId(), ev.GetHold())
	d.Statement, d.Name, d.NodeId, d.State = ev.GetStatement(), ev.GetName(), ev.GetNodeId(), ev.GetState()
	d.HourlyPrice, d.Charged, d.MeteredUntilTime = ev.GetHourlyPrice(), ev.GetCharged(), ev.GetMeteredUntilTime()
	d.Wanted = ev.GetWanted()
}

// ended says whether a deployment is over.
func ended(d marketplacev1.DeploymentState) bool {
	return d == marketplacev1.DeploymentState_DEPLOYMENT_STATE_DELETED || d == marketplacev1.DeploymentState_DEPLOYMENT_STATE_FAILED
}

// needsCredit says whether credit makes a difference to a deployment: what is
// ending is not billed any more, and ends whether or not its hold is covered.
func needsCredit(d marketplacev1.DeploymentState) bool {
	return !ended(d) && d != marketplacev1.DeploymentState_DEPLOYMENT_STATE_ENDING
}

// missing is what is not held of what a deployment wants held.
func missing(s *state, id string, d *journalv1.UserDeployment) int64 {
	return max(0, d.GetWanted()-s.GetBook().GetHolds()[id].GetAmount())
}

// lacking is what must be added to the credit for a deployment to be covered:
// what is missing of its hold, and what is owed.
func lacking(s *state, id string, d *journalv1.UserDeployment) int64 {
	short := missing(s, id, d)
	if short == 0 {
		return 0
	}
	return max(0, short-ledger.Available(s.GetBook(), credit))
}
