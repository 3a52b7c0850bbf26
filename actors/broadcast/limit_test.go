package broadcast

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/messages"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// send decides one request and folds what follows; it returns how many were displaced.
func send(t *testing.T, s *state, id string, req *marketplacev1.SendBroadcastRequest) (displaced int, err error) {
	t.Helper()
	events, _, err := broadcast{}.SendBroadcast(s, req, entity.Env{Now: time.Unix(1e9, 0), Fresh: id})
	for _, e := range events {
		if e.GetExpired().GetDisplaced() {
			displaced++
		}
		broadcast{}.Apply(s, e)
	}
	return displaced, err
}

// TestRoom keeps what is live bounded: what has no end makes room, the oldest
// first, and where nothing does the request is refused.
func TestRoom(t *testing.T) {
	endless := &marketplacev1.SendBroadcastRequest{Text: "x"}
	ending := &marketplacev1.SendBroadcastRequest{Text: "x", ExpireTime: timestamppb.New(time.Unix(1e9, 0).Add(time.Hour))}
	s := &state{}
	for i := range maxLive {
		if n, err := send(t, s, messages.NewID("endless", string(rune(i))), endless); n != 0 || err != nil {
			t.Fatalf("%d displaced: %v", n, err)
		}
	}
	first := s.GetLive()[0].GetBroadcast().GetBroadcastId()
	if n, err := send(t, s, "one more", endless); n != 1 || err != nil || find(s, first) != nil || len(s.GetLive()) != maxLive {
		t.Errorf("%d displaced, %d live: %v", n, len(s.GetLive()), err)
	}
	for i := range maxLive {
		if n, err := send(t, s, messages.NewID("ending", string(rune(i))), ending); n != 1 || err != nil {
			t.Fatalf("%d displaced: %v", n, err)
		}
	}
	if _, err := send(t, s, "too many", endless); err == nil || messages.AsError(err).Reason != marketplacev1.ErrorReason_ERROR_REASON_LIMIT_REACHED {
		t.Errorf("one too many: %v", err)
	}
	s = &state{}
	long := strings.Repeat("😀", 2000)
	for i := range maxLive {
		if _, err := send(t, s, messages.NewID("long", string(rune(i))), &marketplacev1.SendBroadcastRequest{Text: long}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.GetLive()); n != maxBytes/(8000+100) {
		t.Errorf("%d long ones are live", n)
	}
}
