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

const (
	// maxLive is how many broadcasts are live at most.
	maxLive = 100
	// maxBytes is how large they are together, so that a view of them is less
	// than what a connection may owe.
	maxBytes = 256 << 10
	// farthest is how far ahead a broadcast begins, and how long it lasts.
	farthest = 366 * 24 * time.Hour
)

// Decide hands a request to the method that decides it.
func (b broadcast) Decide(s *state, req proto.Message, env entity.Env) ([]*event, proto.Message, error) {
	events, reply, err := messages.DecideBroadcast(b, s, req, env)
	return stamp(env, events), reply, err
}

// stamp writes the time of the decision on its events.
func stamp(env entity.Env, events []*event) []*event {
	for _, e := range events {
		e.EventTime = timestamppb.New(env.Now)
	}
	return events
}

// SendBroadcast says something, now or later. Where there is no room, the oldest
// that is shown and has no end makes some; when that is not enough, the request
// is refused with LIMIT_REACHED.
func (broadcast) SendBroadcast(s *state, req *marketplacev1.SendBroadcastRequest, env entity.Env) ([]*event, *marketplacev1.SendBroadcastResponse, error) {
	start, err := times(req, env.Now)
	if err != nil {
		return nil, nil, err
	}
	b := &marketplacev1.LiveBroadcast{
		Broadcast: &marketplacev1.Broadcast{
			BroadcastId: env.Fresh, Severity: req.GetSeverity(), Text: req.GetText(), ExpireTime: req.GetExpireTime(), Audience: req.GetAudience(),
		},
		StartTime: timestamppb.New(start), SentBy: env.Subject,
	}
	events, err := makeRoom(s, b)
	if err != nil {
		return nil, nil, err
	}
	events = append(events, &event{Event: &journalv1.BroadcastEvent_Scheduled{Scheduled: &journalv1.BroadcastScheduled{Broadcast: b}}})
	if !start.After(env.Now) {
		events = append(events, published(env.Fresh))
	}
	return events, &marketplacev1.SendBroadcastResponse{BroadcastId: env.Fresh}, nil
}

// times holds the times of a request to what they may be, and returns when the
// broadcast begins.
func times(req *marketplacev1.SendBroadcastRequest, now time.Time) (start time.Time, err error) {
	start = now
	if at := req.GetStartTime(); at != nil && at.AsTime().After(now) {
		start = at.AsTime()
	}
	if start.Sub(now) > farthest {
		return start, messages.RefuseField("startTime", "must be at most a year ahead")
	}
	if end := req.GetExpireTime(); end != nil && (!end.AsTime().After(start) || end.AsTime().Sub(start) > farthest) {
		return start, messages.RefuseField("expireTime", "must be after the start, and at most a year after it")
	}
	return start, nil
}

// makeRoom ends what has no end of its own, the oldest first, until there is
// room for b.
func makeRoom(s *state, b *marketplacev1.LiveBroadcast) ([]*event, error) {
	count, size := len(s.GetLive())+1, proto.Size(b)
	for _, other := range s.GetLive() {
		size += proto.Size(other)
	}
	var events []*event
	for _, other := range s.GetLive() {
		if count <= maxLive && size <= maxBytes {
			break
		}
		if other.GetPublished() && other.GetBroadcast().GetExpireTime() == nil {
			events = append(events, expired(other, true))
			count, size = count-1, size-proto.Size(other)
		}
	}
	if count > maxLive || size > maxBytes {
		return nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_LIMIT_REACHED, "%d broadcasts are live, and there is no room for this one: retract some", len(s.GetLive()))
	}
	return events, nil
}

// RetractBroadcast takes back what is live.
func (broadcast) RetractBroadcast(s *state, req *marketplacev1.RetractBroadcastRequest, env entity.Env) ([]*event, *marketplacev1.RetractBroadcastResponse, error) {
	id := req.GetBroadcastId()
	if find(s, id) == nil {
		return nil, nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_BROADCAST_NOT_FOUND, "no broadcast %s is live", id)
	}
	e := &event{Event: &journalv1.BroadcastEvent_Retracted{Retracted: &journalv1.BroadcastRetracted{BroadcastId: id, RetractedBy: env.Subject}}}
	return []*event{e}, &marketplacev1.RetractBroadcastResponse{}, nil
}

// ListLiveBroadcasts returns what is live.
func (broadcast) ListLiveBroadcasts(s *state, _ *marketplacev1.ListLiveBroadcastsRequest, _ entity.Env) (*marketplacev1.ListLiveBroadcastsResponse, error) {
	return &marketplacev1.ListLiveBroadcastsResponse{Broadcasts: s.GetLive()}, nil
}

// Woken publishes and ends what it is time for. What has ended before anybody
// could publish it is not said any more.
func (broadcast) Woken(s *state, env entity.Env) []*event {
	var events []*event
	for _, b := range s.GetLive() {
		end := b.GetBroadcast().GetExpireTime()
		switch {
		case end != nil && !env.Now.Before(end.AsTime()):
			events = append(events, expired(b, false))
		case !b.GetPublished() && !env.Now.Before(b.GetStartTime().AsTime()):
			events = append(events, published(b.GetBroadcast().GetBroadcastId()))
		}
	}
	return stamp(env, events)
}

func published(id string) *event {
	return &event{Event: &journalv1.BroadcastEvent_Published{Published: &journalv1.BroadcastPublished{BroadcastId: id}}}
}

func expired(b *marketplacev1.LiveBroadcast, displaced bool) *event {
	return &event{Event: &journalv1.BroadcastEvent_Expired{Expired: &journalv1.BroadcastExpired{BroadcastId: b.GetBroadcast().GetBroadcastId(), Displaced: displaced}}}
}
