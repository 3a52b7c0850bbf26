package node

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/actors/capacity"
	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/messages"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// Decide hands a request to the method that decides it.
func (n node) Decide(s *state, req proto.Message, env entity.Env) ([]*event, proto.Message, error) {
	events, reply, err := messages.DecideNode(n, s, req, env)
	return stamp(env, events), reply, err
}

// ObserveNode takes what the grid says, if it is news.
func (node) ObserveNode(s *state, req *taskv1.ObserveNodeRequest, env entity.Env) ([]*event, *taskv1.ObserveNodeResponse, error) {
	if ID(req.GetNode().GetNodeId()) != env.ID {
		return nil, nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_INVALID_FIELD, "node %d was told to node %s", req.GetNode().GetNodeId(), env.ID)
	}
	if proto.Equal(s.GetNode(), req.GetNode()) {
		return nil, &taskv1.ObserveNodeResponse{}, nil
	}
	e := &event{Event: &journalv1.NodeEvent_Observed{Observed: &journalv1.NodeObserved{Node: req.GetNode()}}}
	return []*event{e}, &taskv1.ObserveNodeResponse{}, nil
}

// ReserveCapacity sets capacity aside. A deployment that has it already hears so.
func (node) ReserveCapacity(s *state, req *taskv1.ReserveCapacityRequest, _ entity.Env) ([]*event, *taskv1.ReserveCapacityResponse, error) {
	n := s.GetNode()
	reply := &taskv1.ReserveCapacityResponse{Certified: n.GetCertified()}
	if s.GetReservations()[req.GetDeploymentId()] != nil {
		return nil, reply, nil
	}
	if slices.Contains(s.GetReleased(), req.GetDeploymentId()) {
		return nil, nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_WRONG_STATE, "deployment %s has given back what it had here", req.GetDeploymentId())
	}
	if n.GetStatus() != marketplacev1.NodeStatus_NODE_STATUS_UP || n.GetDedicated() {
		return nil, nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_NODE_OFFLINE, "node %d is not up, or not for everyone", n.GetNodeId())
	}
	if lacking := capacity.Lacking(shown(s), req.GetResources()); lacking != "" {
		return nil, nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_CAPACITY_LOST, "node %d has not enough %s left", n.GetNodeId(), lacking).With("lacking", lacking)
	}
	e := &event{Event: &journalv1.NodeEvent_Reserved{Reserved: &journalv1.NodeReserved{DeploymentId: req.GetDeploymentId(), Resources: req.GetResources()}}}
	return []*event{e}, reply, nil
}

// ReleaseCapacity gives back what a deployment had, and sees that it gets nothing
// any more: a reservation may still be on its way.
func (node) ReleaseCapacity(s *state, req *taskv1.ReleaseCapacityRequest, _ entity.Env) ([]*event, *taskv1.ReleaseCapacityResponse, error) {
	reply := &taskv1.ReleaseCapacityResponse{}
	if s.GetReservations()[req.GetDeploymentId()] == nil && slices.Contains(s.GetReleased(), req.GetDeploymentId()) {
		return nil, reply, nil
	}
	e := &event{Event: &journalv1.NodeEvent_Released{Released: &journalv1.NodeReleased{DeploymentId: req.GetDeploymentId()}}}
	return []*event{e}, reply, nil
}
