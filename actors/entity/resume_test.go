package entity_test

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// TestResumeWhileItemsCommit holds the reading of the list back while more is
// written: the answer ends exactly where the pushes behind it begin.
func TestResumeWhileItemsCommit(t *testing.T) {
	w := newWorld(t)
	var epoch string
	for i := range 5 {
		epoch = w.granted(1, strconv.Itoa(i)).GetEpoch()
	}
	reading, read := make(chan struct{}, 10), make(chan struct{})
	w.store.set(func() { w.store.since = func() { reading <- struct{}{}; <-read } })
	from := &clusterv1.Watch{Resume: true, Epoch: epoch, Version: 2}
	one := w.watch(eventStream, from)
	within(t, reading, "the reading of the list")
	for i := range 5 {
		w.granted(1, strconv.Itoa(5+i))
	}
	two := w.watch(eventStream, from) // another session, while the first still waits
	within(t, reading, "the second reading of the list")
	w.granted(1, "10")
	close(read)
	w.granted(1, "11")
	for i, answer := range []<-chan *clusterv1.Response{one, two} {
		if got, want := notes(t, follow(t, w.watching(answer), w.pushed(eventStream))), after(w.written(), 2); !slices.Equal(got, want) {
			t.Errorf("watch %d heard %v, not %v", i, got, want)
		}
	}
}

// TestResume says what was missed, that nothing was, or that it is not known.
func TestResume(t *testing.T) {
	w := newWorld(t)
	epoch := w.granted(1, "1").GetEpoch()
	w.granted(1, "2")
	w.ok(w.settled(5)) // version 3, which shows nowhere
	for name, c := range map[string]struct {
		path      string
		from      *clusterv1.Watch
		recovered bool
		frames    int
	}{
		"fresh state":          {stateStream, &clusterv1.Watch{}, true, 1},
		"fresh events":         {eventStream, &clusterv1.Watch{}, true, 0},
		"state, now":           {stateStream, &clusterv1.Watch{Resume: true, Epoch: epoch, Version: 3}, true, 0},
		"state, long ago":      {stateStream, &clusterv1.Watch{Resume: true, Epoch: epoch, Version: 0}, true, 1},
		"state, of the future": {stateStream, &clusterv1.Watch{Resume: true, Epoch: epoch, Version: 9}, false, 1},
		"state, of another":    {stateStream, &clusterv1.Watch{Resume: true, Epoch: "x", Version: 1}, false, 1},
		"events, from zero":    {eventStream, &clusterv1.Watch{Resume: true, Epoch: epoch, Version: 0}, true, 2},
		"events, from one":     {eventStream, &clusterv1.Watch{Resume: true, Epoch: epoch, Version: 1}, true, 1},
		"events, from two":     {eventStream, &clusterv1.Watch{Resume: true, Epoch: epoch, Version: 2}, true, 0},
		"events, of another":   {eventStream, &clusterv1.Watch{Resume: true, Epoch: "x", Version: 1}, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := w.watching(w.watch(c.path, c.from))
			if !c.recovered && c.frames > 0 && got.GetFrames()[0].GetPrevious() != 0 {
				t.Errorf("it is told as what followed %d, where nothing was", got.GetFrames()[0].GetPrevious())
			}
			if got.GetRecovered() != c.recovered || len(got.GetFrames()) != c.frames || got.GetVersion() != 3 || got.GetEpoch() != epoch {
				t.Errorf("answered with %v", got)
			}
		})
	}
}

// TestResumeAtTheBeginning shows the view again to who comes back after 0:
// whether the first view was heard, which is at 0 too, cannot be told.
func TestResumeAtTheBeginning(t *testing.T) {
	w := newWorld(t)
	epoch := w.watching(w.watch(stateStream, &clusterv1.Watch{})).GetEpoch()
	got := w.watching(w.watch(stateStream, &clusterv1.Watch{Resume: true, Epoch: epoch}))
	if !got.GetRecovered() || len(got.GetFrames()) != 1 {
		t.Errorf("answered with %v", got)
	}
	if got := w.watching(w.watch(stateStream, &clusterv1.Watch{Resume: true, Renewal: true, Epoch: epoch})); len(got.GetFrames()) != 0 {
		t.Errorf("a renewal is answered with %v", got)
	}
}

// TestNothingNewIsNotPushed keeps a commit that does not show from watchers,
// also from those that come back after a position before it.
func TestNothingNewIsNotPushed(t *testing.T) {
	w := newWorld(t)
	epoch := w.granted(1, "1").GetEpoch()
	w.watching(w.watch(stateStream, &clusterv1.Watch{}))
	w.watching(w.watch(eventStream, &clusterv1.Watch{}))
	w.ok(w.settled(5))
	w.granted(1, silent)
	if got := w.watching(w.watch(stateStream, &clusterv1.Watch{Resume: true, Epoch: epoch, Version: 3})); len(got.GetFrames()) != 0 {
		t.Errorf("the same view is shown again: %v", got)
	}
	w.ok(w.settled(6))
	if got := w.watching(w.watch(stateStream, &clusterv1.Watch{Resume: true, Epoch: epoch, Version: 3})); len(got.GetFrames()) != 0 || got.GetVersion() != 4 {
		t.Errorf("nothing that shows has changed, and yet: %v", got)
	}
	state, events := w.pushed(stateStream), w.pushed(eventStream)
	if len(state) != 1 || state[0].GetFrame().GetVersion() != 3 || state[0].GetFrame().GetPrevious() != 1 || len(events) != 0 {
		t.Errorf("pushed %v and %v", state, events)
	}
}

