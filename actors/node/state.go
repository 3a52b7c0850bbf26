// Package node is one machine of the grid: what the grid says of it, and what
// deployments of this marketplace have reserved on it.
//
// What the grid says replaces what it said before. Reservations are this
// marketplace's own and are kept by deployment, so that reserving and releasing
// twice is doing it once. Whatever changes is published whole, for read models.
package node

import (
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

type (
	state = journalv1.NodeState
	event = journalv1.NodeEvent
)

// node is the behavior of the kind.
type node struct{}

// Kind is the node.
var Kind = entity.Define("node", marketplacev1.ErrorReason_ERROR_REASON_NODE_NOT_FOUND, entity.Behavior[*state, *event](node{}))

var _ messages.NodeDecider[*state, *event, entity.Env] = node{}

// Apply folds an event into the state.
func (node) Apply(s *state, e *event) {
	switch ev := e.GetEvent().(type) {
	case *journalv1.NodeEvent_Observed:
		s.Node = proto.CloneOf(ev.Observed.GetNode())
	case *journalv1.NodeEvent_Reserved:
		if s.Reservations == nil {
			s.Reservations = map[string]*marketplacev1.Resources{}
		}
		s.Reservations[ev.Reserved.GetDeploymentId()] = proto.CloneOf(ev.Reserved.GetResources())
	case *journalv1.NodeEvent_Released:
		id := ev.Released.GetDeploymentId()
		delete(s.GetReservations(), id)
		s.Released = append(s.GetReleased(), id)
		if n := len(s.GetReleased()); n > maxReleased {
			s.Released = slices.Clone(s.GetReleased()[n-maxReleased:])
		}
	}
}

// maxReleased is how many deployments are remembered that gave back: more than
// can do so while a request is on its way.
const maxReleased = 256

// reserved is the sum of what deployments have reserved.
func reserved(s *state) *marketplacev1.Resources {
	sum := &marketplacev1.Resources{}
	for _, r := range s.GetReservations() {
		sum.Cru += r.GetCru()
		sum.MruBytes += r.GetMruBytes()
		sum.SruBytes += r.GetSruBytes()
		sum.HruBytes += r.GetHruBytes()
		sum.Ipv4 += r.GetIpv4()
	}
	return sum
}

// shown is the node with what is reserved on it.
func shown(s *state) *marketplacev1.Node {
	n := proto.CloneOf(s.GetNode())
	if n != nil {
		n.Reserved = reserved(s)
	}
	return n
}

// Owner is nobody: nodes are everybody's to see.
func (node) Owner(*state) string { return "" }

// Tasks are none.
func (node) Tasks(string, *state) []entity.Task { return nil }

// TaskDone decides nothing.
func (node) TaskDone(*state, entity.Done, entity.Env) []*event { return nil }

// Wake is never.
func (node) Wake(*state) time.Time { return time.Time{} }

// Woken decides nothing.
func (node) Woken(*state, entity.Env) []*event { return nil }

// View has nothing to show: the catalogue shows nodes.
func (node) View(string, *state, string) proto.Message { return nil }

// Announce publishes the node whole.
func (node) Announce(_ string, s *state, e *event) entity.Announcement {
	return entity.Announcement{Out: []entity.Out{{Topic: messages.TopicNodeChanged, Message: &taskv1.NodeChanged{Node: shown(s), Time: e.GetEventTime()}}}}
}

// Shown returns the node that a state of this kind holds, with what is reserved
// on it; nil for a node that never was.
func Shown(state proto.Message) *marketplacev1.Node {
	s, ok := state.(*journalv1.NodeState)
	if !ok {
		return nil
	}
	return shown(s)
}

// ID spells a node's number as the id of its actor.
func ID(number uint32) string { return strconv.FormatUint(uint64(number), 10) }

// stamp writes the time of the decision on its events.
func stamp(env entity.Env, events []*event) []*event {
	for _, e := range events {
		e.EventTime = timestamppb.New(env.Now)
	}
	return events
}
