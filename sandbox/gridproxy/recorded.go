package gridproxy

import (
	"compress/gzip"
	"embed"
	"encoding/json"
	"fmt"
)

//go:embed recorded/*.gz
var recorded embed.FS

// load reads one recorded answer.
func load(name string, into any) error {
	f, err := recorded.Open("recorded/" + name + ".json.gz")
	if err != nil {
		return fmt.Errorf("open the recorded %s: %w", name, err)
	}
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("unzip the recorded %s: %w", name, err)
	}
	if err := json.NewDecoder(unzipped).Decode(into); err != nil {
		return fmt.Errorf("read the recorded %s: %w", name, err)
	}
	return f.Close()
}

// capacity is resources; all but the processors in bytes.
type capacity struct {
	CRU uint64 `json:"cru"`
	SRU uint64 `json:"sru"`
	HRU uint64 `json:"hru"`
	MRU uint64 `json:"mru"`
}

// location is where a node stands.
type location struct {
	Country   string          `json:"country"`
	City      string          `json:"city"`
	Region    string          `json:"region"`
	Longitude json.RawMessage `json:"longitude"`
	Latitude  json.RawMessage `json:"latitude"`
}

// head, middle and tail are the fields of a node in their order on the wire:
// lists put its capacity between head and middle as two fields, a single node
// as one. What no filter looks at is kept as it was recorded.
type head struct {
	ID              string `json:"id"`
	NodeID          int    `json:"nodeId"`
	FarmID          int    `json:"farmId"`
	FarmName        string `json:"farmName"`
	TwinID          int    `json:"twinId"`
	Country         string `json:"country"`
	GridVersion     int    `json:"gridVersion"`
	City            string `json:"city"`
	Uptime          int64  `json:"uptime"`
	Created         int64  `json:"created"`
	FarmingPolicyID int    `json:"farmingPolicyId"`
	UpdatedAt       int64  `json:"updatedAt"`
}

type middle struct {
	Location          location        `json:"location"`
	PublicConfig      json.RawMessage `json:"publicConfig"`
	Status            string          `json:"status"`
	CertificationType string          `json:"certificationType"`
	Dedicated         bool            `json:"dedicated"`
	InDedicatedFarm   bool            `json:"inDedicatedFarm"`
}

type tail struct {
	SerialNumber string          `json:"serialNumber"`
	Power        json.RawMessage `json:"power"`
	NumGPU       uint64          `json:"num_gpu"`
	ExtraFee     uint64          `json:"extraFee"`
	Healthy      bool            `json:"healthy"`
	DMI          json.RawMessage `json:"dmi"`
	Speed        json.RawMessage `json:"speed"`
	CPUBenchmark json.RawMessage `json:"cpu_benchmark"`
	GPUs         json.RawMessage `json:"gpus"`
	PriceUSD     json.RawMessage `json:"price_usd"`
	FarmFreeIPs  uint64          `json:"farm_free_ips"`
	Features     []string        `json:"features"`
}

// node is a node as lists show it.
type node struct {
	head
	Total capacity `json:"total_resources"`
	Used  capacity `json:"used_resources"`
	middle
	RentContractID uint64 `json:"rentContractId"`
	Rented         bool   `json:"rented"`
	Rentable       bool   `json:"rentable"`
	RentedByTwinID uint64 `json:"rentedByTwinId"`
	tail
}

// nestedNode is a node as it is shown alone.
type nestedNode struct {
	head
	Capacity struct {
		Total capacity `json:"total_resources"`
		Used  capacity `json:"used_resources"`
	} `json:"capacity"`
	middle
	RentContractID uint64 `json:"rentContractId"`
	RentedByTwinID uint64 `json:"rentedByTwinId"`
	Rented         bool   `json:"rented"`
	Rentable       bool   `json:"rentable"`
	tail
}

func (n *node) nested() *nestedNode {
	out := &nestedNode{
		head: n.head, middle: n.middle, tail: n.tail,
		RentContractID: n.RentContractID, RentedByTwinID: n.RentedByTwinID, Rented: n.Rented, Rentable: n.Rentable,
	}
	out.Capacity.Total, out.Capacity.Used = n.Total, n.Used
	return out
}

// farm is a farm with its public addresses.
type farm struct {
	Name              string     `json:"name"`
	FarmID            int        `json:"farmId"`
	TwinID            int        `json:"twinId"`
	PricingPolicyID   int        `json:"pricingPolicyId"`
	CertificationType string     `json:"certificationType"`
	StellarAddress    string     `json:"stellarAddress"`
	Dedicated         bool       `json:"dedicated"`
	PublicIPs         []publicIP `json:"publicIps"`
}

// publicIP is a public address of a farm.
type publicIP struct {
	ID         string `json:"id"`
	IP         string `json:"ip"`
	Gateway    string `json:"gateway"`
	ContractID uint64 `json:"contract_id"`
	FarmID     int    `json:"farm_id,omitempty"`
}
