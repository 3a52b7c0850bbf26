package actors_test

import (
	"flag"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

var (
	oneSeed  = flag.Uint64("seed", 0, "simulate this seed only, and print its trace")
	allSeeds = flag.Int("seeds", 40, "how many seeds to simulate")
	thorough = flag.Bool("thorough", false, "check after every step of every seed, not only of every 200th")
)

// play plays a seed: trouble for a while, then calm, then everything is ended.
func play(seed uint64, traced bool, rhythm rhythm) *simulation {
	s := newSimulation(seed, traced, rhythm)
	s.thorough = *thorough || seed%200 == 1
	for n := range simNodes {
		s.people.observe(n + 1)
	}
	for n := range simUsers {
		s.read("cloud-user/watch-account", user(n))
		s.read("cloud-user/watch-notifications", user(n))
	}
	if s.rand.IntN(3) == 0 {
		s.restore()
	}
	s.run(20*time.Second, func() {
		if s.rand.IntN(4) == 0 {
			s.people.act()
		}
		if s.rand.IntN(50) == 0 {
			s.check()
		}
	})
	s.calm = true
	s.say("calm")
	s.run(15*time.Second, func() {})
	s.check()
	for _, d := range s.people.made("cloud-user/create-deployment") {
		s.people.want(d.subject, "cloud-user/cancel-deployment", &marketplacev1.CancelDeploymentRequest{DeploymentId: d.id})
	}
	s.run(25*time.Second, func() {})
	if len(s.wrong) == 0 {
		s.checkEnd()
	}
	return s
}

// playAll plays the seeds from 1 to the last, one on each processor at a time.
// It returns what happened how often, and the first seed that went wrong, or 0.
func playAll(last uint64) (totals map[string]int, failed uint64) {
	var next atomic.Uint64
	var mu sync.Mutex
	var workers sync.WaitGroup
	totals = map[string]int{}
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for seed := next.Add(1); seed <= last; seed = next.Add(1) {
				s := play(seed, false, often)
				mu.Lock()
				s.count(totals)
				if len(s.wrong) > 0 && (failed == 0 || seed < failed) {
					failed = seed
					next.Store(last) // those under way may be earlier ones
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return totals, failed
}

// count adds what happened to totals.
func (s *simulation) count(totals map[string]int) {
	for what, n := range s.stats {
		totals[what] += n
	}
	totals["steps"] += s.steps
	if s.thorough {
		totals["steps with a check after each"] += s.steps
	}
	totals["intents"] += len(s.people.intents)
	for _, p := range s.process {
		st := p.runtime.Stats()
		totals["owners fenced"] += int(st.Fenced)
		totals["commands answered from memory"] += int(st.Repeats)
		totals["commits"] += int(st.Commits)
	}
}

// TestSimulation plays seeds of a world in which everything goes wrong, and
// holds the books, the grid and the streams to what must be so.
func TestSimulation(t *testing.T) {
	if *oneSeed != 0 {
		s := play(*oneSeed, true, often)
		t.Log("\n" + strings.Join(s.trace, "\n"))
		if len(s.wrong) > 0 {
			t.Errorf("seed %d: %v", s.seed, s.wrong)
		}
		return
	}
	totals, failed := playAll(uint64(*allSeeds))
	if failed != 0 {
		again := play(failed, true, often)
		t.Fatalf("seed %d: %v\nplay it again: go test ./actors -run TestSimulation -seed %d -v\n…\n%s", failed, again.wrong, failed, strings.Join(again.trace[max(0, len(again.trace)-60):], "\n"))
	}
	var lines []string
	for what, n := range totals {
		lines = append(lines, fmt.Sprintf("%9d %s", n, what))
	}
	slices.Sort(lines)
	t.Logf("%d seeds\n%s", *allSeeds, strings.Join(lines, "\n"))
}

// TestSimulationRepeats holds a seed to giving the same run twice.
func TestSimulationRepeats(t *testing.T) {
	a, b := play(7, true, often), play(7, true, often)
	if !slices.Equal(a.trace, b.trace) || a.steps != b.steps {
		for i := range min(len(a.trace), len(b.trace)) {
			if a.trace[i] != b.trace[i] {
				t.Fatalf("line %d differs:\n%s\n%s", i, a.trace[i], b.trace[i])
			}
		}
		t.Fatalf("one run has %d lines and %d steps, the other %d and %d", len(a.trace), a.steps, len(b.trace), b.steps)
	}
}
