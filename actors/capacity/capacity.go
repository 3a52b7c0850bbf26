// Package capacity compares what a machine needs with what a node has left.
package capacity

import marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"

// Lacking says what a node has too little of for a need: vcpus, memory, disk,
// hdd or ipv4; "" when the need fits. What is used by others and what is
// reserved here both count. Virtual processors are shared by the grid, so a
// machine needs no more of them than the node has at all; memory and disk are not.
func Lacking(n *marketplacev1.Node, need *marketplacev1.Resources) string {
	total, used, held := n.GetTotal(), n.GetUsed(), n.GetReserved()
	switch {
	case need.GetCru() > total.GetCru():
		return "vcpus"
	case need.GetMruBytes() > left(total.GetMruBytes(), used.GetMruBytes(), held.GetMruBytes()):
		return "memory"
	case need.GetSruBytes() > left(total.GetSruBytes(), used.GetSruBytes(), held.GetSruBytes()):
		return "disk"
	case need.GetHruBytes() > left(total.GetHruBytes(), used.GetHruBytes(), held.GetHruBytes()):
		return "hdd"
	case need.GetIpv4() > 0 && uint64(need.GetIpv4()) > left(uint64(total.GetIpv4()), uint64(used.GetIpv4()), uint64(held.GetIpv4())):
		return "ipv4"
	}
	return ""
}

// left is what remains of total, never less than nothing.
func left(total, used, held uint64) uint64 {
	if used > total || held > total-used {
		return 0
	}
	return total - used - held
}
