package messages_test

import (
	"testing"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/threefoldtech/cloud-marketplace/messages"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
)

// TestRequestFrom names the actor that the schema says, or says that there is none.
func TestRequestFrom(t *testing.T) {
	req, err := messages.RequestFrom("$part", &taskv1.GetAccessRequest{UserId: "ann"})
	if err != nil || req.GetKind() != "user" || req.GetId() != "ann" || req.GetSubject() != "$part" || messages.ByName(req.GetMethod()) == nil {
		t.Errorf("%v %v", req, err)
	}
	if _, err := messages.RequestFrom("$part", &emptypb.Empty{}); err == nil {
		t.Error("a request of what is none")
	}
}
