package deployment

import (
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/actors/price"
	"github.com/threefoldtech/cloud-marketplace/messages"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// Tasks returns what the state wants of the user, the node and the grid.
func (deployment) Tasks(id string, s *state) []entity.Task {
	d := s.GetDeployment()
	var tasks []entity.Task
	want := func(name string, do proto.Message) {
		tasks = append(tasks, entity.Task{ID: id + "/" + name, Do: do, Timeout: 30 * time.Second})
	}
	if s.GetStatement() > s.GetSettled() {
		want("settle/"+strconv.FormatUint(s.GetStatement(), 10), settlement(s))
	}
	node := strconv.FormatUint(uint64(d.GetNodeId()), 10)
	if s.GetReservation() == journalv1.Effect_EFFECT_ASKED {
		want("reserve", &taskv1.ReserveCapacityRequest{NodeId: node, DeploymentId: id, Resources: price.ResourcesOf(d.GetSpec())})
	}
	if s.GetContract() == journalv1.Effect_EFFECT_ASKED {
		want("contract", &taskv1.CreateContract{DeploymentId: id, NodeId: d.GetNodeId(), Spec: proto.CloneOf(d.GetSpec())})
	}
	switch {
	case d.GetState() == contracted:
		want("workload", &taskv1.DeployWorkload{DeploymentId: id, NodeId: d.GetNodeId(), ContractId: d.GetContractId(), Spec: proto.CloneOf(d.GetSpec()), Name: d.GetName(), Environment: environment(d.GetEnvironment())})
	case d.GetState() == ending && toUndo(s.GetContract()):
		want("cancel", &taskv1.CancelContract{DeploymentId: id, NodeId: d.GetNodeId(), ContractId: d.GetContractId()})
	case d.GetState() == ending && s.GetContract() != journalv1.Effect_EFFECT_ASKED && toUndo(s.GetReservation()):
		want("release", &taskv1.ReleaseCapacityRequest{NodeId: node, DeploymentId: id})
	}
	return tasks
}

// settlement is what the user must hear.
func settlement(s *state) *taskv1.SettleDeploymentRequest {
	d := s.GetDeployment()
	r := &taskv1.SettleDeploymentRequest{
		UserId: s.GetUserId(), DeploymentId: d.GetDeploymentId(), Statement: s.GetStatement(), Name: d.GetName(), NodeId: d.GetNodeId(), State: d.GetState(),
		Hold: s.GetHold(), Charged: d.GetCharged(), MeteredUntilTime: d.GetMeteredUntilTime(),
	}
	if billed(s) {
		r.HourlyPrice = d.GetHourlyPrice()
	}
	if r.GetMeteredUntilTime() == nil {
		r.MeteredUntilTime = d.GetCreateTime()
	}
	return r
}

// Wake is the next hour to bill, the end of the grace, or the limit of a step.
func (deployment) Wake(s *state) time.Time {
	d := s.GetDeployment()
	switch {
	case billed(s):
		at := d.GetMeteredUntilTime().AsTime().Add(time.Hour)
		if d.GetState() == grace && d.GetGraceEndTime().AsTime().Before(at) {
			at = d.GetGraceEndTime().AsTime()
		}
		return at
	case s.GetStepDeadlineTime() != nil:
		return s.GetStepDeadlineTime().AsTime()
	}
	return time.Time{}
}

// TaskDone goes on from the end of a task. What is not waited for any more, and
// what was heard already, changes nothing.
func (k deployment) TaskDone(s *state, done entity.Done, env entity.Env) []*event {
	var events []*event
	switch do := done.Task.Do.(type) {
	case *taskv1.SettleDeploymentRequest:
		events = k.settled(s, do, done, env)
	case *taskv1.ReserveCapacityRequest:
		events = k.reserved(s, done, env)
	case *taskv1.CreateContract:
		events = k.contracted(s, done, env)
	case *taskv1.DeployWorkload:
		events = k.started(s, done)
	case *taskv1.CancelContract:
		if done.Err == nil && toUndo(s.GetContract()) {
			events = []*event{{Event: &journalv1.DeploymentEvent_ContractEnded{ContractEnded: &journalv1.ContractEnded{}}}}
		}
	case *taskv1.ReleaseCapacityRequest:
		released := done.Err == nil || done.Err.Reason == marketplacev1.ErrorReason_ERROR_REASON_NODE_NOT_FOUND
		if released && toUndo(s.GetReservation()) {
			events = []*event{{Event: &journalv1.DeploymentEvent_CapacityReleased{CapacityReleased: &journalv1.CapacityReleased{}}}}
		}
	}
	if len(events) == 0 {
		return nil
	}
	return stamp(env, finish(s, env, events))
}

// settled goes on from what the user said.
func (k deployment) settled(s *state, do *taskv1.SettleDeploymentRequest, done entity.Done, env entity.Env) []*event {
	if do.GetStatement() <= s.GetSettled() {
		return nil
	}
	p := s.GetDeployment().GetState()
	if done.Err != nil {
		if p != requested || !refusedCredit(done.Err) {
			return nil
		}
		return []*event{end(marketplacev1.DeploymentCause_DEPLOYMENT_CAUSE_INSUFFICIENT_BALANCE, done.Err.Message)}
	}
	result, ok := done.Result.(*taskv1.SettleDeploymentResponse)
	if !ok {
		return nil
	}
	events := []*event{{Event: &journalv1.DeploymentEvent_StatementSettled{StatementSettled: &journalv1.StatementSettled{Statement: do.GetStatement(), Missing: result.GetMissing()}}}}
	switch {
	case p == requested && result.GetCovered():
		events = append(events, &event{Event: &journalv1.DeploymentEvent_CreditHeld{CreditHeld: &journalv1.CreditHeld{StepDeadlineTime: k.deadline(env)}}})
	case p == requested: // said before, and short since: the first statement is covered or refused
		events = append(events, end(marketplacev1.DeploymentCause_DEPLOYMENT_CAUSE_INSUFFICIENT_BALANCE, "the credit does not cover it"))
	case p == running && !result.GetCovered():
		events = append(events, &event{Event: &journalv1.DeploymentEvent_CreditGraceStarted{CreditGraceStarted: &journalv1.CreditGraceStarted{GraceEndTime: timestamppb.New(env.Now.Add(k.terms.CreditGrace))}}})
	case p == grace && result.GetCovered():
		events = append(events, &event{Event: &journalv1.DeploymentEvent_CreditGraceEnded{CreditGraceEnded: &journalv1.CreditGraceEnded{}}})
	}
	return events
}

func refusedCredit(e *messages.Error) bool {
	return e.Reason == marketplacev1.ErrorReason_ERROR_REASON_INSUFFICIENT_BALANCE || e.Reason == marketplacev1.ErrorReason_ERROR_REASON_LIMIT_REACHED
}

// reserved goes on from what the node said. The price is known only now.
func (k deployment) reserved(s *state, done entity.Done, env entity.Env) []*event {
	if s.GetReservation() != journalv1.Effect_EFFECT_ASKED {
		return nil
	}
	d := s.GetDeployment()
	if done.Err != nil {
		cause := marketplacev1.DeploymentCause_DEPLOYMENT_CAUSE_NODE_UNAVAILABLE
		if done.Err.Reason == marketplacev1.ErrorReason_ERROR_REASON_CAPACITY_LOST {
			cause = marketplacev1.DeploymentCause_DEPLOYMENT_CAUSE_CAPACITY_LOST
		}
		return k.giveUp(s, cause, done.Err.Message,
			&event{Event: &journalv1.DeploymentEvent_CapacityRefused{CapacityRefused: &journalv1.CapacityRefused{}}})
	}
	result, ok := done.Result.(*taskv1.ReserveCapacityResponse)
	if !ok {
		return nil
	}
	hourly := k.terms.Prices.Hourly(price.ResourcesOf(d.GetSpec()), result.GetCertified()).Total
	got := &event{Event: &journalv1.DeploymentEvent_CapacityReserved{CapacityReserved: &journalv1.CapacityReserved{
		HourlyPrice: hourly, PriceVersion: k.terms.Prices.Version, Certified: result.GetCertified(), StepDeadlineTime: k.deadline(env),
	}}}
	if hourly > d.GetMaxHourlyPrice() {
		return k.giveUp(s, marketplacev1.DeploymentCause_DEPLOYMENT_CAUSE_PRICE_CHANGED, "it costs "+strconv.FormatInt(hourly, 10)+" an hour, more than allowed", got)
	}
	return []*event{got}
}

// contracted goes on from what the grid said of the contract.
func (k deployment) contracted(s *state, done entity.Done, env entity.Env) []*event {
	if s.GetContract() != journalv1.Effect_EFFECT_ASKED {
		return nil
	}
	if done.Err != nil {
		return k.giveUp(s, marketplacev1.DeploymentCause_DEPLOYMENT_CAUSE_GRID_REFUSED, done.Err.Message,
			&event{Event: &journalv1.DeploymentEvent_ContractRefused{ContractRefused: &journalv1.ContractRefused{}}})
	}
	result, ok := done.Result.(*taskv1.ContractCreated)
	if !ok {
		return nil
	}
	return []*event{{Event: &journalv1.DeploymentEvent_ContractMade{ContractMade: &journalv1.ContractMade{ContractId: result.GetContractId(), StepDeadlineTime: k.deadline(env)}}}}
}

// started goes on from what the node said of the workload.
func (k deployment) started(s *state, done entity.Done) []*event {
	if s.GetDeployment().GetState() != contracted {
		return nil
	}
	if done.Err != nil {
		return k.giveUp(s, marketplacev1.DeploymentCause_DEPLOYMENT_CAUSE_GRID_REFUSED, done.Err.Message)
	}
	result, ok := done.Result.(*taskv1.WorkloadDeployed)
	if !ok {
		return nil
	}
	return []*event{{Event: &journalv1.DeploymentEvent_WorkloadStarted{WorkloadStarted: &journalv1.WorkloadStarted{Address: result.GetAddress()}}}}
}

// giveUp notes what is known and begins the end, unless it has begun.
func (deployment) giveUp(s *state, cause marketplacev1.DeploymentCause, text string, known ...*event) []*event {
	if s.GetDeployment().GetState() == ending {
		return known
	}
	return append(known, end(cause, text))
}

func (k deployment) deadline(env entity.Env) *timestamppb.Timestamp {
	return timestamppb.New(env.Now.Add(k.terms.StepLimit))
}

// stateName spells a phase for people.
func stateName(p phase) string {
	return strings.TrimPrefix(p.String(), "DEPLOYMENT_STATE_")
}
