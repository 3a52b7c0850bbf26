// Package deployment is the life of one deployment, from the owner's wish to
// the end of its contract.
//
// # Course
//
// REQUESTED (credit is being held) → HELD (capacity is being reserved) →
// RESERVED (the contract is being made) → CONTRACTED (the workload is being
// started) → RUNNING, billed by the hour, with CREDIT_GRACE beside it when the
// owner's credit is used up. ENDING undoes whatever was done, in the opposite
// order, and leads to DELETED, or to FAILED for what never ran.
//
// # Money
//
// A deployment tells its user absolutes: what it wants held, what it was
// charged so far. Each change that the user must hear raises the number of the
// statement; the statement is told again until the user has heard it.
//
// # Undoing
//
// What was asked of the outside is awaited before it is undone, also when it
// is not wanted any more: an answer that comes late would leave an orphan.
package deployment

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/actors/price"
	"github.com/threefoldtech/cloud-marketplace/messages"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// Terms are what the operator of the marketplace has set. Zero values have the
// defaults that are named.
type Terms struct {
	StepLimit   time.Duration // how long one step of the way to RUNNING may take; 10 minutes
	CreditGrace time.Duration // how long a deployment runs without credit; 72 hours
	Prices      price.Policy  // what capacity costs; price.Main
}

type (
	state = journalv1.DeploymentState
	event = journalv1.DeploymentEvent
	phase = marketplacev1.DeploymentState
)

// The phases, for short.
const (
	none       = marketplacev1.DeploymentState_DEPLOYMENT_STATE_UNSPECIFIED
	requested  = marketplacev1.DeploymentState_DEPLOYMENT_STATE_REQUESTED
	held       = marketplacev1.DeploymentState_DEPLOYMENT_STATE_HELD
	reserved   = marketplacev1.DeploymentState_DEPLOYMENT_STATE_RESERVED
	contracted = marketplacev1.DeploymentState_DEPLOYMENT_STATE_CONTRACTED
	running    = marketplacev1.DeploymentState_DEPLOYMENT_STATE_RUNNING
	grace      = marketplacev1.DeploymentState_DEPLOYMENT_STATE_CREDIT_GRACE
	ending     = marketplacev1.DeploymentState_DEPLOYMENT_STATE_ENDING
	deleted    = marketplacev1.DeploymentState_DEPLOYMENT_STATE_DELETED
	failed     = marketplacev1.DeploymentState_DEPLOYMENT_STATE_FAILED
)

// maxSteps is how many steps a deployment shows; the oldest go.
const maxSteps = 50

// deployment is the behavior of the kind.
type deployment struct{ terms Terms }

var _ messages.DeploymentDecider[*state, *event, entity.Env] = deployment{}

// Kind returns the deployment under these terms.
func Kind(t Terms) *entity.Kind {
	if t.StepLimit == 0 {
		t.StepLimit = 10 * time.Minute
	}
	if t.CreditGrace == 0 {
		t.CreditGrace = 72 * time.Hour
	}
	if t.Prices == (price.Policy{}) {
		t.Prices = price.Main
	}
	return entity.Define("deployment", marketplacev1.ErrorReason_ERROR_REASON_DEPLOYMENT_NOT_FOUND, entity.Behavior[*state, *event](deployment{t}))
}

// Apply folds an event into the state.
func (deployment) Apply(s *state, e *event) {
	if s.GetDeployment() == nil {
		s.Deployment = &marketplacev1.Deployment{}
	}
	d := s.GetDeployment()
	at := e.GetEventTime()
	switch ev := e.GetEvent().(type) {
	case *journalv1.DeploymentEvent_Requested:
		applyRequested(s, ev.Requested, at)
	case *journalv1.DeploymentEvent_CreditHeld:
		s.Reservation, s.StepDeadlineTime = journalv1.Effect_EFFECT_ASKED, ev.CreditHeld.GetStepDeadlineTime()
		move(s, held, at, "one hour of the highest price is held of the credit")
	case *journalv1.DeploymentEvent_CapacityReserved:
		applyReserved(s, ev.CapacityReserved, at)
	case *journalv1.DeploymentEvent_ContractMade:
		s.Contract, d.ContractId = journalv1.Effect_EFFECT_DONE, ev.ContractMade.GetContractId()
		if d.GetState() == reserved {
			s.StepDeadlineTime = ev.ContractMade.GetStepDeadlineTime()
			move(s, contracted, at, "the contract is made")
		}
	case *journalv1.DeploymentEvent_WorkloadStarted:
		d.Address, d.MeteredUntilTime = ev.WorkloadStarted.GetAddress(), at
		s.Ran, s.Hold, s.StepDeadlineTime = true, d.GetHourlyPrice(), nil
		s.Statement++
		move(s, running, at, "the machine runs")
	case *journalv1.DeploymentEvent_UsageMetered:
		d.Charged, d.MeteredUntilTime = ev.UsageMetered.GetCharged(), ev.UsageMetered.GetMeteredUntilTime()
		s.ChargeRemainder = ev.UsageMetered.GetChargeRemainder()
		s.Statement++
	case *journalv1.DeploymentEvent_StatementSettled:
		s.Settled = max(s.GetSettled(), ev.StatementSettled.GetStatement())
		if billed(s) {
			d.AmountToUnlock = ev.StatementSettled.GetMissing()
		}
	case *journalv1.DeploymentEvent_CreditGraceStarted:
		d.GraceEndTime = ev.CreditGraceStarted.GetGraceEndTime()
		s.Statement++
		move(s, grace, at, "the credit is used up")
	case *journalv1.DeploymentEvent_CreditGraceEnded:
		d.GraceEndTime = nil
		s.Statement++
		move(s, running, at, "the credit covers it again")
	case *journalv1.DeploymentEvent_CreditRechecked:
		s.Statement++
	default:
		applyEnding(s, e)
	}
}

