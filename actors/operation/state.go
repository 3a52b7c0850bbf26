// Package operation is one command of operators, run on many actors of a kind.
//
// Its state is what is left to do: the actors that were found and not tried, those
// on which the command is under way, and where to look for more. Tasks do it, a
// few at once; what came of each is an item of a list. So it goes on wherever it
// was when the server dies.
//
// Each actor gets the command under an id that follows from the operation and the
// actor. However often it is run, the actor decides it once, in the name of who
// began the operation. All times here are real ones, as command ids are.
package operation

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/messages"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

const (
	// atOnce is on how many actors the command is under way at most.
	atOnce = 16
	// ahead is below how many waiting actors more are looked for.
	ahead = 100
)

type (
	state = journalv1.OperationState
	event = journalv1.OperationEvent
)

// operation is the behavior of the kind.
type operation struct{}

// Kind is the operation.
var Kind = entity.Define(kindName, marketplacev1.ErrorReason_ERROR_REASON_OPERATION_NOT_FOUND, entity.Behavior[*state, *event](operation{}))

const kindName = "operation"

var _ messages.OperationDecider[*state, *event, entity.Env] = operation{}

// Apply folds an event into the state, and lets the next actors begin.
func (operation) Apply(s *state, e *event) {
	if s.GetOperation() == nil {
		s.Operation = &marketplacev1.Operation{}
	}
	o := s.GetOperation()
	switch ev := e.GetEvent().(type) {
	case *journalv1.OperationEvent_Started:
		applyStarted(s, ev.Started)
	case *journalv1.OperationEvent_Found:
		s.Waiting = append(s.GetWaiting(), ev.Found.GetEntityIds()...)
		s.Cursor = ev.Found.GetCursor()
		s.Pages++
		o.Found += uint64(len(ev.Found.GetEntityIds()))
		o.Truncated = ev.Found.GetTruncated()
		o.AllFound = o.GetAllFound() || s.GetCursor() == "" || o.GetTruncated()
	case *journalv1.OperationEvent_Outcome:
		applyOutcome(s, ev.Outcome)
	case *journalv1.OperationEvent_Cancelled:
		s.Waiting, s.Cursor, o.AllFound = nil, "", true
		o.Status = marketplacev1.OperationStatus_OPERATION_STATUS_CANCELLING
	}
	proceed(s, e.GetEventTime())
}

func applyStarted(s *state, ev *journalv1.OperationStarted) {
	s.Operation = proto.CloneOf(ev.GetOperation())
	s.Request, s.Roles, s.MaxEntities = ev.GetRequest(), slices.Clone(ev.GetRoles()), ev.GetMaxEntities()
	s.Waiting = slices.Clone(ev.GetEntityIds())
	s.Operation.Found = uint64(len(s.GetWaiting()))
	s.Operation.AllFound = s.GetOperation().GetFilter() == nil
}

func applyOutcome(s *state, ev *journalv1.OperationOutcome) {
	s.Running = slices.DeleteFunc(s.GetRunning(), func(id string) bool { return id == ev.GetEntityId() })
	switch o := s.GetOperation(); {
	case ev.GetUnknown():
		o.Unknown++
	case ev.GetReason() != "":
		o.Refused++
	default:
		o.Succeeded++
	}
}

// proceed begins the command on those whose turn it is, and ends the operation
// when there is nobody left.
func proceed(s *state, now *timestamppb.Timestamp) {
	n := min(len(s.GetWaiting()), max(0, atOnce-len(s.GetRunning())))
	s.Running = append(s.GetRunning(), s.GetWaiting()[:n]...)
	s.Waiting = s.GetWaiting()[n:]
	o := s.GetOperation()
	if !o.GetAllFound() || len(s.GetRunning()) > 0 || o.GetEndTime() != nil {
		return
	}
	o.EndTime = now
	if o.GetStatus() == marketplacev1.OperationStatus_OPERATION_STATUS_CANCELLING {
		o.Status = marketplacev1.OperationStatus_OPERATION_STATUS_CANCELLED
	} else {
		o.Status = marketplacev1.OperationStatus_OPERATION_STATUS_DONE
	}
}

// Owner is who began it.
func (operation) Owner(s *state) string { return s.GetOperation().GetStartedBy() }

// View returns how far it has come.
func (operation) View(_ string, s *state, _ string) proto.Message {
	return &marketplacev1.WatchCommandResponse{Operation: proto.CloneOf(s.GetOperation())}
}

// Announce puts what came of an actor into the list.
func (operation) Announce(_ string, _ *state, e *event) entity.Announcement {
	o := e.GetOutcome()
	if o == nil {
		return entity.Announcement{}
	}
	return entity.Announcement{Items: []entity.Item{{List: "outcomes", Message: &marketplacev1.CommandOutcome{
		EntityId: o.GetEntityId(), Time: e.GetEventTime(), Reason: o.GetReason(), Message: o.GetMessage(),
	}}}}
}

// Wake is never: tasks alone bring it forward.
func (operation) Wake(*state) time.Time { return time.Time{} }

// Woken decides nothing.
func (operation) Woken(*state, entity.Env) []*event { return nil }
