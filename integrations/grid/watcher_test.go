package grid

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/sandbox/gridproxy"
)

// nextLook lets the time pass in which a healthy Watcher looks once more.
func nextLook() {
	time.Sleep(12 * time.Minute) // of the bubble's time: ten minutes, what they may vary, and a look that takes its time
	synctest.Wait()
}

// TestEveryNodeIsToldOnce is the recorded grid, watched for half an hour.
func TestEveryNodeIsToldOnce(t *testing.T) {
	proxy, err := gridproxy.New()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, proxy)
		watcher, stop := w.run(w.config())
		defer stop()
		synctest.Wait()
		if told := w.take(); len(told) != 6000 || len(w.known) != 6000 {
			t.Fatalf("%d observations of %d nodes at the start", len(told), len(w.known))
		}
		if len(w.batches) != 12 || slices.Max(w.batches) != 500 {
			t.Errorf("messages of %v", w.batches)
		}
		if s := watcher.Status(); s.LastError != nil || !s.LastSuccess.Equal(time.Now()) || s.Nodes != 6000 || s.Skipped != 0 || s.Published != 6000 {
			t.Errorf("status %+v", s)
		}
		compareWithRecording(t, w.known)

		nextLook()
		if told := w.take(); len(told) != 0 || len(w.asked) < 24 {
			t.Errorf("nothing changed, and %d nodes were told by %d requests", len(told), len(w.asked))
		}

		before := w.node(5).GetObserveTime().AsTime()
		for id, status := range map[int]string{5: "down", 5990: "standby"} {
			if err := proxy.SetNodeStatus(id, status); err != nil {
				t.Fatal(err)
			}
		}
		nextLook()
		if told := w.take(); !slices.Equal(told, []uint32{5, 5990}) {
			t.Errorf("nodes 5 and 5990 changed, and %v were told", told)
		}
		if n := w.node(5); n.GetStatus() != marketplacev1.NodeStatus_NODE_STATUS_DOWN || !n.GetObserveTime().AsTime().After(before) {
			t.Errorf("node 5 is %v", n)
		}
		if told := w.logged(); len(told) != 0 {
			t.Errorf("all went well, and it logged %q", told)
		}
	})
}

// compareWithRecording compares nodes with what the real grid-proxy said of them.
func compareWithRecording(t *testing.T, nodes map[uint32]*marketplacev1.Node) {
	t.Helper()
	got := map[string]int{}
	for _, n := range nodes {
		got[n.GetStatus().String()]++
		for name, is := range map[string]bool{"certified": n.GetCertified(), "for everyone": !n.GetDedicated(), "Europe": n.GetRegion() == "Europe"} {
			if is {
				got[name]++
			}
		}
	}
	for name, want := range map[string]int{
		"NODE_STATUS_UP": 2380, "NODE_STATUS_STANDBY": 647, "NODE_STATUS_DOWN": 2973, "certified": 2000, "Europe": 2986,
		"for everyone": 5105, // its answer to available_for=100, a twin that rents nothing
	} {
		if got[name] != want {
			t.Errorf("%s: %d nodes, recorded %d", name, got[name], want)
		}
	}
}

// TestNewWatcherKnowsWhatIsShown is what happens after a restart.
func TestNewWatcherKnowsWhatIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, pages(plainNode(1, "up"), plainNode(2, "down")))
		_, stop := w.run(w.config())
		synctest.Wait()
		stop()
		w.take()
		w.serve(pages(plainNode(2, "down"), plainNode(3, "up"))) // and 1 is gone, which is no news
		_, stop = w.run(w.config())
		defer stop()
		synctest.Wait()
		if told := w.take(); !slices.Equal(told, []uint32{3}) {
			t.Errorf("told %v", told)
		}
	})
}

func TestPausesGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, answers(503, "", ""))
		_, stop := w.run(w.config())
		time.Sleep(time.Hour)
		synctest.Wait()
		stop()
		for i, want := 1, 5*time.Second; i < len(w.asked); i, want = i+1, min(2*want, 10*time.Minute) {
			if pause := w.asked[i].Sub(w.asked[i-1]); pause < want-want/10 || pause > want+want/10 {
				t.Errorf("pause %d is %v, want about %v", i, pause, want)
			}
		}
		if len(w.asked) < 10 {
			t.Errorf("asked %d times in an hour", len(w.asked))
		}
	})
}

func TestConditionIsLoggedWhenItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, answers(503, "", ""))
		_, stop := w.run(w.config())
		defer stop()
		nextLook()
		w.serve(answers(200, "1", "nonsense"))
		nextLook()
		w.serve(pages(plainNode(1, "up")))
		w.fail(errors.New("the store is away"))
		nextLook()
		w.fail(nil)
		nextLook()
		bad, good := "the grid is not watched", "the grid is watched again"
		if log := w.logged(); !slices.Equal(log, []string{bad, bad, bad, good}) {
			t.Errorf("logged %q", log)
		}
		if told := w.take(); !slices.Equal(told, []uint32{1}) {
			t.Errorf("told %v", told)
		}
	})
}

// TestOneBadNode leaves the others good.
func TestOneBadNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, pages(plainNode(1, "up"), plainNode(2, "asleep"), `{"nodeId":"3","status":"up"}`, plainNode(0, "up"), plainNode(4, "standby"), "null"))
		watcher, stop := w.run(w.config())
		defer stop()
		synctest.Wait()
		nextLook()
		if told := w.take(); !slices.Equal(told, []uint32{1, 4}) {
			t.Errorf("told %v", told)
		}
		if s := watcher.Status(); s.Nodes != 2 || s.Skipped != 4 || s.LastError != nil {
			t.Errorf("status %+v", s)
		}
		if log := w.logged(); len(log) != 1 {
			t.Errorf("logged %q", log)
		}
	})
}

func TestRunEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		watcher, stop := w.run(w.config())
		synctest.Wait() // it waits for an answer
		start := time.Now()
		stop()
		if waited := time.Since(start); waited != 0 {
			t.Errorf("it went on for %v", waited)
		}
		if s := watcher.Status(); s.LastError != nil || len(w.logged()) != 0 {
			t.Errorf("being stopped is no failure: %+v", s)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		watcher.Run(ended)
	})
}
