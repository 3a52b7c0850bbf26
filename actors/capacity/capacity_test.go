package capacity

import (
	"math"
	"testing"

	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

func TestLacking(t *testing.T) {
	type resources = marketplacev1.Resources
	total := &resources{Cru: 8, MruBytes: 100, SruBytes: 200, HruBytes: 300, Ipv4: 4}
	used := &resources{Cru: 100, MruBytes: 40, SruBytes: 50, HruBytes: 60, Ipv4: 1}
	held := &resources{Cru: 100, MruBytes: 10, SruBytes: 20, HruBytes: 30, Ipv4: 1}
	most := uint64(math.MaxUint64)
	for _, c := range []struct {
		name string
		node *marketplacev1.Node
		need *resources
		want string
	}{
		{"nothing of nothing", nil, nil, ""},
		{"nothing of a full node", &marketplacev1.Node{Total: total, Used: total, Reserved: total}, &resources{}, ""},
		{"something of nothing", nil, &resources{MruBytes: 1}, "memory"},
		{"exactly what is left", &marketplacev1.Node{Total: total, Used: used, Reserved: held}, &resources{Cru: 8, MruBytes: 50, SruBytes: 130, HruBytes: 210, Ipv4: 2}, ""},
		{"processors are shared, and there are eight", &marketplacev1.Node{Total: total, Used: used, Reserved: held}, &resources{Cru: 9}, "vcpus"},
		{"memory", &marketplacev1.Node{Total: total, Used: used, Reserved: held}, &resources{MruBytes: 51}, "memory"},
		{"disk", &marketplacev1.Node{Total: total, Used: used, Reserved: held}, &resources{SruBytes: 131}, "disk"},
		{"hdd", &marketplacev1.Node{Total: total, Used: used, Reserved: held}, &resources{HruBytes: 211}, "hdd"},
		{"addresses", &marketplacev1.Node{Total: total, Used: used, Reserved: held}, &resources{Ipv4: 3}, "ipv4"},
		{"the first that lacks is named", &marketplacev1.Node{Total: total}, &resources{Cru: 9, MruBytes: most, SruBytes: most, HruBytes: most, Ipv4: 9}, "vcpus"},
		{"more is used than there is", &marketplacev1.Node{Total: total, Used: &resources{MruBytes: 101}}, &resources{MruBytes: 1}, "memory"},
		{"more is reserved than is left", &marketplacev1.Node{Total: total, Used: used, Reserved: &resources{MruBytes: 61}}, &resources{MruBytes: 1}, "memory"},
		{"sums that do not fit", &marketplacev1.Node{Total: &resources{MruBytes: most}, Used: &resources{MruBytes: most}, Reserved: &resources{MruBytes: most}}, &resources{MruBytes: 1}, "memory"},
		{"all that a number can say", &marketplacev1.Node{Total: &resources{MruBytes: most}}, &resources{MruBytes: most}, ""},
		{"no address of none", &marketplacev1.Node{Total: &resources{}, Used: &resources{Ipv4: 3}}, &resources{}, ""},
	} {
		if got := Lacking(c.node, c.need); got != c.want {
			t.Errorf("%s: lacks %q, want %q", c.name, got, c.want)
		}
	}
}
