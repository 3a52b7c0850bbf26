// Package price is what capacity costs: the formulas of TFChain's
// pallet-smart-contract in its own arithmetic, so that the same inputs give the
// same number as the chain.
//
// The chain computes in U64F64, 64.64-bit fixed point whose products and
// quotients are truncated and which rounds half up at the end. Money is in
// USD/7, the chain's unit: 1e-7 dollar.
package price

import (
	"errors"
	"math/big"
	"math/bits"
	"time"

	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// Policy is one version of the price list. Values are USD/7 per unit and hour.
type Policy struct {
	Version     uint32
	ComputeUnit uint64 // a CU
	StorageUnit uint64 // an SU
	IPv4        uint64 // a public address
}

// Main is the price list of the main net: 0.01 dollar per CU and hour, 0.005
// per SU, 0.004 per address.
var Main = Policy{Version: 1, ComputeUnit: 100_000, StorageUnit: 50_000, IPv4: 40_000}

// HoursPerMonth is the chain's month: 30 days.
const HoursPerMonth = 720

// Parts are what an hour of capacity costs, part by part. Each part is rounded
// by itself for show; Total is rounded once, as the chain does.
type Parts struct{ Compute, Storage, Addresses, Certified, Total int64 }

// ErrRange says that a price does not fit 64 bits.
var ErrRange = errors.New("the price is out of range")

// Hourly returns what an hour of capacity costs: the chain's cost_units_usd
// for 3,600 seconds, times 5/4 on a certified node, after the first rounding.
func (p Policy) Hourly(r *marketplacev1.Resources, certified bool) Parts {
	compute := perHour(p.ComputeUnit).mul(computeUnits(r))
	storage := perHour(p.StorageUnit).mul(storageUnits(r))
	addresses := whole(uint64(r.GetIpv4())).mul(whole(p.IPv4).div(whole(3600))).mul(whole(3600))
	parts := Parts{Compute: compute.round(), Storage: storage.round(), Addresses: addresses.round()}
	parts.Total = storage.add(compute).add(addresses).round()
	if certified {
		total := whole(uint64(parts.Total)).mul(whole(5).div(whole(4))).round() //nolint:gosec // a price is not negative
		parts.Certified = total - parts.Total
		parts.Total = total
	}
	return parts
}

// perHour is value/3600*3600 as the chain computes it.
func perHour(value uint64) fixed { return whole(value).div(whole(3600)).mul(whole(3600)) }

// computeUnits is min(max(mru/4, cru/2), max(mru/8, cru), max(mru/2, cru/4)), mru in GiB.
func computeUnits(r *marketplacev1.Resources) fixed {
	mru, cru := whole(r.GetMruBytes()).div(whole(1<<30)), whole(r.GetCru())
	part := func(f fixed, n uint64) fixed { return f.div(whole(n)) }
	even := larger(part(mru, 4), part(cru, 2))
	cpu := larger(part(mru, 8), cru)
	memory := larger(part(mru, 2), part(cru, 4))
	return smaller(smaller(even, cpu), memory)
}

// storageUnits is hru/1200 + sru/200, in GiB.
func storageUnits(r *marketplacev1.Resources) fixed {
	gib := func(b uint64) fixed { return whole(b).div(whole(1 << 30)) }
	return gib(r.GetHruBytes()).div(whole(1200)).add(gib(r.GetSruBytes()).div(whole(200)))
}

// ResourcesOf returns the capacity that a virtual machine needs.
func ResourcesOf(s *marketplacev1.Spec) *marketplacev1.Resources {
	r := &marketplacev1.Resources{Cru: uint64(s.GetVcpus()), MruBytes: uint64(s.GetMemoryMib()) << 20, SruBytes: uint64(s.GetDiskGib()) << 30}
	if s.GetPublicIpv4() {
		r.Ipv4 = 1
	}
	return r
}

// millisPerHour is the denominator of a charge.
const millisPerHour = 3_600_000

// Charge returns what elapsed time costs at a price per hour, in whole units,
// and what is left over: price × milliseconds that make no whole unit yet. The
// left-over goes into the next charge, so that nothing is lost or gained by
// charging often. ErrRange when the amount does not fit.
func Charge(hourly int64, elapsed time.Duration, left int64) (amount, leftOver int64, err error) {
	ms := elapsed.Milliseconds()
	if hourly < 0 || ms < 0 || left < 0 || left >= millisPerHour {
		return 0, 0, ErrRange
	}
	hi, lo := bits.Mul64(uint64(hourly), uint64(ms))
	lo, carry := bits.Add64(lo, uint64(left), 0)
	if hi += carry; hi >= millisPerHour {
		return 0, 0, ErrRange
	}
	q, rest := bits.Div64(hi, lo, millisPerHour)
	if q > 1<<63-1 {
		return 0, 0, ErrRange
	}
	return int64(q), int64(rest), nil //nolint:gosec // both were just bounded
}

// fixed is a number of U64F64.
type fixed struct{ v *big.Int }

var half = new(big.Int).Lsh(big.NewInt(1), 63)

func whole(n uint64) fixed { return fixed{new(big.Int).Lsh(new(big.Int).SetUint64(n), 64)} }

func (f fixed) mul(g fixed) fixed {
	p := new(big.Int).Mul(f.v, g.v)
	return fixed{p.Rsh(p, 64)}
}

func (f fixed) div(g fixed) fixed {
	n := new(big.Int).Lsh(f.v, 64)
	return fixed{n.Quo(n, g.v)}
}

func (f fixed) add(g fixed) fixed { return fixed{new(big.Int).Add(f.v, g.v)} }

// round rounds half up.
func (f fixed) round() int64 {
	r := new(big.Int).Add(f.v, half)
	return r.Rsh(r, 64).Int64()
}

func larger(f, g fixed) fixed {
	if f.v.Cmp(g.v) > 0 {
		return f
	}
	return g
}

func smaller(f, g fixed) fixed {
	if f.v.Cmp(g.v) < 0 {
		return f
	}
	return g
}
