package schedule

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// Manual runs work when it is told to, one step after another on its caller's
// goroutine. Which of the steps that could run comes next is decided by a seed,
// so the same seed gives the same run. It is also the clock of what it runs.
//
// # Concurrency
//
// A Manual belongs to one goroutine. Work may hand it more work.
type Manual struct {
	rand   *rand.Rand
	now    time.Time
	ready  []func()
	timers timers
	number uint64
}

// NewManual returns a scheduler that begins at now.
func NewManual(seed uint64, now time.Time) *Manual {
	return &Manual{rand: rand.New(rand.NewPCG(seed, 0)), now: now} //nolint:gosec // to be repeated, not to be secret
}

// Rand is the source of whatever else the seed decides.
func (m *Manual) Rand() *rand.Rand { return m.rand }

// Now returns where the clock stands.
func (m *Manual) Now() time.Time { return m.now }

// In returns where the clock will stand after d.
func (m *Manual) In(d time.Duration) time.Time { return m.now.Add(d) }

// Go makes fn one of the steps that could run.
func (m *Manual) Go(fn func()) { m.ready = append(m.ready, fn) }

// After makes fn one of the steps that could run once the clock has come there.
func (m *Manual) After(d time.Duration, fn func()) {
	m.number++
	heap.Push(&m.timers, timer{m.now.Add(d), m.number, fn})
}

// Step runs one step; false when there is none before the clock moves.
func (m *Manual) Step() bool {
	if len(m.ready) == 0 {
		return false
	}
	i, last := m.rand.IntN(len(m.ready)), len(m.ready)-1
	fn := m.ready[i]
	m.ready[i], m.ready[last] = m.ready[last], nil
	m.ready = m.ready[:last]
	fn()
	return true
}

// Advance moves the clock by d, and makes what is due by then steps that could
// run. Steps that could run already are not run by it.
func (m *Manual) Advance(d time.Duration) {
	m.now = m.now.Add(d)
	for len(m.timers) > 0 && !m.timers[0].at.After(m.now) {
		t, ok := heap.Pop(&m.timers).(timer)
		if ok {
			m.ready = append(m.ready, t.fn)
		}
	}
}

// Next returns how long it is until the next timer; false when there is none.
func (m *Manual) Next() (time.Duration, bool) {
	if len(m.timers) == 0 {
		return 0, false
	}
	return max(0, m.timers[0].at.Sub(m.now)), true
}

// Forget drops everything that has not run: the process that wanted it is dead.
func (m *Manual) Forget() { m.ready, m.timers = nil, nil }

// timer is a step that waits for its time.
type timer struct {
	at     time.Time
	number uint64 // those of one time come in the order in which they were set
	fn     func()
}

// timers is a heap, the earliest first.
type timers []timer //nolint:recvcheck // the shape that container/heap asks for

func (t timers) Len() int { return len(t) }
func (t timers) Less(i, j int) bool {
	if !t[i].at.Equal(t[j].at) {
		return t[i].at.Before(t[j].at)
	}
	return t[i].number < t[j].number
}
func (t timers) Swap(i, j int) { t[i], t[j] = t[j], t[i] }

// Push is heap's.
func (t *timers) Push(x any) {
	if one, ok := x.(timer); ok {
		*t = append(*t, one)
	}
}

// Pop is heap's.
func (t *timers) Pop() any {
	old := *t
	last := len(old) - 1
	x := old[last]
	old[last] = timer{}
	*t = old[:last]
	return x
}
