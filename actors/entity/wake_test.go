package entity_test

import (
	"testing"
	"time"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// claimed claims whatever is due on behalf of nobody.
func (w *world) claimed(at time.Time, lease time.Duration) int {
	w.t.Helper()
	due, err := w.store.Due(w.t.Context(), at, 10, lease)
	if err != nil {
		w.t.Fatal(err)
	}
	return len(due)
}

// never is a scan that does not come within a test.
func never(w *world) { w.config.ScanEvery = time.Hour }

// wake tells the entity that its time has come.
func (w *world) wake() <-chan *clusterv1.Response {
	return w.raw("wake", &clusterv1.Request{Kind: "user", Id: who, Method: "$wake", Subject: "$system"})
}

// TestWoken wakes an entity once its time has come, once.
func TestWoken(t *testing.T) {
	w := newWorld(t)
	w.granted(100, alarm)
	w.restart() // nobody is awake
	w.domain.Advance(99 * time.Second)
	if a := w.account(); a.GetHourlySpend() != 0 {
		t.Fatal("woken before its time")
	}
	w.domain.Advance(time.Second)
	eventually(t, "it was woken", func() bool { return w.account().GetHourlySpend() == 1 })
	for range 3 {
		w.ok(w.wake())
	}
	if a := w.account(); a.GetHourlySpend() != 1 || w.claimed(w.domain.Now().Add(24*time.Hour), time.Second) != 0 {
		t.Errorf("woken %d times, or to be woken again", a.GetHourlySpend())
	}
}

// TestClaimThatLeadsToNothing puts the wake-up back to where the state wants
// it, without a version and without a push, also behind a commit in flight.
func TestClaimThatLeadsToNothing(t *testing.T) {
	for _, busy := range []bool{false, true} {
		w := newWorld(t, never)
		w.granted(100, alarm)
		w.watching(w.watch(stateStream, &clusterv1.Watch{}))
		at := w.domain.Now().Add(100 * time.Second)
		if busy {
			w.store.hold()
			granted := w.grant(messages.NewCommandID(), 1, "x")
			w.store.next(t).pass() // stored, with the wake-up
			w.ok(granted)
			granted = w.grant(messages.NewCommandID(), 1, "x")
			p := w.store.next(t)
			done := p.done
			stored := make(chan error, 1)
			p.done = func(err error) { stored <- err }
			p.pass()
			err := within(t, stored, "the commit") // stored, but the entity does not know yet
			if n := w.claimed(at, time.Hour); n != 1 {
				t.Fatalf("claimed %d", n)
			}
			woken := w.wake()
			w.barrier()
			done(err)
			w.ok(granted)
			w.store.flow()
			eventually(t, "the wake-up is handed over", func() bool { w.store.flow(); return len(woken) == 1 })
		} else {
			if n := w.claimed(at, time.Hour); n != 1 {
				t.Fatalf("claimed %d", n)
			}
			w.ok(w.wake())
		}
		version, pushes := w.stored().Version, uint64(len(w.pushed(stateStream)))
		if want := version - 1; pushes != want || version != map[bool]uint64{false: 1, true: 3}[busy] {
			t.Errorf("busy %v: %d pushes at version %d", busy, pushes, version)
		}
		if n := w.claimed(at.Add(-time.Second), time.Hour); n != 0 {
			t.Errorf("busy %v: due before its time", busy)
		}
		if n := w.claimed(at, time.Hour); n != 1 {
			t.Errorf("busy %v: the wake-up was not put back", busy)
		}
	}
}

// TestWakeReplacedAndCleared keeps one wake-up, that of the newest state.
func TestWakeReplacedAndCleared(t *testing.T) {
	w := newWorld(t, never)
	start := w.domain.Now()
	w.granted(100, alarm)
	w.granted(500, alarm)
	if n := w.claimed(start.Add(499*time.Second), time.Nanosecond); n != 0 {
		t.Error("the replaced wake-up is still there")
	}
	if n := w.claimed(start.Add(500*time.Second), time.Nanosecond); n != 1 {
		t.Error("the new wake-up is not there")
	}
	w.granted(1, calm)
	if n := w.claimed(start.Add(24*time.Hour), time.Nanosecond); n != 0 {
		t.Error("a wake-up is there that nobody wants")
	}
}

// TestWakeOfNobody leaves no trace of an entity that never was.
func TestWakeOfNobody(t *testing.T) {
	w := newWorld(t, never)
	w.ok(w.wake())
	if ok, err := w.store.Exists(t.Context(), persistence.Entity{Kind: "user", ID: who}); ok || err != nil {
		t.Errorf("there is one: %v", err)
	}
	eventually(t, "it has gone", func() bool { return w.engine.Stats().Live == 0 })
}

// TestTimeNeverGoesBack shows a kind no time before that of its last event,
// also when the clock has gone back and the process was another.
func TestTimeNeverGoesBack(t *testing.T) {
	w := newWorld(t)
	at := func() time.Time {
		r := &marketplacev1.GrantCreditResponse{}
		w.decode(w.granted(1, "x"), r)
		now, err := time.Parse(time.RFC3339Nano, r.GetTransactionId())
		if err != nil {
			t.Fatal(err)
		}
		return now
	}
	first := at()
	w.domain.Advance(-time.Hour)
	if second := at(); second.Before(first) {
		t.Errorf("%v after %v", second, first)
	}
	w.restart()
	if third := at(); third.Before(first) {
		t.Errorf("%v after %v and a restart", third, first)
	}
	w.domain.Advance(2 * time.Hour)
	if fourth := at(); !fourth.After(first) {
		t.Errorf("the time stands still at %v", fourth)
	}
}
