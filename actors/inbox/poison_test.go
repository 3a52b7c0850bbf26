package inbox

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/threefoldtech/cloud-marketplace/messages"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/memstore"
)

// bury publishes n messages to the poison topic.
func bury(t *testing.T, s persistence.Store, n int) {
	t.Helper()
	for i := 1; i <= n; i++ {
		err := s.Append(t.Context(), []persistence.Message{{
			Topic: messages.TopicPoison, UUID: fmt.Sprint("u", i), Payload: []byte(strings.Repeat("x", i)),
			Metadata: map[string]string{MetadataReason: fmt.Sprint("because of ", i), MetadataTopic: "where.from", MetadataMethod: "m", "trace": "kept"},
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// positions lists all that waits, by pages of n.
func positions(t *testing.T, p Poison, n int) []uint64 {
	t.Helper()
	var all []uint64
	for after := uint64(0); ; {
		page, err := p.List(t.Context(), after, n)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, m := range page {
			after = m.Position
			all = append(all, after)
		}
	}
	if waiting, err := p.Waiting(t.Context()); err != nil || waiting != uint64(len(all)) {
		t.Errorf("%d wait, %v; the list has %d", waiting, err, len(all))
	}
	return all
}

func TestPoisonList(t *testing.T) {
	s, _ := bus(t)
	p := Poison{s}
	if all := positions(t, p, 3); len(all) != 0 {
		t.Errorf("at first %v wait", all)
	}
	bury(t, s, 12)
	page, err := p.List(t.Context(), 10, 1)
	if want := []Poisoned{{Position: 11, Reason: "because of 11", Topic: "where.from", Method: "m", Size: 11}}; err != nil || !slices.Equal(page, want) {
		t.Errorf("after 10 comes %+v, %v", page, err)
	}
	for _, position := range []uint64{1, 2, 3, 4, 7, 12} {
		if _, err := p.Drop(t.Context(), position); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []int{1, 2, 3, 100} {
		if all := positions(t, p, n); !slices.Equal(all, []uint64{5, 6, 8, 9, 10, 11}) {
			t.Errorf("by pages of %d, %v wait", n, all)
		}
	}
}

func TestPoisonReplay(t *testing.T) {
	s, _ := bus(t)
	p := Poison{s}
	bury(t, s, 3)
	for _, position := range []uint64{0, 4, 1 << 63} {
		if _, err := p.Replay(t.Context(), position); !errors.Is(err, ErrNoPoison) {
			t.Errorf("replay of %d: %v", position, err)
		}
	}
	if m, err := p.Replay(t.Context(), 2); err != nil || m.Position != 2 || m.Reason != "because of 2" {
		t.Fatalf("replay: %+v, %v", m, err)
	}
	if _, err := p.Drop(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	for position, want := range map[uint64]string{2: replayed, 3: dropped} {
		for _, again := range []error{second(p.Replay(t.Context(), position)), second(p.Drop(t.Context(), position))} {
			if !errors.Is(again, ErrDealtWith) || !strings.HasSuffix(again.Error(), "it was "+want) {
				t.Errorf("position %d again: %v", position, again)
			}
		}
	}
	ms, err := s.Read(t.Context(), "where.from", "", 10)
	if err != nil || len(ms) != 1 || string(ms[0].Payload) != "xx" || ms[0].UUID != "u2" || !reflect.DeepEqual(ms[0].Metadata, map[string]string{"trace": "kept"}) {
		t.Errorf("what was published again is %+v, %v", ms, err)
	}
}

func second(_ Poisoned, err error) error { return err }

// TestPoisonRace replays and drops one message from many sides, with a store
// that loses every other answer. One of them wins, and it is published at most once.
func TestPoisonRace(t *testing.T) {
	var mu sync.Mutex
	asked := 0
	s := memstore.New(memstore.Options{Fault: func(*persistence.Commit) memstore.Fault {
		mu.Lock()
		defer mu.Unlock()
		if asked++; asked%2 == 1 {
			return memstore.LostAnswer
		}
		return memstore.None
	}})
	t.Cleanup(func() { _ = s.Close() })
	p := Poison{s}
	bury(t, s, 1)
	errs := make([]error, 20)
	var wait sync.WaitGroup
	for i := range errs {
		wait.Go(func() {
			if i%2 == 0 {
				errs[i] = second(p.Replay(t.Context(), 1))
			} else {
				errs[i] = second(p.Drop(t.Context(), 1))
			}
		})
	}
	wait.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Errorf("%d and %d have won", winner, i)
		case err == nil:
			winner = i
		case !errors.Is(err, ErrDealtWith):
			t.Errorf("%d: %v", i, err)
		}
	}
	end, err := s.End(t.Context(), "where.from")
	if want := persistence.FormatPosition(uint64(1 - winner%2)); err != nil || winner < 0 || end != want {
		t.Errorf("%d has won, and the topic ends at %q, %v", winner, end, err)
	}
}

// TestPoisonSaysWhence keeps what a message said of itself, its topic and the
// method that it named.
func TestPoisonSaysWhence(t *testing.T) {
	g := &grave{}
	c := &cast{decide: func(string, string) *messages.Error {
		return messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_INVALID_FIELD, "no")
	}}
	garbage, m := message.NewMessage("", []byte{0xff}), envelope(t, news(t, "7", "1"), &taskv1.Observation{Method: "x.Y.Z"})
	for _, m := range []*message.Message{garbage, m} {
		m.Metadata.Set("trace", "kept")
		if !deliver(t.Context(), inboxOf(c, g), m) {
			t.Fatal("it is not acknowledged")
		}
	}
	var methods []string
	for _, m := range g.holds {
		if m.Metadata.Get(MetadataTopic) != messages.TopicObservations || m.Metadata.Get(MetadataReason) == "" || m.Metadata.Get("trace") != "kept" {
			t.Errorf("poison says %v", m.Metadata)
		}
		methods = append(methods, m.Metadata.Get(MetadataMethod))
	}
	slices.Sort(methods)
	if want := []string{"", observe, "x.Y.Z"}; !slices.Equal(methods, want) {
		t.Errorf("the methods are %q, want %q", methods, want)
	}
}
