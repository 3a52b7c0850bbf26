package catalogue

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

func TestQuote(t *testing.T) {
	c := filled(node(1, nil), node(2, func(n *marketplacev1.Node) { n.Certified, n.Status = true, marketplacev1.NodeStatus_NODE_STATUS_DOWN }))
	withAddress := &marketplacev1.Spec{Vcpus: 2, MemoryMib: 2048, DiskGib: 15, PublicIpv4: true}
	for _, q := range []struct {
		node uint32
		spec *marketplacev1.Spec
		want *marketplacev1.QuoteDeploymentResponse
	}{
		{1, small, &marketplacev1.QuoteDeploymentResponse{HourlyPrice: 125_000, MonthlyPrice: 90_000_000, Compute: 100_000, Storage: 25_000, PriceVersion: 1}},
		{2, small, &marketplacev1.QuoteDeploymentResponse{HourlyPrice: 156_250, MonthlyPrice: 112_500_000, Compute: 100_000, Storage: 25_000, Certified: 31_250, PriceVersion: 1}},
		{1, withAddress, &marketplacev1.QuoteDeploymentResponse{HourlyPrice: 143_750, MonthlyPrice: 103_500_000, Compute: 100_000, Storage: 3_750, Addresses: 40_000, PriceVersion: 1}},
	} {
		got := &marketplacev1.QuoteDeploymentResponse{}
		if err := ask(t, c, "cloud-user/quote-deployment", &marketplacev1.QuoteDeploymentRequest{NodeId: q.node, Spec: q.spec}, got); err != nil || !proto.Equal(got, q.want) {
			t.Errorf("on node %d: %v, %v; want %v", q.node, got, err, q.want)
		}
	}
	err := ask(t, c, "cloud-user/quote-deployment", &marketplacev1.QuoteDeploymentRequest{NodeId: 3, Spec: small}, &marketplacev1.QuoteDeploymentResponse{})
	if !errors.Is(err, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_NODE_NOT_FOUND, "")) {
		t.Errorf("on a node that never was: %v", err)
	}
}

func TestListNodes(t *testing.T) {
	farm := func(id uint32) func(*marketplacev1.Node) { return func(n *marketplacev1.Node) { n.FarmId = id } }
	c := filled(node(30, farm(7)), node(4, farm(8)), node(5, farm(7)), node(6, func(n *marketplacev1.Node) {
		n.FarmId, n.Status, n.Reserved = 7, marketplacev1.NodeStatus_NODE_STATUS_DOWN, &marketplacev1.Resources{Cru: 1}
	}))
	r := &marketplacev1.ListNodesResponse{}
	if err := ask(t, c, "cloud-provider/list-nodes", &marketplacev1.ListNodesRequest{FarmId: 7}, r); err != nil {
		t.Fatal(err)
	}
	var ids []uint32
	for _, n := range r.GetNodes() {
		ids = append(ids, n.GetNodeId())
	}
	if len(ids) != 3 || ids[0] != 5 || ids[1] != 6 || ids[2] != 30 || r.GetNodes()[1].GetReserved().GetCru() != 1 {
		t.Errorf("farm 7 has %v", r.GetNodes())
	}
	r.Reset()
	if err := ask(t, c, "cloud-provider/list-nodes", &marketplacev1.ListNodesRequest{FarmId: 9}, r); err != nil || len(r.GetNodes()) != 0 {
		t.Errorf("farm 9 has %v, %v", r.GetNodes(), err)
	}
}

// TestAnswerRefuses asks for what the catalogue does not answer.
func TestAnswerRefuses(t *testing.T) {
	c := filled()
	for name, q := range map[string]struct {
		req  *clusterv1.Request
		want marketplacev1.ErrorReason
	}{
		"no method":        {&clusterv1.Request{Method: "x.Y.Z"}, marketplacev1.ErrorReason_ERROR_REASON_UNKNOWN_METHOD},
		"another's":        {&clusterv1.Request{Method: messages.ByPath("cloud-user/get-account").Name}, marketplacev1.ErrorReason_ERROR_REASON_UNKNOWN_METHOD},
		"no request of it": {&clusterv1.Request{Method: messages.ByPath("cloud-user/find-nodes").Name, Payload: []byte{0xff}}, marketplacev1.ErrorReason_ERROR_REASON_MALFORMED_REQUEST},
	} {
		r := c.Answer(q.req)
		if r.GetError() == nil || messages.FromStatus(r.GetError()).Reason != q.want || len(r.GetPayload()) > 0 {
			t.Errorf("%s: %v", name, r)
		}
	}
}
