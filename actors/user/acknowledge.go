package user

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/messages"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// That a broadcast was read is the reader's own fact: it is kept here, and
// counted by whoever wants to know.

// maxAcknowledged is how many broadcasts are remembered as read.
const maxAcknowledged = 100

// AcknowledgeBroadcast notes that the user has read a broadcast. Saying so again
// changes nothing.
func (user) AcknowledgeBroadcast(s *state, req *marketplacev1.AcknowledgeBroadcastRequest, env entity.Env) ([]*event, *marketplacev1.AcknowledgeBroadcastResponse, error) {
	id := req.GetBroadcastId()
	if err := messages.CheckID("broadcastId", id); err != nil {
		return nil, nil, err
	}
	if slices.Contains(s.GetAcknowledged(), id) {
		return nil, &marketplacev1.AcknowledgeBroadcastResponse{}, nil
	}
	e := &event{Event: &journalv1.UserEvent_BroadcastAcknowledged{BroadcastAcknowledged: &journalv1.BroadcastAcknowledged{UserId: env.ID, BroadcastId: id}}}
	return []*event{e}, &marketplacev1.AcknowledgeBroadcastResponse{}, nil
}

// applyAcknowledged remembers the newest.
func applyAcknowledged(s *state, ev *journalv1.BroadcastAcknowledged) {
	s.UserId = ev.GetUserId()
	s.Acknowledged = append(s.GetAcknowledged(), ev.GetBroadcastId())
	if over := len(s.GetAcknowledged()) - maxAcknowledged; over > 0 {
		s.Acknowledged = slices.Delete(s.GetAcknowledged(), 0, over)
	}
}

// acknowledged is published for those who count: the whole truth, not what is new.
func acknowledged(userID string, s *state) entity.Announcement {
	return entity.Announcement{Out: []entity.Out{{Topic: messages.TopicAcknowledged, Message: &taskv1.BroadcastsAcknowledged{
		UserId: userID, BroadcastIds: Acknowledged(s),
	}}}}
}

// Acknowledged returns the broadcasts that a stored user has read, for those who count.
func Acknowledged(stored proto.Message) []string {
	s, _ := stored.(*state)
	return slices.Clone(s.GetAcknowledged())
}