// settled states an absolute, as another actor does.
func (w *world) settled(charged int64) <-chan *clusterv1.Response {
	w.t.Helper()
	return w.call("settle", "", "$deployment/d", "", &taskv1.SettleDeploymentRequest{UserId: who, Charged: charged})
}

// TestLeaseEnds forgets a process that does not renew, and tells it what it
// missed when it does.
func TestLeaseEnds(t *testing.T) {
	w := newWorld(t, func(w *world) { w.config.Lease = 50 * time.Millisecond })
	epoch := w.granted(1, "1").GetEpoch()
	w.watching(w.watch(eventStream, &clusterv1.Watch{}))
	begun := w.engine.NowMS()
	eventually(t, "the lease is over", func() bool { return w.engine.NowMS() > begun+100 })
	w.granted(1, "2")
	if n := len(w.pushed(eventStream)); n != 0 {
		t.Errorf("%d pushes for a process that has not renewed", n)
	}
	if got := notes(t, w.watching(w.watch(eventStream, &clusterv1.Watch{Resume: true, Renewal: true, Epoch: epoch, Version: 1})).GetFrames()); !slices.Equal(got, []string{"2"}) {
		t.Errorf("a renewal is told %v", got)
	}
	w.granted(1, "3")
	if got := w.pushed(eventStream); len(got) != 1 || got[0].GetFrame().GetPrevious() != 2 {
		t.Errorf("pushed %v", got)
	}
}

// TestJoinHammer begins watches at random while others decide.
func TestJoinHammer(t *testing.T) {
	w := newWorld(t)
	epoch := w.granted(1, "0").GetEpoch()
	var deciders, watchers sync.WaitGroup
	stop := make(chan struct{})
	var answers []*clusterv1.Watching
	var mu sync.Mutex
	for range 4 {
		deciders.Go(func() {
			for n := range 100 {
				within(t, w.grant(messages.NewCommandID(), 1, strconv.Itoa(n)), "an answer")
			}
		})
		watchers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				r := &clusterv1.Watching{}
				if a := within(t, w.watch(eventStream, &clusterv1.Watch{Resume: true, Epoch: epoch, Version: 1}), "an answer"); proto.Unmarshal(a.GetPayload(), r) == nil {
					mu.Lock()
					answers = append(answers, r)
					mu.Unlock()
				}
			}
		})
	}
	deciders.Wait()
	close(stop)
	watchers.Wait()
	want, pushes := after(w.written(), 1), w.pushed(eventStream)
	for _, a := range answers {
		if got := notes(t, follow(t, a, pushes)); !slices.Equal(got, want) {
			t.Fatalf("a watch from version %d heard %d notes, not %d", a.GetVersion(), len(got), len(want))
		}
	}
}

// TestWatcherThatHasSeenMore makes a replaced owner look into the store, for
// the watcher heard what this owner does not know.
func TestWatcherThatHasSeenMore(t *testing.T) {
	w := newWorld(t)
	w.granted(5, "a")
	w.put(&persistence.Commit{Events: w.stored().Tail[0].Events}) // another owner's
	seen := &clusterv1.Watch{Resume: true, Epoch: w.store.Epoch(), Version: 2}
	if r := w.watching(w.watch("cloud-user/watch-account", seen)); !r.GetRecovered() || r.GetVersion() != 2 || len(r.GetFrames()) != 0 || w.runtime.Stats().Fenced != 1 {
		t.Errorf("answered with %v, %d fenced", r, w.runtime.Stats().Fenced)
	}
}

// TestResumeInParts brings much that was missed in parts of a bounded size, each
// of whole commits, while others are committed.
func TestResumeInParts(t *testing.T) {
	w := newWorld(t)
	epoch := w.granted(1, "0").GetEpoch()
	for n := range 1024 {
		w.granted(1, strconv.Itoa(n)+strings.Repeat("x", 200))
	}
	var heard []string
	parts, from := 0, uint64(0)
	for more := true; more; parts++ {
		got := w.watching(w.watch(eventStream, &clusterv1.Watch{Resume: true, Epoch: epoch, Version: from}))
		size := 0
		for _, f := range got.GetFrames() {
			if f.GetPrevious() != from {
				t.Fatalf("a frame follows %d, not %d", f.GetPrevious(), from)
			}
			from = f.GetVersion()
			size += len(f.GetPayload())
		}
		heard = append(heard, notes(t, got.GetFrames())...)
		more = got.GetMore()
		if size > 128<<10 || len(got.GetFrames()) > 512 || !got.GetRecovered() || more && got.GetVersion() != from {
			t.Fatalf("a part of %d bytes in %d frames up to %d of %d", size, len(got.GetFrames()), got.GetVersion(), from)
		}
		w.granted(1, "while it reads")
	}
	if want := after(w.written(), 0); !slices.Equal(heard, want[:len(heard)]) || len(want)-len(heard) != 1 || parts < 3 {
		t.Errorf("heard %d of %d in %d parts", len(heard), len(want), parts)
	}
}
