package entity_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

const (
	stateStream = "cloud-user/watch-account"
	eventStream = "cloud-user/watch-notifications"
)

// follow puts what a watch was answered with and the pushes behind it into one
// row, as a process that hears them would, and fails when they do not follow.
func follow(t *testing.T, w *clusterv1.Watching, pushes []*clusterv1.Push) []*clusterv1.Frame {
	t.Helper()
	frames := slices.Clone(w.GetFrames())
	at := w.GetVersion()
	for _, p := range pushes {
		f := p.GetFrame()
		switch {
		case f.GetVersion() <= at: // said in the answer
		case f.GetPrevious() > at:
			t.Errorf("version %d follows %d, but the watch is at %d", f.GetVersion(), f.GetPrevious(), at)
		default:
			at = f.GetVersion()
			frames = append(frames, f)
		}
	}
	return frames
}

// notes are the items of EVENT frames.
func notes(t *testing.T, frames []*clusterv1.Frame) []string {
	t.Helper()
	var all []string
	for _, f := range frames {
		r := &marketplacev1.WatchNotificationsResponse{}
		if err := proto.Unmarshal(f.GetPayload(), r); err != nil {
			t.Fatal(err)
		}
		for _, n := range r.GetNotifications() {
			all = append(all, n.GetNotificationId())
		}
	}
	return all
}

// credits are the views of STATE frames.
func credits(t *testing.T, frames []*clusterv1.Frame) []int64 {
	t.Helper()
	var all []int64
	for _, f := range frames {
		r := &marketplacev1.WatchAccountResponse{}
		if err := proto.Unmarshal(f.GetPayload(), r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r.GetAccount().GetCredit())
	}
	return all
}

// TestJoinAtEveryMoment begins a watch before, between and behind commits that
// are in flight, afresh and after a position, and misses and repeats nothing.
func TestJoinAtEveryMoment(t *testing.T) {
	for decided, moment := range []string{"nothing in flight", "one in flight", "one in flight and another behind it"} {
		for _, resume := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, resumed %v", moment, resume), func(t *testing.T) { joinAt(t, decided, resume) })
		}
	}
}

func joinAt(t *testing.T, decided int, resume bool) {
	w := newWorld(t)
	first := w.granted(1, "1")
	w.store.hold()
	for i := range decided {
		w.grant(messages.NewCommandID(), 1, strconv.Itoa(i+2))
		w.barrier() // the first is in flight before the second is decided
	}
	from := &clusterv1.Watch{Resume: resume, Epoch: first.GetEpoch(), Version: first.GetVersion()}
	state, events := w.watch(stateStream, from), w.watch(eventStream, from)
	w.grant(messages.NewCommandID(), 1, strconv.Itoa(decided+2))
	w.barrier()
	w.store.flow()
	w.granted(1, strconv.Itoa(decided+3))

	ws, we := w.watching(state), w.watching(events)
	if !ws.GetRecovered() || !we.GetRecovered() {
		t.Error("a watch says that something was missed")
	}
	written := w.written()
	last := uint64(decided) + 3
	if len(written) != int(last) {
		t.Fatalf("%d notes were written, not %d", len(written), last)
	}
	frames := follow(t, ws, w.pushed(stateStream))
	for i, f := range frames {
		var want int64
		for _, n := range written {
			if n.version <= f.GetVersion() {
				want++
			}
		}
		if got := credits(t, frames[i:i+1])[0]; got != want {
			t.Errorf("version %d was shown with a credit of %d, not %d", f.GetVersion(), got, want)
		}
	}
	if frames[len(frames)-1].GetVersion() != w.stored().Version {
		t.Error("the present was not shown")
	}
	if !resume && (len(ws.GetFrames()) != 1 || ws.GetFrames()[0].GetVersion() != ws.GetVersion()) {
		t.Errorf("a watch that begins afresh begins with %v", ws)
	}
	begin := first.GetVersion()
	if !resume {
		begin = we.GetVersion()
	}
	if got, want := notes(t, follow(t, we, w.pushed(eventStream))), after(written, begin); !slices.Equal(got, want) {
		t.Errorf("heard %v, not %v", got, want)
	}
}

// note is an item of the list of notifications.
type note struct {
	text    string
	version uint64
}

// written is what the list of notifications holds.
func (w *world) written() []note {
	w.t.Helper()
	items, err := w.store.Store.Since(w.t.Context(), persistence.Entity{Kind: "user", ID: who}, "notifications", 0, ^uint32(0), 100_000)
	if err != nil {
		w.t.Fatal(err)
	}
	all := make([]note, len(items))
	for i, item := range items {
		n := &marketplacev1.Notification{}
		if err := proto.Unmarshal(item.Data, n); err != nil {
			w.t.Fatal(err)
		}
		all[i] = note{n.GetNotificationId(), item.Version}
	}
	return all
}

// after are the texts of the notes behind a version.
func after(all []note, version uint64) []string {
	var texts []string
	for _, n := range all {
		if n.version > version {
			texts = append(texts, n.text)
		}
	}
	return texts
}

// TestWatchedEntityStays does not let an entity go that somebody watches, and
// lets it go when nobody has renewed.
func TestWatchedEntityStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.idle, w.config.Lease = time.Millisecond, 4*time.Second })
	w.granted(1, "a")
	for range 2 { // the second prolongs the first
		w.watching(w.watch("cloud-user/watch-account", &clusterv1.Watch{}))
	}
	w.swept()
	if w.engine.Stats().Live != 1 {
		t.Fatal("an entity went that was watched")
	}
	w.granted(1, "b")
	eventually(t, "the push", func() bool { return len(w.pushed("cloud-user/watch-account")) > 0 })
	eventually(t, "the lease has ended, and nobody keeps it", func() bool { return w.engine.Stats().Live == 0 })
	if n := len(w.pushed("cloud-user/watch-account")); n != 1 {
		t.Errorf("one process heard %d pushes of one commit", n)
	}
}
