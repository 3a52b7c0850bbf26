package catalogue

import (
	"strings"

	"github.com/threefoldtech/cloud-marketplace/actors/capacity"
	"github.com/threefoldtech/cloud-marketplace/actors/price"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// filter holds nodes to what is wanted, condition by condition, and counts at
// which each one failed.
type filter struct {
	conditions []condition
	failed     []uint32
	plain      int64 // price per hour on a node that is not certified
	certified  int64 // and on one that is
}

// condition is one thing that a node must fulfil.
type condition struct {
	name string
	ok   func(*marketplacev1.Node) bool
}

func newFilter(req *marketplacev1.FindNodesRequest, prices price.Policy) *filter {
	need := price.ResourcesOf(req.GetSpec())
	f := &filter{plain: prices.Hourly(need, false).Total, certified: prices.Hourly(need, true).Total}
	is := func(name string, ok func(*marketplacev1.Node) bool) {
		f.conditions = append(f.conditions, condition{name, ok})
	}
	is("status", func(n *marketplacev1.Node) bool { return n.GetStatus() == marketplacev1.NodeStatus_NODE_STATUS_UP })
	is("dedicated", func(n *marketplacev1.Node) bool { return !n.GetDedicated() })
	if want := req.GetCountry(); want != "" {
		is("country", func(n *marketplacev1.Node) bool { return strings.EqualFold(n.GetCountry(), want) })
	}
	if want := req.GetRegion(); want != "" {
		is("region", func(n *marketplacev1.Node) bool { return strings.EqualFold(n.GetRegion(), want) })
	}
	if req.GetCertifiedOnly() {
		is("certified", func(n *marketplacev1.Node) bool { return n.GetCertified() })
	}
	for _, what := range []string{"vcpus", "memory", "disk", "ipv4"} {
		is(what, func(n *marketplacev1.Node) bool { return capacity.Lacking(n, need) != what })
	}
	if most := req.GetMaxHourlyPrice(); most > 0 {
		is("price", func(n *marketplacev1.Node) bool { return f.priceOn(n) <= most })
	}
	f.failed = make([]uint32, len(f.conditions))
	return f
}

// keep says whether a node fulfils every condition.
func (f *filter) keep(n *marketplacev1.Node) bool {
	for i, c := range f.conditions {
		if !c.ok(n) {
			f.failed[i]++
			return false
		}
	}
	return true
}

// excluded says what the nodes that were not kept lacked.
func (f *filter) excluded() []*marketplacev1.Excluded {
	var all []*marketplacev1.Excluded
	for i, c := range f.conditions {
		if f.failed[i] > 0 {
			all = append(all, &marketplacev1.Excluded{Condition: c.name, Nodes: f.failed[i]})
		}
	}
	return all
}

func (f *filter) priceOn(n *marketplacev1.Node) int64 {
	if n.GetCertified() {
		return f.certified
	}
	return f.plain
}

func (f *filter) place(n *marketplacev1.Node) place { return place{f.priceOn(n), n.GetNodeId()} }
