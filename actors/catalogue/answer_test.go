package catalogue

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/actors/price"
	"github.com/threefoldtech/cloud-marketplace/actors/readmodel"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

const gib = 1 << 30

// small is a machine that costs 125,000 an hour, 156,250 on a certified node.
var small = &marketplacev1.Spec{Vcpus: 2, MemoryMib: 4096, DiskGib: 100}

// node makes a node that is up and has room, and then is as change says.
func node(id uint32, change func(*marketplacev1.Node)) *marketplacev1.Node {
	n := &marketplacev1.Node{
		NodeId: id, FarmId: 1, Country: "Belgium", Region: "Europe", Status: marketplacev1.NodeStatus_NODE_STATUS_UP,
		Total: &marketplacev1.Resources{Cru: 8, MruBytes: 16 * gib, SruBytes: 500 * gib, Ipv4: 1},
	}
	if change != nil {
		change(n)
	}
	return n
}

func filled(nodes ...*marketplacev1.Node) *Catalogue {
	c := New(Config{Prices: price.Main, Log: slog.New(slog.DiscardHandler)})
	for _, n := range nodes {
		c.put(n, readmodel.Moment{Version: 1})
	}
	return c
}

// ask has the catalogue answer as it does over the wire.
func ask(t *testing.T, c *Catalogue, path string, req, resp proto.Message) error {
	t.Helper()
	payload, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	r := c.Answer(&clusterv1.Request{Method: messages.ByPath(path).Name, Payload: payload})
	if r.GetError() != nil {
		return messages.FromStatus(r.GetError())
	}
	return proto.Unmarshal(r.GetPayload(), resp)
}

func find(t *testing.T, c *Catalogue, req *marketplacev1.FindNodesRequest) *marketplacev1.FindNodesResponse {
	t.Helper()
	r := &marketplacev1.FindNodesResponse{}
	if err := ask(t, c, "cloud-user/find-nodes", req, r); err != nil {
		t.Fatal(err)
	}
	return r
}

// spelled is an answer in short: nodes with their prices, and what others lacked.
func spelled(r *marketplacev1.FindNodesResponse) string {
	var words []string
	for _, n := range r.GetNodes() {
		words = append(words, fmt.Sprintf("%d:%d", n.GetNode().GetNodeId(), n.GetHourlyPrice()))
	}
	for _, e := range r.GetExcluded() {
		words = append(words, fmt.Sprintf("%s-%d", e.GetCondition(), e.GetNodes()))
	}
	return strings.Join(words, " ")
}

// TestFind asks a hand-made set in which every node lacks one thing.
func TestFind(t *testing.T) {
	c := filled(
		node(9, nil),
		node(3, func(n *marketplacev1.Node) { n.Certified = true }),
		node(5, nil),
		node(10, func(n *marketplacev1.Node) { n.Status = marketplacev1.NodeStatus_NODE_STATUS_DOWN }),
		node(11, func(n *marketplacev1.Node) { n.Status = marketplacev1.NodeStatus_NODE_STATUS_STANDBY }),
		node(12, func(n *marketplacev1.Node) {
			n.Status = marketplacev1.NodeStatus_NODE_STATUS_UNSPECIFIED
			n.Dedicated = true
		}),
		node(13, func(n *marketplacev1.Node) { n.Dedicated = true }),
		node(14, func(n *marketplacev1.Node) { n.Country, n.Region = "Egypt", "Africa" }),
		node(15, func(n *marketplacev1.Node) { n.Total.Cru = 1 }),
		node(16, func(n *marketplacev1.Node) { n.Used = &marketplacev1.Resources{MruBytes: 12*gib + 1} }),
		node(17, func(n *marketplacev1.Node) { n.Reserved = &marketplacev1.Resources{SruBytes: 401 * gib} }),
		node(18, func(n *marketplacev1.Node) { n.Total.Ipv4 = 0 }),
	)
	for _, q := range []struct {
		name string
		req  *marketplacev1.FindNodesRequest
		want string
	}{
		{"anywhere", &marketplacev1.FindNodesRequest{Spec: small}, "5:125000 9:125000 14:125000 18:125000 3:156250 status-3 dedicated-1 vcpus-1 memory-1 disk-1"},
		{"in a country", &marketplacev1.FindNodesRequest{Spec: small, Country: "egypt"}, "14:125000 status-3 dedicated-1 country-7"},
		{"in a region", &marketplacev1.FindNodesRequest{Spec: small, Region: "AFRICA"}, "14:125000 status-3 dedicated-1 region-7"},
		{"nowhere", &marketplacev1.FindNodesRequest{Spec: small, Country: "Egypt", Region: "Europe"}, "status-3 dedicated-1 country-7 region-1"},
		{"certified", &marketplacev1.FindNodesRequest{Spec: small, CertifiedOnly: true}, "3:156250 status-3 dedicated-1 certified-7"},
		{"at a price", &marketplacev1.FindNodesRequest{Spec: small, MaxHourlyPrice: 156_249}, "5:125000 9:125000 14:125000 18:125000 status-3 dedicated-1 vcpus-1 memory-1 disk-1 price-1"},
		{"at exactly the price", &marketplacev1.FindNodesRequest{Spec: small, MaxHourlyPrice: 156_250, CertifiedOnly: true}, "3:156250 status-3 dedicated-1 certified-7"},
		{"for nothing", &marketplacev1.FindNodesRequest{Spec: small, MaxHourlyPrice: 1}, "status-3 dedicated-1 vcpus-1 memory-1 disk-1 price-5"},
		{"with an address", &marketplacev1.FindNodesRequest{Spec: &marketplacev1.Spec{Vcpus: 1, MemoryMib: 1024, DiskGib: 15, PublicIpv4: true}}, "5:93750 9:93750 14:93750 15:93750 16:93750 17:93750 3:117188 status-3 dedicated-1 ipv4-1"},
		{"for a giant", &marketplacev1.FindNodesRequest{Spec: &marketplacev1.Spec{Vcpus: 64, MemoryMib: 524_288, DiskGib: 16_384}}, "status-3 dedicated-1 vcpus-8"},
	} {
		r := find(t, c, q.req)
		if got := spelled(r); got != q.want {
			t.Errorf("%s:\n%s\nwant\n%s", q.name, got, q.want)
		}
		complete(t, c, r)
	}
}

