package grid

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

func parse(t *testing.T, text string) *marketplacev1.Node {
	t.Helper()
	nodes, err := decode([]byte("[" + text + "]"))
	if err != nil || len(nodes) != 1 {
		t.Fatalf("%s: %d nodes, %v", text, len(nodes), err)
	}
	return nodes[0].node()
}

func TestNode(t *testing.T) {
	const base = `"nodeId":7,"status":"up",`
	for text, want := range map[string]string{
		`{"nodeId":7,"farmId":3,"farmName":"f","country":"Egypt","city":"Giza","location":{"region":"Africa"},"status":"standby","certificationType":"Certified",
			"farm_free_ips":2,"total_resources":{"cru":8,"sru":3,"hru":4,"mru":5},"used_resources":{"cru":1,"sru":2,"hru":3,"mru":4}}`: `node_id:7 farm_id:3
			farm_name:"f" country:"Egypt" city:"Giza" region:"Africa" status:NODE_STATUS_STANDBY certified:true
			total:{cru:8 mru_bytes:5 sru_bytes:3 hru_bytes:4 ipv4:2} used:{cru:1 mru_bytes:4 sru_bytes:2 hru_bytes:3}`,
		`{` + base + `"certificationType":"Diy"}`:                        `node_id:7 status:NODE_STATUS_UP total:{} used:{}`,
		`{"nodeId":4294967295,"status":"down"}`:                          `node_id:4294967295 status:NODE_STATUS_DOWN total:{} used:{}`,
		`{` + base + `"dedicated":true,"rentable":true}`:                 `node_id:7 status:NODE_STATUS_UP total:{} used:{}`,
		`{` + base + `"inDedicatedFarm":true}`:                           `node_id:7 status:NODE_STATUS_UP dedicated:true total:{} used:{}`,
		`{` + base + `"rented":true}`:                                    `node_id:7 status:NODE_STATUS_UP dedicated:true total:{} used:{}`,
		`{` + base + `"rentedByTwinId":9}`:                               `node_id:7 status:NODE_STATUS_UP dedicated:true total:{} used:{}`,
		`{` + base + `"extraFee":1}`:                                     `node_id:7 status:NODE_STATUS_UP dedicated:true total:{} used:{}`,
		`{` + base + `"farm_free_ips":1,"features":["zmachine","ipv4"]}`: `node_id:7 status:NODE_STATUS_UP total:{ipv4:1} used:{}`,
		`{` + base + `"farm_free_ips":1,"features":["zmachine-light"]}`:  `node_id:7 status:NODE_STATUS_UP total:{} used:{}`,
	} {
		node := &marketplacev1.Node{}
		if err := prototext.Unmarshal([]byte(want), node); err != nil {
			t.Fatal(err)
		}
		if got := parse(t, text); !proto.Equal(got, node) {
			t.Errorf("%s is %v, want %v", text, got, node)
		}
	}
	for _, text := range []string{
		`null`, `7`, `{}`, `{"nodeId":7}`, `{"nodeId":7,"status":"UP"}`, `{"nodeId":0,"status":"up"}`, `{"nodeId":-1,"status":"up"}`,
		`{"nodeId":4294967296,"status":"up"}`, `{` + base + `"farmId":-1}`, `{` + base + `"farmId":4294967296}`, `{` + base + `"farmId":"x"}`,
		`{` + base + `"city":"` + strings.Repeat("x", 257) + `"}`, `{` + base + `"used_resources":{"mru":18446744073709551615}}`,
		`{` + base + `"total_resources":{"cru":-1}}`,
	} {
		if got := parse(t, text); got != nil {
			t.Errorf("%s is %v", text, got)
		}
	}
}

func TestSame(t *testing.T) {
	told := parse(t, plainNode(1, "up"))
	shown := proto.CloneOf(told)
	shown.Reserved = &marketplacev1.Resources{Cru: 4}
	if !same(shown, told) || shown.GetReserved().GetCru() != 4 {
		t.Error("what is reserved makes a difference, or was lost by comparing")
	}
	if same(nil, told) || same(parse(t, plainNode(1, "down")), told) {
		t.Error("a node that is unknown or was down is the same as one that is up")
	}
}
