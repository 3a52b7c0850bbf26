package readmodel_test

import (
	"log/slog"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/actors/readmodel"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// TestReaches holds a moment to reach itself and all before it.
func TestReaches(t *testing.T) {
	rising := []readmodel.Moment{{}, {Index: 1}, {Version: 1}, {Version: 1, Index: 2}, {Version: 2, Index: 1}}
	for i, m := range rising {
		for j, n := range rising {
			if m.Reaches(n) != (i >= j) {
				t.Errorf("that %v reaches %v is %t", m, n, m.Reaches(n))
			}
		}
	}
}

// TestDecode reads a message whole or refuses it.
func TestDecode(t *testing.T) {
	payload, err := proto.Marshal(&taskv1.BroadcastsAcknowledged{UserId: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		version, index string
		payload        []byte
		reads          bool
	}{
		{"3", "1", payload, true},
		{"", "1", payload, false},
		{"3", "", payload, false},
		{"3", "-1", payload, false},
		{"3", "1", []byte{0xff}, false},
	} {
		m := message.NewMessage("", c.payload)
		m.Metadata.Set(persistence.MetadataVersion, c.version)
		m.Metadata.Set(persistence.MetadataIndex, c.index)
		said := &taskv1.BroadcastsAcknowledged{}
		as, err := readmodel.Decode(m, said)
		if (err == nil) != c.reads || c.reads && (as != readmodel.Moment{Version: 3, Index: 1} || said.GetUserId() != "ann") {
			t.Errorf("%q %q %x: %v %v %v", c.version, c.index, c.payload, as, said, err)
		}
	}
}

// TestAnswer replies to what is known, and says what is not.
func TestAnswer(t *testing.T) {
	const kind = "catalogue"
	find := messages.ByPath("cloud-user/find-nodes").Name
	knows := func(proto.Message) (proto.Message, error) { return &marketplacev1.FindNodesResponse{}, nil }
	for _, c := range []struct {
		method  string
		payload []byte
		reply   func(proto.Message) (proto.Message, error)
		reason  marketplacev1.ErrorReason
	}{
		{find, nil, knows, 0},
		{find, []byte{0xff}, knows, marketplacev1.ErrorReason_ERROR_REASON_MALFORMED_REQUEST},
		{find, nil, func(proto.Message) (proto.Message, error) { return nil, nil }, marketplacev1.ErrorReason_ERROR_REASON_UNKNOWN_METHOD},
		{"nothing", nil, knows, marketplacev1.ErrorReason_ERROR_REASON_UNKNOWN_METHOD},
		{messages.ByPath("cloud-user/get-account").Name, nil, knows, marketplacev1.ErrorReason_ERROR_REASON_UNKNOWN_METHOD},
	} {
		r := readmodel.Answer(kind, slog.New(slog.DiscardHandler), &clusterv1.Request{Method: c.method, Payload: c.payload}, c.reply)
		var reason marketplacev1.ErrorReason
		if r.GetError() != nil {
			reason = messages.FromStatus(r.GetError()).Reason
		}
		if reason != c.reason {
			t.Errorf("%s %x: %s, not %s", c.method, c.payload, reason, c.reason)
		}
	}
}
