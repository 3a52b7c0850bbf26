package messages

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// TestCanSeal asks types that hold sealed values, that do not, and that hold themselves.
func TestCanSeal(t *testing.T) {
	for _, c := range []struct {
		of   proto.Message
		want bool
	}{
		{&marketplacev1.CreateApiKeyResponse{}, true},
		{&marketplacev1.CreateDeploymentRequest{}, true},
		{&marketplacev1.GetAccountResponse{}, false},
		{&structpb.Struct{}, false},
	} {
		if d := c.of.ProtoReflect().Descriptor(); CanSeal(d) != c.want {
			t.Errorf("%s can seal: %v", d.FullName(), !c.want)
		}
	}
}
