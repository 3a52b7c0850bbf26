package storetest

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"testing"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// out is a message of a commit.
func out(topic, payload string) persistence.Message {
	return persistence.Message{Topic: topic, Payload: []byte(payload)}
}

// readAll reads a topic from the beginning, by pages of n.
func readAll(t *testing.T, s persistence.Store, topic string, n int) []persistence.Message {
	t.Helper()
	end, err := s.End(t.Context(), topic)
	check(t, err)
	var all []persistence.Message
	for after := persistence.Position(""); after != end; {
		ms, err := s.Read(t.Context(), topic, after, n)
		check(t, err)
		if len(ms) == 0 || len(ms) > n {
			t.Fatalf("read %d messages of %d", len(ms), n)
		}
		all = append(all, ms...)
		after = ms[len(ms)-1].Position
	}
	return all
}

func checkOutbox(t *testing.T, s persistence.Store) {
	bob := persistence.Entity{Kind: "user", ID: "bob"}
	first, second, third := step(ann, 0), step(bob, 0), step(ann, 1)
	first.Out = []persistence.Message{out("t", "1"), out("u", "not here"), out("t", "2")}
	second.Out = []persistence.Message{{
		Topic: "t", UUID: "mine", Payload: []byte("3"),
		Metadata: map[string]string{"name": "value", "": "empty", "none": ""},
	}}
	third.Out = []persistence.Message{{Topic: "t"}}
	mustCommit(t, s, first, second, second, third)
	want := []struct {
		uuid, payload string
		origin        persistence.Origin
	}{
		{"user/ann/1-0", "1", persistence.Origin{Entity: ann, Version: 1, Index: 0}},
		{"user/ann/1-2", "2", persistence.Origin{Entity: ann, Version: 1, Index: 2}},
		{"mine", "3", persistence.Origin{Entity: bob, Version: 1, Index: 0}},
		{"user/ann/2-0", "", persistence.Origin{Entity: ann, Version: 2, Index: 0}},
	}
	for n := 1; n <= 5; n++ {
		ms := readAll(t, s, "t", n)
		if len(ms) != len(want) {
			t.Fatalf("%d messages, want %d", len(ms), len(want))
		}
		for i, m := range ms {
			w := want[i]
			if m.Topic != "t" || m.UUID != w.uuid || string(m.Payload) != w.payload || m.Origin != w.origin || m.Position == "" {
				t.Errorf("message %d: %+v, want %+v", i, m, w)
			}
			if i == 2 && !maps.Equal(m.Metadata, second.Out[0].Metadata) {
				t.Errorf("metadata %v", m.Metadata)
			}
		}
	}
}

func checkAppend(t *testing.T, s persistence.Store) {
	check(t, s.Append(t.Context(), nil))
	if err := s.Append(t.Context(), []persistence.Message{out("t", "x"), out("", "y")}); !errors.Is(err, persistence.ErrInvalid) {
		t.Fatalf("a message without a topic: %v", err)
	}
	check(t, s.Append(t.Context(), []persistence.Message{
		{Topic: "t", UUID: "a", Payload: []byte("1"), Metadata: map[string]string{"k": "v"}},
		{Topic: "u", UUID: "b", Payload: []byte("2")},
		{Topic: "t", UUID: "c", Payload: []byte("3")},
	}))
	ms := readAll(t, s, "t", 10)
	if len(ms) != 2 || ms[0].UUID != "a" || ms[1].UUID != "c" || ms[0].Metadata["k"] != "v" {
		t.Fatalf("messages %+v", ms)
	}
	if ms[0].Origin != (persistence.Origin{}) {
		t.Fatalf("origin %+v", ms[0].Origin)
	}
}

func checkTopics(t *testing.T, s persistence.Store) {
	for i, topic := range []string{"t", "t2", "t.u", "t/u"} {
		check(t, s.Append(t.Context(), []persistence.Message{out(topic, strconv.Itoa(i))}))
	}
	for i, topic := range []string{"t", "t2", "t.u", "t/u"} {
		if ms := readAll(t, s, topic, 10); len(ms) != 1 || string(ms[0].Payload) != strconv.Itoa(i) {
			t.Errorf("topic %s: %+v", topic, ms)
		}
	}
	if end, err := s.End(t.Context(), "nothing"); err != nil || end != "" {
		t.Errorf("end of an empty topic: %q, %v", end, err)
	}
}

func checkReadWaits(t *testing.T, s persistence.Store) {
	type result struct {
		ms  []persistence.Message
		err error
	}
	results := make(chan result)
	after := persistence.Position("")
	go func() {
		for range 20 {
			ms, err := s.Read(t.Context(), "t", after, 10)
			if len(ms) > 0 {
				after = ms[len(ms)-1].Position
			}
			results <- result{ms, err}
		}
	}()
	for i := range 20 {
		// Alternately a commit and an appended message; each must wake the reader.
		if i%2 == 0 {
			c := step(ann, uint64(i/2))
			c.Out = []persistence.Message{out("other", "no"), out("t", strconv.Itoa(i))}
			mustCommit(t, s, c)
		} else {
			check(t, s.Append(t.Context(), []persistence.Message{out("t", strconv.Itoa(i))}))
		}
		select {
		case r := <-results:
			check(t, r.err)
			if len(r.ms) != 1 || string(r.ms[0].Payload) != strconv.Itoa(i) {
				t.Fatalf("read %d: %+v", i, r.ms)
			}
		case <-within(t):
			t.Fatalf("read %d was not woken", i)
		}
	}
}

func checkReadEnds(t *testing.T, s persistence.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := s.Read(ctx, "t", "", 10)
		ended <- err
	}()
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("read ended with %v", err)
		}
	case <-within(t):
		t.Fatal("read goes on after its context")
	}
}

func checkReadClosed(t *testing.T, s persistence.Store) {
	ended := make(chan error, 1)
	go func() {
		_, err := s.Read(t.Context(), "t", "", 10)
		ended <- err
	}()
	check(t, s.Close())
	select {
	case err := <-ended:
		if !errors.Is(err, persistence.ErrClosed) {
			t.Fatalf("read ended with %v", err)
		}
	case <-within(t):
		t.Fatal("read goes on after the store was closed")
	}
}

func checkContext(t *testing.T, s persistence.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Load(ctx, ann); !errors.Is(err, context.Canceled) {
		t.Errorf("load: %v", err)
	}
	if _, _, err := s.Page(ctx, ann, "l", "", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("page: %v", err)
	}
	if _, err := s.Due(ctx, noon, 1, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("due: %v", err)
	}
	if err := s.Append(ctx, []persistence.Message{out("t", "x")}); !errors.Is(err, context.Canceled) {
		t.Errorf("append: %v", err)
	}
}
