package gridproxy

import (
	"slices"
	"strconv"
	"strings"
)

// nodeFilters are the conditions on nodes that are played, by parameter.
var nodeFilters = map[string]filter[*node]{
	"status":             statuses,
	"node_id":            number(func(n *node, v uint64) bool { return n.id() == v }),
	"node_ids":           numbers((*node).id),
	"farm_ids":           numbers(func(n *node) uint64 { return uint64(n.FarmID) }),
	"twin_id":            number(func(n *node, v uint64) bool { return uint64(n.TwinID) == v }),
	"farm_name":          text(func(n *node, v string) bool { return strings.EqualFold(n.FarmName, v) }),
	"country":            text(func(n *node, v string) bool { return strings.EqualFold(n.Country, v) }),
	"city":               text(func(n *node, v string) bool { return strings.EqualFold(n.City, v) }),
	"region":             text(func(n *node, v string) bool { return holds(n.Location.Region, v) }),
	"certification_type": text(func(n *node, v string) bool { return strings.EqualFold(n.CertificationType, v) }),
	"free_ips":           number(func(n *node, v uint64) bool { return n.FarmFreeIPs >= v }),
	"num_gpu":            number(func(n *node, v uint64) bool { return n.NumGPU >= v }),
	"free_mru":           number(func(n *node, v uint64) bool { return n.Total.MRU >= n.Used.MRU+v }),
	"free_hru":           number(func(n *node, v uint64) bool { return n.Total.HRU >= n.Used.HRU+v }),
	"free_sru":           number(func(n *node, v uint64) bool { return n.Total.SRU >= n.Used.SRU+v }),
	"total_cru":          number(func(n *node, v uint64) bool { return n.Total.CRU >= v }),
	"total_mru":          number(func(n *node, v uint64) bool { return n.Total.MRU >= v }),
	"total_hru":          number(func(n *node, v uint64) bool { return n.Total.HRU >= v }),
	"total_sru":          number(func(n *node, v uint64) bool { return n.Total.SRU >= v }),
	"healthy":            truth(func(n *node) bool { return n.Healthy }),
	"in_dedicated_farm":  truth(func(n *node) bool { return n.InDedicatedFarm }),
	"rented":             truth(func(n *node) bool { return n.Rented }),
	"rentable":           truth(func(n *node) bool { return n.Rentable }),
}

// nodeUnplayed are the conditions on nodes that only the real server knows.
var nodeUnplayed = []string{
	"country_contains", "city_contains", "farm_name_contains", "ipv4", "ipv6", "domain", "dedicated", "owned_by", "rented_by", "rentable_or_rented_by",
	"available_for", "has_gpu", "gpu_device_id", "gpu_device_name", "gpu_vendor_id", "gpu_vendor_name", "gpu_available", "price_min", "price_max",
	"excluded", "has_ipv6", "features",
}

// farmFilters are the conditions on farms that are played.
var farmFilters = map[string]filter[*farm]{
	"farm_id":   number(func(f *farm, v uint64) bool { return uint64(f.FarmID) == v }),
	"name":      text(func(f *farm, v string) bool { return strings.EqualFold(f.Name, v) }),
	"dedicated": truth(func(f *farm) bool { return f.Dedicated }),
}

// farmUnplayed are the conditions on farms that only the real server knows.
var farmUnplayed = []string{
	"free_ips", "total_ips", "stellar_address", "pricing_policy_id", "twin_id", "name_contains", "certification_type", "node_free_mru", "node_free_hru",
	"node_free_sru", "node_total_cru", "node_status", "node_rented_by", "node_available_for", "node_has_gpu", "node_has_ipv6", "node_certified",
	"node_features", "country", "region",
}

// ipFilters are the conditions on public addresses that are played.
var ipFilters = map[string]filter[*publicIP]{
	"farm_ids": numbers(func(ip *publicIP) uint64 { return uint64(ip.FarmID) }),
	"free":     truth(func(ip *publicIP) bool { return ip.ContractID == 0 }),
}

// ipUnplayed are the conditions on public addresses that only the real server knows.
var ipUnplayed = []string{"ip", "gateway"}

func (n *node) id() uint64 { return uint64(n.NodeID) } //nolint:gosec // the recording has no negative ids

// statuses is one of several statuses, separated by commas.
func statuses(value string) (func(*node) bool, error) {
	wanted := strings.Split(value, ",")
	for _, s := range wanted {
		if !isStatus(s) {
			return nil, errStatus
		}
	}
	return func(n *node) bool { return slices.Contains(wanted, n.Status) }, nil
}

func isStatus(s string) bool { return s == "up" || s == "down" || s == "standby" }

func holds(in, part string) bool {
	return strings.Contains(strings.ToLower(in), strings.ToLower(part))
}

func text[T any](match func(T, string) bool) filter[T] {
	return func(value string) (func(T) bool, error) {
		return func(item T) bool { return match(item, value) }, nil
	}
}

func number[T any](match func(T, uint64) bool) filter[T] {
	return func(value string) (func(T) bool, error) {
		v, err := strconv.ParseUint(value, 10, 64)
		return func(item T) bool { return match(item, v) }, err
	}
}

// numbers is one of several numbers, separated by commas.
func numbers[T any](of func(T) uint64) filter[T] {
	return func(value string) (func(T) bool, error) {
		var wanted []uint64
		for part := range strings.SplitSeq(value, ",") {
			v, err := strconv.ParseUint(part, 10, 64)
			if err != nil {
				return nil, err
			}
			wanted = append(wanted, v)
		}
		return func(item T) bool { return slices.Contains(wanted, of(item)) }, nil
	}
}

func truth[T any](of func(T) bool) filter[T] {
	return func(value string) (func(T) bool, error) {
		v, err := strconv.ParseBool(value)
		return func(item T) bool { return of(item) == v }, err
	}
}
