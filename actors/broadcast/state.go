// Package broadcast is the one actor through which operators speak to many.
//
// What is live, that is shown now or to be shown later, is state: whoever
// watches sees what is published and has not ended, whenever they come. What was
// published is also a list, which tells what was said and not what still holds.
//
// Whom a broadcast is for stands in it. The kind does not look: the gateway
// shows each caller what is for the caller.
package broadcast

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

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

// Apply folds an event into the state. What was said before broadcasts had ends
// is in the list alone.
func (broadcast) Apply(s *state, e *event) {
	switch ev := e.GetEvent().(type) {
	case *journalv1.BroadcastEvent_Sent:
		s.Sent++
	case *journalv1.BroadcastEvent_Scheduled:
		s.Live = append(s.GetLive(), proto.CloneOf(ev.Scheduled.GetBroadcast()))
	case *journalv1.BroadcastEvent_Published:
		s.Sent++
		if b := find(s, ev.Published.GetBroadcastId()); b != nil {
			b.Published, b.Broadcast.Time = true, e.GetEventTime()
		}
	case *journalv1.BroadcastEvent_Expired:
		drop(s, ev.Expired.GetBroadcastId())
	case *journalv1.BroadcastEvent_Retracted:
		drop(s, ev.Retracted.GetBroadcastId())
	}
}

// find returns a broadcast that is live, or nil.
func find(s *state, id string) *marketplacev1.LiveBroadcast {
	for _, b := range s.GetLive() {
		if b.GetBroadcast().GetBroadcastId() == id {
			return b
		}
	}
	return nil
}

func drop(s *state, id string) {
	s.Live = slices.DeleteFunc(s.GetLive(), func(b *marketplacev1.LiveBroadcast) bool { return b.GetBroadcast().GetBroadcastId() == id })
}

// next is when something happens to a broadcast by itself; zero: never.
func next(b *marketplacev1.LiveBroadcast) time.Time {
	switch {
	case !b.GetPublished():
		return b.GetStartTime().AsTime()
	case b.GetBroadcast().GetExpireTime() == nil:
		return time.Time{}
	}
	return b.GetBroadcast().GetExpireTime().AsTime()
}

// Wake is when the first broadcast begins or ends.
func (broadcast) Wake(s *state) time.Time {
	var first time.Time
	for _, b := range s.GetLive() {
		if at := next(b); !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// View returns what is published and not over.
func (broadcast) View(_ string, s *state, _ string) proto.Message {
	r := &marketplacev1.WatchActiveBroadcastsResponse{}
	for _, b := range s.GetLive() {
		if b.GetPublished() {
			r.Broadcasts = append(r.Broadcasts, b.GetBroadcast())
		}
	}
	return r
}

// Announce puts what is said into the list.
func (broadcast) Announce(_ string, s *state, e *event) entity.Announcement {
	said := find(s, e.GetPublished().GetBroadcastId())
	if said == nil {
		return entity.Announcement{}
	}
	return entity.Announcement{Items: []entity.Item{{List: "broadcasts", Message: said.GetBroadcast()}}}
}

// Owner is nobody: everyone may listen.
func (broadcast) Owner(*state) string { return "" }

// Tasks are none.
func (broadcast) Tasks(string, *state) []entity.Task { return nil }

// TaskDone decides nothing.
func (broadcast) TaskDone(*state, entity.Done, entity.Env) []*event { return nil }
