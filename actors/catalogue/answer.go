package catalogue

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/actors/price"
	"github.com/threefoldtech/cloud-marketplace/actors/readmodel"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// defaultPage is how many nodes a page has when nobody says.
const defaultPage = 20

// Answer answers a request of the catalogue's methods.
func (c *Catalogue) Answer(req *clusterv1.Request) *clusterv1.Response {
	return readmodel.Answer(Kind, c.config.Log, req, c.answer)
}

func (c *Catalogue) answer(body proto.Message) (proto.Message, error) {
	switch body := body.(type) {
	case *marketplacev1.FindNodesRequest:
		return c.find(body)
	case *marketplacev1.QuoteDeploymentRequest:
		return c.quote(body)
	case *marketplacev1.ListNodesRequest:
		nodes := c.all(func(n *marketplacev1.Node) bool { return n.GetFarmId() == body.GetFarmId() })
		slices.SortFunc(nodes, func(a, b *marketplacev1.Node) int { return cmp.Compare(a.GetNodeId(), b.GetNodeId()) })
		return &marketplacev1.ListNodesResponse{Nodes: nodes}, nil
	}
	return nil, nil
}

// quote prices a virtual machine on a node.
func (c *Catalogue) quote(req *marketplacev1.QuoteDeploymentRequest) (*marketplacev1.QuoteDeploymentResponse, error) {
	n := c.Node(req.GetNodeId())
	if n == nil {
		return nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_NODE_NOT_FOUND, "there is no node %d", req.GetNodeId())
	}
	p := c.config.Prices.Hourly(price.ResourcesOf(req.GetSpec()), n.GetCertified())
	return &marketplacev1.QuoteDeploymentResponse{
		HourlyPrice: p.Total, MonthlyPrice: p.Total * price.HoursPerMonth, Compute: p.Compute, Storage: p.Storage,
		Addresses: p.Addresses, Certified: p.Certified, PriceVersion: c.config.Prices.Version,
	}, nil
}

// find returns the nodes on which a virtual machine fits, the cheapest first.
func (c *Catalogue) find(req *marketplacev1.FindNodesRequest) (*marketplacev1.FindNodesResponse, error) {
	from, err := parseToken(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	f := newFilter(req, c.config.Prices)
	nodes := c.all(f.keep)
	slices.SortFunc(nodes, func(a, b *marketplacev1.Node) int { return f.place(a).compare(f.place(b)) })
	r := &marketplacev1.FindNodesResponse{Total: uint32(len(nodes)), Excluded: f.excluded()} //nolint:gosec // there are fewer nodes than that
	size := int(cmp.Or(req.GetPageSize(), defaultPage))
	for _, n := range nodes {
		at := f.place(n)
		if req.GetPageToken() != "" && at.compare(from) <= 0 {
			continue
		}
		if len(r.GetNodes()) == size {
			r.NextPageToken = f.place(r.GetNodes()[size-1].GetNode()).token()
			break
		}
		r.Nodes = append(r.Nodes, &marketplacev1.FoundNode{Node: n, HourlyPrice: at.price})
	}
	return r, nil
}

// place is where a node stands in the order of a search.
type place struct {
	price int64
	node  uint32
}

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.price, q.price), cmp.Compare(p.node, q.node))
}

func (p place) token() string {
	return strconv.FormatInt(p.price, 36) + "-" + strconv.FormatUint(uint64(p.node), 36)
}

func parseToken(s string) (place, error) {
	if s == "" {
		return place{}, nil
	}
	a, b, found := strings.Cut(s, "-")
	amount, err := strconv.ParseInt(a, 36, 64)
	node, err2 := strconv.ParseUint(b, 36, 32)
	if !found || err != nil || err2 != nil {
		return place{}, messages.RefuseField("pageToken", "is not one that find-nodes gave")
	}
	return place{amount, uint32(node)}, nil
}