// complete holds an answer to count every node once.
func complete(t *testing.T, c *Catalogue, r *marketplacev1.FindNodesResponse) {
	t.Helper()
	sum := r.GetTotal()
	for _, e := range r.GetExcluded() {
		sum += e.GetNodes()
	}
	if int(sum) != c.Len() {
		t.Errorf("%d nodes are found or explained, and there are %d: %v", sum, c.Len(), r.GetExcluded())
	}
}

// TestPaging pages through many nodes at two prices, with pages of every size.
func TestPaging(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var nodes []*marketplacev1.Node
	for id := range uint32(60) {
		nodes = append(nodes, node(id*id+1, func(n *marketplacev1.Node) {
			n.Certified = r.IntN(2) == 0
			if r.IntN(4) == 0 {
				n.Status = marketplacev1.NodeStatus_NODE_STATUS_DOWN
			}
		}))
	}
	c := filled(nodes...)
	all := find(t, c, &marketplacev1.FindNodesRequest{Spec: small, PageSize: 200})
	complete(t, c, all)
	if all.GetNextPageToken() != "" || int(all.GetTotal()) != len(all.GetNodes()) {
		t.Fatalf("one page is not all: %d of %d", len(all.GetNodes()), all.GetTotal())
	}
	for size := range uint32(len(all.GetNodes()) + 2) {
		var paged []*marketplacev1.FoundNode
		for token, first := "", true; first || token != ""; first = false {
			page := find(t, c, &marketplacev1.FindNodesRequest{Spec: small, PageSize: size, PageToken: token})
			if page.GetTotal() != all.GetTotal() || len(page.GetNodes()) > int(max(size, defaultPage)) || len(page.GetNodes()) == 0 {
				t.Fatalf("a page of %d has %d of %d nodes", size, len(page.GetNodes()), page.GetTotal())
			}
			paged, token = append(paged, page.GetNodes()...), page.GetNextPageToken()
		}
		if !slices.EqualFunc(paged, all.GetNodes(), func(a, b *marketplacev1.FoundNode) bool { return proto.Equal(a, b) }) {
			t.Fatalf("in pages of %d it is %d nodes, at once %d", size, len(paged), len(all.GetNodes()))
		}
	}
}

// TestPagingWhileNodesCome goes on after a node that has gone meanwhile.
func TestPagingWhileNodesCome(t *testing.T) {
	c := filled(node(1, nil), node(2, nil), node(3, nil))
	first := find(t, c, &marketplacev1.FindNodesRequest{Spec: small, PageSize: 2})
	c.put(node(2, func(n *marketplacev1.Node) { n.Status = marketplacev1.NodeStatus_NODE_STATUS_DOWN }), readmodel.Moment{Version: 2})
	c.put(node(4, nil), readmodel.Moment{Version: 1})
	next := find(t, c, &marketplacev1.FindNodesRequest{Spec: small, PageSize: 2, PageToken: first.GetNextPageToken()})
	if got := spelled(next); got != "3:125000 4:125000 status-1" || next.GetNextPageToken() != "" {
		t.Errorf("the second page is %s", got)
	}
}

func TestForeignTokens(t *testing.T) {
	c := filled(node(1, nil))
	for _, token := range []string{"-", "1", "1-", "-1", "x y", "zzzzzzzzzzzzzzzzzz-1", "1-zzzzzzzz", "1-1-1"} {
		err := ask(t, c, "cloud-user/find-nodes", &marketplacev1.FindNodesRequest{Spec: small, PageToken: token}, &marketplacev1.FindNodesResponse{})
		if e := messages.AsError(err); err == nil || e.Reason != marketplacev1.ErrorReason_ERROR_REASON_INVALID_FIELD {
			t.Errorf("the token %q: %v", token, err)
		}
	}
}
