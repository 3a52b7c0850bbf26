package deployment

import (
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

// Decide hands a request to the method that decides it.
func (k deployment) Decide(s *state, req proto.Message, env entity.Env) ([]*event, proto.Message, error) {
	events, reply, err := messages.DecideDeployment(k, s, req, env)
	return stamp(env, events), reply, err
}

// stamp writes the time of the decision on its events.
func stamp(env entity.Env, events []*event) []*event {
	for _, e := range events {
		e.EventTime = timestamppb.New(env.Now)
	}
	return events
}

// CreateDeployment writes the wish down.
func (deployment) CreateDeployment(s *state, req *marketplacev1.CreateDeploymentRequest, env entity.Env) ([]*event, *marketplacev1.CreateDeploymentResponse, error) {
	if s.GetDeployment() != nil {
		return nil, nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_WRONG_STATE, "deployment %s exists already", env.ID)
	}
	e := &event{Event: &journalv1.DeploymentEvent_Requested{Requested: &journalv1.DeploymentRequested{
		DeploymentId: env.ID, UserId: env.Subject, Name: req.GetName(), Spec: req.GetSpec(), NodeId: req.GetNodeId(), MaxHourlyPrice: req.GetMaxHourlyPrice(), Environment: req.GetEnvironment(),
	}}}
	return []*event{e}, &marketplacev1.CreateDeploymentResponse{DeploymentId: env.ID, State: requested}, nil
}

// GetDeployment returns the deployment with all its steps.
func (deployment) GetDeployment(s *state, _ *marketplacev1.GetDeploymentRequest, _ entity.Env) (*marketplacev1.GetDeploymentResponse, error) {
	return &marketplacev1.GetDeploymentResponse{Deployment: proto.CloneOf(s.GetDeployment())}, nil
}

// CancelDeployment begins the end. What is ending or over already is refused
// with WRONG_STATE.
func (k deployment) CancelDeployment(s *state, _ *marketplacev1.CancelDeploymentRequest, env entity.Env) ([]*event, *marketplacev1.CancelDeploymentResponse, error) {
	switch p := s.GetDeployment().GetState(); p {
	case ending, deleted, failed, none:
		return nil, nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_WRONG_STATE, "the deployment is %s already", stateName(p)).With("state", stateName(p))
	case requested, held, reserved, contracted, running, grace:
	}
	events := append(meter(s, env.Now), end(marketplacev1.DeploymentCause_DEPLOYMENT_CAUSE_CANCELLED, "its owner cancelled it"))
	to := ending
	if undone(s) {
		to = deleted
	}
	return finish(s, env, events), &marketplacev1.CancelDeploymentResponse{State: to}, nil
}

// RecheckCredit asks the user anew whether the credit covers the deployment,
// unless that is being asked already.
func (deployment) RecheckCredit(s *state, req *taskv1.RecheckCreditRequest, _ entity.Env) ([]*event, *taskv1.RecheckCreditResponse, error) {
	r := &taskv1.RecheckCreditResponse{}
	if s.GetDeployment().GetState() != grace || s.GetStatement() > s.GetSettled() || req.GetStatement() < s.GetSettled() {
		return nil, r, nil
	}
	return []*event{{Event: &journalv1.DeploymentEvent_CreditRechecked{CreditRechecked: &journalv1.CreditRechecked{}}}}, r, nil
}

// Woken meters what has passed and gives up what took too long.
func (k deployment) Woken(s *state, env entity.Env) []*event {
	d := s.GetDeployment()
	switch {
	case d.GetState() == grace && !env.Now.Before(d.GetGraceEndTime().AsTime()):
		return stamp(env, finish(s, env, append(meter(s, d.GetGraceEndTime().AsTime()), end(marketplacev1.DeploymentCause_DEPLOYMENT_CAUSE_OUT_OF_CREDIT, "the grace has passed without credit"))))
	case billed(s):
		whole := env.Now.Sub(d.GetMeteredUntilTime().AsTime()).Truncate(time.Hour)
		return stamp(env, meter(s, d.GetMeteredUntilTime().AsTime().Add(whole)))
	case s.GetStepDeadlineTime() != nil && !env.Now.Before(s.GetStepDeadlineTime().AsTime()):
		return stamp(env, finish(s, env, []*event{end(marketplacev1.DeploymentCause_DEPLOYMENT_CAUSE_TIMED_OUT, "it took too long to become "+stateName(d.GetState()+1))}))
	}
	return nil
}

// meter charges for the time since the last metering.
func meter(s *state, until time.Time) []*event {
	d := s.GetDeployment()
	elapsed := until.Sub(d.GetMeteredUntilTime().AsTime()).Truncate(time.Millisecond)
	if !billed(s) || elapsed <= 0 {
		return nil
	}
	amount, left, err := price.Charge(d.GetHourlyPrice(), elapsed, s.GetChargeRemainder())
	if err != nil {
		return nil // a price and a time that cannot be multiplied: not within the bounds of create-deployment
	}
	return []*event{{Event: &journalv1.DeploymentEvent_UsageMetered{UsageMetered: &journalv1.UsageMetered{
		Charged: d.GetCharged() + amount, MeteredUntilTime: timestamppb.New(d.GetMeteredUntilTime().AsTime().Add(elapsed)), ChargeRemainder: left,
	}}}}
}

func end(cause marketplacev1.DeploymentCause, text string) *event {
	return &event{Event: &journalv1.DeploymentEvent_EndingStarted{EndingStarted: &journalv1.EndingStarted{Cause: cause, Text: text}}}
}

// finish adds the last event when, after events, nothing is left to undo.
func finish(s *state, env entity.Env, events []*event) []*event {
	after := proto.CloneOf(s)
	for _, e := range stamp(env, events) {
		deployment{}.Apply(after, e)
	}
	if after.GetDeployment().GetState() == ending && undone(after) {
		events = append(events, &event{Event: &journalv1.DeploymentEvent_Ended{Ended: &journalv1.DeploymentEnded{}}})
	}
	return events
}
