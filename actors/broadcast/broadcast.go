// Package broadcast is the one actor through which operators speak to everyone.
// What was said is a list; whoever listens hears it from the list's stream, and
// after an absence from the list.
package broadcast

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/messages"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

type (
	state = journalv1.BroadcastState
	event = journalv1.BroadcastEvent
)

// broadcast is the behavior of the kind.
type broadcast struct{}

// Kind is the broadcasting actor.
var Kind = entity.Define("broadcast", marketplacev1.ErrorReason_ERROR_REASON_BROADCAST_NOT_FOUND, entity.Behavior[*state, *event](broadcast{}))

var _ messages.BroadcastDecider[*state, *event, entity.Env] = broadcast{}

// Decide hands a request to the method that decides it.
func (b broadcast) Decide(s *state, req proto.Message, env entity.Env) ([]*event, proto.Message, error) {
	return messages.DecideBroadcast(b, s, req, env)
}

// SendBroadcast says something.
func (broadcast) SendBroadcast(_ *state, req *marketplacev1.SendBroadcastRequest, env entity.Env) ([]*event, *marketplacev1.SendBroadcastResponse, error) {
	e := &event{EventTime: timestamppb.New(env.Now), Event: &journalv1.BroadcastEvent_Sent{Sent: &journalv1.BroadcastSent{
		BroadcastId: env.Fresh, Text: req.GetText(), Severity: req.GetSeverity(), SentBy: env.Subject,
	}}}
	return []*event{e}, &marketplacev1.SendBroadcastResponse{BroadcastId: env.Fresh}, nil
}

// Apply counts what was said.
func (broadcast) Apply(s *state, e *event) {
	if e.GetSent() != nil {
		s.Sent++
	}
}

// Announce puts what was said into the list.
func (broadcast) Announce(_ string, _ *state, e *event) entity.Announcement {
	sent := e.GetSent()
	if sent == nil {
		return entity.Announcement{}
	}
	return entity.Announcement{Items: []entity.Item{{List: "broadcasts", Message: &marketplacev1.Broadcast{
		BroadcastId: sent.GetBroadcastId(), Time: e.GetEventTime(), Severity: sent.GetSeverity(), Text: sent.GetText(),
	}}}}
}

// Owner is nobody: everyone may listen.
func (broadcast) Owner(*state) string { return "" }

// View has nothing to show: what was said is a list.
func (broadcast) View(string, *state, string) proto.Message { return nil }

// Tasks are none.
func (broadcast) Tasks(string, *state) []entity.Task { return nil }

// TaskDone decides nothing.
func (broadcast) TaskDone(*state, entity.Done, entity.Env) []*event { return nil }

// Wake is never.
func (broadcast) Wake(*state) time.Time { return time.Time{} }

// Woken decides nothing.
func (broadcast) Woken(*state, entity.Env) []*event { return nil }
