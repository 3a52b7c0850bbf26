package user

import (
	"math"

	"github.com/threefoldtech/cloud-marketplace/actors/ledger"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// runway is how long the credit lasts, and what that depends on.
type runway struct {
	available int64 // USD/7
	spend     int64 // USD/7 per hour
	short     bool  // some deployment that is not ending wants held what is not there
}

func runwayOf(s *state) runway {
	r := runway{available: ledger.Available(s.GetBook(), credit)}
	for id, d := range s.GetDeployments() {
		if needsCredit(d.GetState()) {
			r.spend += d.GetHourlyPrice()
			r.short = r.short || missing(s, id, d) > 0
		}
	}
	return r
}

// ladder is below how many hours each level begins, the nearest end first.
var ladder = []struct {
	hours int64
	level marketplacev1.RunwayLevel
}{
	{6, marketplacev1.RunwayLevel_RUNWAY_LEVEL_SIX_HOURS},
	{24, marketplacev1.RunwayLevel_RUNWAY_LEVEL_DAY},
	{3 * 24, marketplacev1.RunwayLevel_RUNWAY_LEVEL_THREE_DAYS},
	{7 * 24, marketplacev1.RunwayLevel_RUNWAY_LEVEL_WEEK},
}

// hours returns whole hours that the credit lasts; as good as for ever when nothing is spent.
func (r runway) hours() int64 {
	if r.spend <= 0 {
		return math.MaxInt64
	}
	return max(0, r.available) / r.spend
}

// level returns how near the end is.
func (r runway) level() marketplacev1.RunwayLevel {
	if r.short {
		return marketplacev1.RunwayLevel_RUNWAY_LEVEL_EXHAUSTED
	}
	for _, step := range ladder {
		if r.hours() < step.hours {
			return step.level
		}
	}
	return marketplacev1.RunwayLevel_RUNWAY_LEVEL_UNSPECIFIED
}

// lessTenth is the runway with a tenth taken off what is available: a level is
// left only when even that is past it.
func (r runway) lessTenth() runway {
	r.available = r.available / 11 * 10
	return r
}