// applyEnding folds the events of the end.
func applyEnding(s *state, e *event) {
	d := s.GetDeployment()
	switch ev := e.GetEvent().(type) {
	case *journalv1.DeploymentEvent_EndingStarted:
		d.Cause, d.GraceEndTime, d.AmountToUnlock, s.StepDeadlineTime = ev.EndingStarted.GetCause(), nil, 0, nil
		s.Statement++
		move(s, ending, e.GetEventTime(), ev.EndingStarted.GetText())
	case *journalv1.DeploymentEvent_ContractRefused:
		s.Contract = journalv1.Effect_EFFECT_DOUBTFUL
	case *journalv1.DeploymentEvent_CapacityRefused:
		s.Reservation = journalv1.Effect_EFFECT_DOUBTFUL
	case *journalv1.DeploymentEvent_ContractEnded:
		s.Contract = journalv1.Effect_EFFECT_UNDONE
	case *journalv1.DeploymentEvent_CapacityReleased:
		s.Reservation = journalv1.Effect_EFFECT_UNDONE
	case *journalv1.DeploymentEvent_Ended:
		s.Hold = 0
		s.Statement++
		if s.GetRan() || d.GetCause() == marketplacev1.DeploymentCause_DEPLOYMENT_CAUSE_CANCELLED {
			move(s, deleted, e.GetEventTime(), "it is gone")
		} else {
			move(s, failed, e.GetEventTime(), "nothing is left of it")
		}
	}
}

func applyRequested(s *state, ev *journalv1.DeploymentRequested, at *timestamppb.Timestamp) {
	s.UserId, s.Hold, s.Statement = ev.GetUserId(), ev.GetMaxHourlyPrice(), 1
	s.Deployment = &marketplacev1.Deployment{
		DeploymentId: ev.GetDeploymentId(), Name: ev.GetName(), Spec: proto.CloneOf(ev.GetSpec()), NodeId: ev.GetNodeId(),
		MaxHourlyPrice: ev.GetMaxHourlyPrice(), CreateTime: at, Environment: environment(ev.GetEnvironment()),
	}
	move(s, requested, at, "it is asked for")
}

// environment copies variables.
func environment(of []*marketplacev1.EnvironmentVariable) []*marketplacev1.EnvironmentVariable {
	var all []*marketplacev1.EnvironmentVariable
	for _, v := range of {
		all = append(all, proto.CloneOf(v))
	}
	return all
}

func applyReserved(s *state, ev *journalv1.CapacityReserved, at *timestamppb.Timestamp) {
	d := s.GetDeployment()
	s.Reservation = journalv1.Effect_EFFECT_DONE
	d.HourlyPrice, d.PriceVersion = ev.GetHourlyPrice(), ev.GetPriceVersion()
	if d.GetState() == held && ev.GetHourlyPrice() <= d.GetMaxHourlyPrice() {
		s.Contract, s.StepDeadlineTime = journalv1.Effect_EFFECT_ASKED, ev.GetStepDeadlineTime()
		move(s, reserved, at, "the capacity is reserved")
	}
}

// move goes to a phase and says so in the steps.
func move(s *state, to phase, at *timestamppb.Timestamp, text string) {
	d := s.GetDeployment()
	d.State = to
	d.Steps = append(d.GetSteps(), &marketplacev1.DeploymentStep{State: to, Time: at, Text: text})
	if n := len(d.GetSteps()); n > maxSteps {
		d.Steps = d.GetSteps()[n-maxSteps:]
	}
}

// billed says whether time costs.
func billed(s *state) bool {
	p := s.GetDeployment().GetState()
	return p == running || p == grace
}

// undone says whether nothing of the deployment is left outside, or on its way there.
func undone(s *state) bool {
	return s.GetContract() != journalv1.Effect_EFFECT_ASKED && s.GetReservation() != journalv1.Effect_EFFECT_ASKED && !toUndo(s.GetContract()) && !toUndo(s.GetReservation())
}

// toUndo says whether something is there, or may be.
func toUndo(e journalv1.Effect) bool {
	return e == journalv1.Effect_EFFECT_DONE || e == journalv1.Effect_EFFECT_DOUBTFUL
}
