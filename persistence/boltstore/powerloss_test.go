package boltstore_test

import (
	"cmp"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
)

var (
	powerSeed = flag.Uint64("power-seed", 0, "seed of the power losses; 0 takes one by chance")
	powerRuns = flag.Int("power-losses", 1000, "how often the power fails")
	powerFrom = flag.String("power-trace", "", "folder of the trace of a test that failed, instead of a new one")
)

// powerLies is how often a disk lies, in each way.
const powerLies = 25

// loss is a power loss: its number, the line of the trace before which it
// happens, and what the disk says it did.
type loss struct {
	number int
	line   int
	of     history
	lie    string // what the disk did not do
}

// TestPowerLoss lets the power fail at moments of a load that was recorded. What
// was acknowledged by then must be there. Of a disk that lies it cannot be, and
// that must be noticed.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	h := recorded(t)
	seed := *powerSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("%d operations, seed %d", len(h), seed)
	t.Run("nothing acknowledged is lost", func(t *testing.T) { testLosses(t, h, seed) })
	t.Run("a disk that lies is noticed", func(t *testing.T) { testLies(t, h, seed) })
}

// testLosses finds fault with whatever a power loss leaves.
func testLosses(t *testing.T, h history, seed uint64) {
	t.Parallel()
	suffer(t, losses(h, rand.New(rand.NewPCG(seed, 0))), seed, func(l loss, v verdict) {
		if v.Wrong != "" {
			t.Errorf("seed %d, power loss %d, before line %d: %s", seed, l.number, l.line, v.Wrong)
		}
	})
}

// losses chooses moments: before and after operations on the file. Before one,
// everything that was acknowledged since the last counts.
func losses(h history, random *rand.Rand) []loss {
	changes := slices.DeleteFunc(slices.Clone(h), isAck)
	made := changes.begun(h[h.after(0, isAck)].begin)
	syncs := slices.DeleteFunc(slices.Clone(h), func(o *op) bool { return !isSync(o) })
	all := make([]loss, *powerRuns)
	for n := range all {
		among := changes
		switch n % 10 {
		case 0: // The making of the store is short, and has moments of its own.
			among = made
		case 1, 2, 3: // So has the writing of what makes a transaction count.
			among = syncs
		}
		o := among[random.IntN(len(among))]
		all[n] = loss{number: n, line: o.end + 1, of: h}
		if random.IntN(2) == 0 {
			all[n].line = max(o.begin, h[0].end+1)
		}
	}
	slices.SortFunc(all, func(a, b loss) int { return cmp.Compare(a.line, b.line) }) // A disk goes on faster than it begins anew.
	return all
}

// testLies finds fault with the looking, if it finds none with the disk.
func testLies(t *testing.T, h history, seed uint64) {
	t.Parallel()
	var mutex sync.Mutex
	noticed := make(map[string]int)
	suffer(t, lies(t, h, rand.New(rand.NewPCG(seed, 1))), seed, func(l loss, v verdict) {
		mutex.Lock()
		defer mutex.Unlock()
		if v.Wrong != "" {
			noticed[l.lie]++
		}
	})
	t.Logf("noticed, of %d each: %v", powerLies, noticed)
	for lie, least := range map[string]int{
		lostPage:      powerLies / 2,
		lostMeta:      powerLies / 2,
		lostPageSync:  1, // The disk may by chance have done all the same what nobody waited for.
		lostFinalSync: 1,
	} {
		if noticed[lie] < least {
			t.Errorf("%s: noticed %d times of %d", lie, noticed[lie], powerLies)
		}
	}
}

// What a disk says it did, and did not.
const (
	lostPage      = "a page"
	lostMeta      = "the page that makes others count"
	lostPageSync  = "the sync before that page"
	lostFinalSync = "the sync after it"
)

// lies chooses transactions, and what of them the disk does not do. The power
// fails when they are acknowledged, or, for the first sync, before the second.
func lies(t *testing.T, h history, random *rand.Rand) []loss {
	t.Helper()
	var metas []int
	for i := h.after(0, isAck); i < h.before(len(h), isMeta); i++ {
		if isMeta(h[i]) {
			metas = append(metas, i)
		}
	}
	all := make([]loss, 0, 4*powerLies)
	for range powerLies {
		meta := metas[random.IntN(len(metas))]
		page, first, final := h.before(meta, isPage), h.before(meta, isSync), h.after(meta, isSync)
		next := h.after(max(final, 0), isSync)
		if first < page || final < 0 || next < 0 {
			t.Fatal("a transaction was not synced twice")
		}
		acked := h[next].begin
		all = append(all,
			loss{lie: lostPage, of: h.without(page), line: acked},
			loss{lie: lostMeta, of: h.without(meta), line: acked},
			loss{lie: lostPageSync, of: h.without(first), line: h[final].begin},
			loss{lie: lostFinalSync, of: h.without(final), line: acked})
	}
	for n := range all {
		all[n].number = n
	}
	return all
}

// suffer lets the power fail and has what is left looked at.
func suffer(t *testing.T, all []loss, seed uint64, judge func(loss, verdict)) {
	t.Helper()
	work := make(chan loss)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		path := filepath.Join(memory(t), powerStore)
		workers.Go(func() {
			var d disk
			var i inspector
			for l := range work {
				file := d.lost(l.of, l.line, rand.New(rand.NewPCG(seed, uint64(l.number))))
				v, err := i.inspect(t, path, file, l.of.acked(l.line))
				if err != nil {
					t.Errorf("power loss %d: %v", l.number, err)
				}
				judge(l, v)
			}
			if err := i.stop(); err != nil {
				t.Errorf("look at files: %v: %s", err, i.complaint)
			}
		})
	}
	for _, l := range all {
		work <- l
	}
	close(work)
	workers.Wait()
}

// memory returns a folder that needs no disk, where there is one: what is looked
// at is synced many times for nothing.
func memory(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("/dev/shm", "powerloss") //nolint:usetesting // A folder of the test is on a disk.
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}
