package messages

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// speaker decides for the kind broadcast: what it is given, it returns.
type speaker struct {
	BroadcastDecider[string, string, int] // what is not asked here
	response                              *marketplacev1.SendBroadcastResponse
	err                                   error
}

func (s speaker) SendBroadcast(string, *marketplacev1.SendBroadcastRequest, int) ([]string, *marketplacev1.SendBroadcastResponse, error) {
	return []string{"said"}, s.response, s.err
}

// TestDispatch hands requests over; a response that is missing must be nil for
// the one who asks whether there is one.
func TestDispatch(t *testing.T) {
	refusal := Refuse(marketplacev1.ErrorReason_ERROR_REASON_WRONG_STATE, "not now")
	response := &marketplacev1.SendBroadcastResponse{BroadcastId: "1"}
	for _, c := range []struct {
		name    string
		speaker speaker
		req     proto.Message
		want    proto.Message
		err     error
	}{
		{"answer", speaker{response: response}, &marketplacev1.SendBroadcastRequest{}, response, nil},
		{"refusal", speaker{err: refusal}, &marketplacev1.SendBroadcastRequest{}, nil, refusal},
		{"unknown", speaker{}, &marketplacev1.GetAccountRequest{}, nil, &Error{Reason: marketplacev1.ErrorReason_ERROR_REASON_UNKNOWN_METHOD}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, got, err := DecideBroadcast[string, string, int](c.speaker, "", c.req, 0)
			if got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if !errors.Is(err, c.err) {
				t.Errorf("got %v, want %v", err, c.err)
			}
		})
	}
}
