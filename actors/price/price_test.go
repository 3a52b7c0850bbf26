package price

import (
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

const gib = 1 << 30

func resources(cru, mru, sru, hru uint64, ipv4 uint32) *marketplacev1.Resources {
	return &marketplacev1.Resources{Cru: cru, MruBytes: mru * gib, SruBytes: sru * gib, HruBytes: hru * gib, Ipv4: ipv4}
}

// TestComputeUnits holds to the pallet's own cases, test_cu_calculation.
func TestComputeUnits(t *testing.T) {
	for _, c := range []struct{ cru, mru, want uint64 }{
		{4, 1024, 128}, {32, 128, 32}, {4, 2, 1}, {4, 1, 1}, {16, 16, 8}, {0, 0, 0},
	} {
		if got := computeUnits(resources(c.cru, c.mru, 0, 0, 0)); got.v.Cmp(whole(c.want).v) != 0 {
			t.Errorf("%d processors and %d GiB: %v in 64.64, want %d", c.cru, c.mru, got.v, c.want)
		}
	}
}

// TestHourly holds the whole price to numbers that were computed elsewhere: in
// the issues of the chain and by a port of its cost.rs.
func TestHourly(t *testing.T) {
	fixture := Policy{ComputeUnit: 305_600, StorageUnit: 194_400, IPv4: 69_400} // of the pallet's tests
	withSRU := func(r *marketplacev1.Resources, bytes uint64) *marketplacev1.Resources {
		r.SruBytes = bytes
		return r
	}
	for _, c := range []struct {
		name      string
		policy    Policy
		need      *marketplacev1.Resources
		certified bool
		want      int64
	}{
		{"1c 1G 15G", Main, resources(1, 1, 15, 0, 0), false, 53_750},
		{"2c 4G 100G", Main, resources(2, 4, 100, 0, 0), false, 125_000},
		{"4c 8G 160G and an address", Main, resources(4, 8, 160, 0, 1), false, 280_000},
		{"8c 32G 352G and an address", Main, withSRU(resources(8, 32, 0, 0, 1), 377_957_122_048), false, 928_000},
		{"32c 64G 1000G and 4000G of HDD", Main, resources(32, 64, 1000, 4000, 0), false, 2_016_667},
		{"2c 2G 15G", Main, resources(2, 2, 15, 0, 0), false, 103_750},
		{"2c 2G 15G and an address", Main, resources(2, 2, 15, 0, 1), false, 143_750},
		{"the same, certified", Main, resources(2, 2, 15, 0, 1), true, 179_688}, // 179,687.5, half up
		{"2c 4G 100G, certified", Main, resources(2, 4, 100, 0, 0), true, 156_250},
		{"nothing", Main, resources(0, 0, 0, 0, 0), false, 0},
		{"nothing, certified", Main, resources(0, 0, 0, 0, 0), true, 0},
		{"an address", Main, resources(0, 0, 0, 0, 1), false, 40_000},
		{"the fixture: 305,600 for a CU, 58,320 for 60 GiB", fixture, resources(2, 2, 60, 0, 0), false, 363_920},
	} {
		p := c.policy.Hourly(c.need, c.certified)
		if p.Total != c.want {
			t.Errorf("%s: %d, want %d", c.name, p.Total, c.want)
		}
		if plain := c.policy.Hourly(c.need, false).Total; c.certified && p.Certified != p.Total-plain || !c.certified && p.Certified != 0 {
			t.Errorf("%s: certified adds %d to %d", c.name, p.Certified, plain)
		}
		if off := p.Compute + p.Storage + p.Addresses + p.Certified - p.Total; off < -2 || off > 2 {
			t.Errorf("%s: the parts %+v are %d off the total", c.name, p, off)
		}
	}
}

// TestHourlyIsNearTheTruth compares the chain's truncating arithmetic with
// fractions: the whole is never more than one unit off.
func TestHourlyIsNearTheTruth(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	frac := func(n, d uint64) *big.Rat {
		return new(big.Rat).SetFrac(new(big.Int).SetUint64(n), new(big.Int).SetUint64(d))
	}
	low := func(a, b *big.Rat) *big.Rat {
		if a.Cmp(b) < 0 {
			return a
		}
		return b
	}
	high := func(a, b *big.Rat) *big.Rat {
		if a.Cmp(b) > 0 {
			return a
		}
		return b
	}
	for range 2000 {
		n := &marketplacev1.Resources{Cru: r.Uint64N(65), MruBytes: r.Uint64N(512 * gib), SruBytes: r.Uint64N(16384 * gib), HruBytes: r.Uint64N(16384 * gib), Ipv4: r.Uint32N(3)}
		part := func(d uint64) *big.Rat { return frac(n.GetMruBytes(), gib*d) }
		cru := func(d uint64) *big.Rat { return frac(n.GetCru(), d) }
		cu := low(low(high(part(4), cru(2)), high(part(8), cru(1))), high(part(2), cru(4)))
		su := new(big.Rat).Add(frac(n.GetHruBytes(), 1200*gib), frac(n.GetSruBytes(), 200*gib))
		sum := new(big.Rat).Mul(cu, frac(Main.ComputeUnit, 1))
		sum.Add(sum, new(big.Rat).Mul(su, frac(Main.StorageUnit, 1)))
		sum.Add(sum, frac(uint64(n.GetIpv4())*Main.IPv4, 1))
		got := Main.Hourly(n, false).Total
		if diff, _ := new(big.Rat).Sub(sum, new(big.Rat).SetInt64(got)).Float64(); math.Abs(diff) > 0.500_01 {
			t.Fatalf("%v: %d, truly %v", n, got, sum.FloatString(4))
		}
	}
}

func TestResourcesOf(t *testing.T) {
	r := ResourcesOf(&marketplacev1.Spec{Vcpus: 64, MemoryMib: 524_288, DiskGib: 16_384, PublicIpv4: true})
	if r.GetCru() != 64 || r.GetMruBytes() != 512*gib || r.GetSruBytes() != 16_384*gib || r.GetHruBytes() != 0 || r.GetIpv4() != 1 {
		t.Errorf("the largest machine needs %v", r)
	}
	if ResourcesOf(&marketplacev1.Spec{Vcpus: 1}).GetIpv4() != 0 {
		t.Error("a machine without an address of its own needs one")
	}
}

// TestCharge compares with exact arithmetic, also where 64 bits end.
func TestCharge(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	edges := []int64{0, 1, 2, 3_599_999, 3_600_000, 3_600_001, math.MaxInt64 / 3_600_000, math.MaxInt64/3_600_000 + 1, math.MaxInt64 - 1, math.MaxInt64}
	pick := func(most int64) int64 {
		if r.IntN(3) == 0 {
			return min(most, edges[r.IntN(len(edges))])
		}
		return r.Int64N(max(1, most>>r.IntN(63)))
	}
	fits, not := 0, 0
	for range 20_000 {
		hourly, left := pick(math.MaxInt64), pick(millisPerHour-1)
		elapsed := time.Duration(pick(math.MaxInt64))
		all := new(big.Int).Mul(big.NewInt(hourly), big.NewInt(elapsed.Milliseconds()))
		want, rest := new(big.Int).QuoRem(all.Add(all, big.NewInt(left)), big.NewInt(millisPerHour), new(big.Int))
		amount, over, err := Charge(hourly, elapsed, left)
		if !want.IsInt64() {
			not++
			if !errors.Is(err, ErrRange) || amount != 0 || over != 0 {
				t.Fatalf("%d an hour for %s and %d left: %d, %d, %v; want ErrRange", hourly, elapsed, left, amount, over, err)
			}
			continue
		}
		fits++
		if err != nil || amount != want.Int64() || over != rest.Int64() {
			t.Fatalf("%d an hour for %s and %d left: %d, %d, %v; want %v and %v", hourly, elapsed, left, amount, over, err, want, rest)
		}
	}
	if fits < 1000 || not < 1000 {
		t.Errorf("%d charges fit and %d do not: the test looks at one side only", fits, not)
	}
}

// TestChargeEnds asks at the very edge of what a division can do, and of what
// fits.
func TestChargeEnds(t *testing.T) {
	if amount, left, err := Charge(1<<62, 4*time.Hour, 0); !errors.Is(err, ErrRange) {
		t.Errorf("2^64 units: %d, %d, %v", amount, left, err)
	}
	if amount, left, err := Charge(math.MaxInt64, time.Hour, millisPerHour-1); err != nil || amount != math.MaxInt64 || left != millisPerHour-1 {
		t.Errorf("all that fits: %d, %d, %v", amount, left, err)
	}
	if amount, left, err := Charge(math.MaxInt64, time.Hour+time.Millisecond, 0); !errors.Is(err, ErrRange) {
		t.Errorf("a millisecond more: %d, %d, %v", amount, left, err)
	}
}

func TestChargeRefuses(t *testing.T) {
	for _, c := range []struct {
		hourly  int64
		elapsed time.Duration
		left    int64
	}{{-1, time.Hour, 0}, {1, -time.Hour, 0}, {1, time.Hour, -1}, {1, time.Hour, millisPerHour}} {
		if amount, left, err := Charge(c.hourly, c.elapsed, c.left); !errors.Is(err, ErrRange) || amount != 0 || left != 0 {
			t.Errorf("%+v: %d, %d, %v", c, amount, left, err)
		}
	}
}

// TestSplittingChangesNothing charges an interval at once and in pieces.
func TestSplittingChangesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 500 {
		hourly, whole := r.Int64N(100_000_000_001), time.Duration(r.Int64N(int64(90*24*time.Hour))).Truncate(time.Millisecond)
		want, wantLeft, err := Charge(hourly, whole, 0)
		if err != nil {
			t.Fatal(err)
		}
		var sum, left int64
		for rest := whole; rest > 0; {
			piece := min(rest, time.Duration(r.Int64N(int64(whole)/10+1)).Truncate(time.Millisecond)+time.Millisecond)
			amount, over, err := Charge(hourly, piece, left)
			if err != nil {
				t.Fatal(err)
			}
			sum, left, rest = sum+amount, over, rest-piece
		}
		if sum != want || left != wantLeft {
			t.Fatalf("%d an hour for %s: %d and %d left in pieces, %d and %d at once", hourly, whole, sum, left, want, wantLeft)
		}
	}
}
