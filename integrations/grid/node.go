package grid

import (
	"math"
	"slices"

	"google.golang.org/protobuf/proto"

	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// proxyNode is what is read of a node as grid-proxy lists it.
type proxyNode struct {
	NodeID            int64         `json:"nodeId"`
	FarmID            int64         `json:"farmId"`
	FarmName          string        `json:"farmName"`
	Country           string        `json:"country"`
	City              string        `json:"city"`
	Location          proxyLocation `json:"location"`
	Status            string        `json:"status"`
	CertificationType string        `json:"certificationType"`
	InDedicatedFarm   bool          `json:"inDedicatedFarm"`
	Rented            bool          `json:"rented"`
	RentedByTwinID    uint64        `json:"rentedByTwinId"`
	ExtraFee          uint64        `json:"extraFee"`
	FarmFreeIPs       uint32        `json:"farm_free_ips"`
	Features          []string      `json:"features"`
	Total             proxyCapacity `json:"total_resources"`
	Used              proxyCapacity `json:"used_resources"`
}

type proxyLocation struct {
	Region string `json:"region"`
}

// proxyCapacity is resources; all but the processors in bytes.
type proxyCapacity struct {
	CRU uint64 `json:"cru"`
	SRU uint64 `json:"sru"`
	HRU uint64 `json:"hru"`
	MRU uint64 `json:"mru"`
}

const (
	// maxText is how long a name from outside may be.
	maxText = 256
	// maxAmount is more bytes than any node has.
	maxAmount = 1 << 60
)

var statuses = map[string]marketplacev1.NodeStatus{
	"up":      marketplacev1.NodeStatus_NODE_STATUS_UP,
	"standby": marketplacev1.NodeStatus_NODE_STATUS_STANDBY,
	"down":    marketplacev1.NodeStatus_NODE_STATUS_DOWN,
}

// node returns the node as the marketplace shows it, without the time of the
// observation; nil when what was said makes no sense.
func (p *proxyNode) node() *marketplacev1.Node {
	status, known := statuses[p.Status]
	switch {
	case !known,
		p.NodeID < 1, p.NodeID > math.MaxUint32,
		p.FarmID < 0, p.FarmID > math.MaxUint32,
		max(len(p.FarmName), len(p.Country), len(p.City), len(p.Location.Region)) > maxText,
		max(p.Total.most(), p.Used.most()) > maxAmount:
		return nil
	}
	n := &marketplacev1.Node{
		NodeId:    uint32(p.NodeID),
		FarmId:    uint32(p.FarmID),
		FarmName:  p.FarmName,
		Country:   p.Country,
		City:      p.City,
		Region:    p.Location.Region,
		Status:    status,
		Certified: p.CertificationType == "Certified",
		Dedicated: p.dedicated(),
		Total:     p.Total.resources(),
		Used:      p.Used.resources(),
	}
	n.Total.Ipv4 = p.ipv4()
	return n
}

// dedicated says whether not everyone may deploy on the node. That is the
// chain's rule: somebody rents it, or its farm lets whole nodes only, or it asks
// an extra fee, which only a renter pays. grid-proxy's own field of that name
// also counts nodes that nobody uses yet, and is not read.
func (p *proxyNode) dedicated() bool {
	return p.Rented || p.RentedByTwinID != 0 || p.InDedicatedFarm || p.ExtraFee > 0
}

// ipv4 is how many public addresses can be had on the node. A list of nodes
// tells only how many are free in the whole farm, so that is shown as all there
// are, none of them used; nodes of one farm show the same addresses, and the
// grid decides who gets one. A node whose features lack ipv4 has none to give.
func (p *proxyNode) ipv4() uint32 {
	if len(p.Features) > 0 && !slices.Contains(p.Features, "ipv4") {
		return 0
	}
	return p.FarmFreeIPs
}

func (c *proxyCapacity) most() uint64 { return max(c.CRU, c.MRU, c.SRU, c.HRU) }

func (c *proxyCapacity) resources() *marketplacev1.Resources {
	return &marketplacev1.Resources{Cru: c.CRU, MruBytes: c.MRU, SruBytes: c.SRU, HruBytes: c.HRU}
}

// same says whether a node that the grid told is what is shown already. What
// this marketplace has reserved and when the node was observed do not count.
func same(shown, told *marketplacev1.Node) bool {
	if shown == nil {
		return false
	}
	shown = proto.CloneOf(shown)
	shown.Reserved, shown.ObserveTime = nil, nil
	return proto.Equal(shown, told)
}
