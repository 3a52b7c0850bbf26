package actors

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/threefoldtech/cloud-marketplace/messages"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/memstore"
)

// memory is a store that ends with the test.
func memory(t *testing.T) *memstore.Store {
	t.Helper()
	s := memstore.New(memstore.Options{})
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// topics publishes n messages to each.
func topics(t *testing.T, s persistence.Store, n int, names ...string) {
	t.Helper()
	for _, name := range names {
		ms := make([]persistence.Message, n)
		for i := range ms {
			ms[i] = persistence.Message{Topic: name, Payload: fmt.Append(nil, i)}
		}
		if err := s.Append(t.Context(), ms); err != nil {
			t.Fatal(err)
		}
	}
}

// oldest returns the position of the first message that a topic still has.
func oldest(t *testing.T, s persistence.Store, topic string) string {
	t.Helper()
	ms, err := s.Read(t.Context(), topic, "", 1)
	if err != nil {
		t.Fatal(err)
	}
	return string(ms[0].Position)
}

// advance moves a group.
func advance(t *testing.T, s persistence.Store, group, topic string, to uint64) {
	t.Helper()
	if err := s.Advance(t.Context(), group, topic, persistence.FormatPosition(to)); err != nil {
		t.Fatal(err)
	}
}

// TestTrim keeps the newest messages, what a group has not read, topics that
// nobody is known to read, and all that is poison.
func TestTrim(t *testing.T) {
	s := memory(t)
	j := newJanitor(s, nil)
	j.keep = 10
	const unknown = "nobody.reads.this"
	sweep := func(want string) {
		t.Helper()
		if err := j.sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := ""
		var gotSb71 strings.Builder
		for _, topic := range []string{messages.TopicNodeChanged, messages.TopicObservations, messages.TopicPoison, unknown} {
			gotSb71.WriteString(oldest(t, s, topic) + " ")
		}
		got += gotSb71.String()
		if got != want {
			t.Errorf("the topics begin at %swant %s", got, want)
		}
	}
	topics(t, s, 30, messages.TopicNodeChanged, messages.TopicObservations, messages.TopicPoison, unknown)
	advance(t, s, "inbox", messages.TopicObservations, 12)
	advance(t, s, "curious", messages.TopicPoison, 30)
	sweep("21 13 1 1 ")
	advance(t, s, "inbox", messages.TopicObservations, 30)
	sweep("21 21 1 1 ")
	topics(t, s, 5, messages.TopicNodeChanged, messages.TopicObservations)
	sweep("26 26 1 1 ")
	topics(t, s, 3*trimStep, messages.TopicNodeChanged)
	sweep(fmt.Sprint(3*trimStep+26, " 26 1 1 "))
}

// TestKeepsAllOfAFewMessages also where nothing else was ever trimmed.
func TestKeepsAllOfAFewMessages(t *testing.T) {
	s := memory(t)
	topics(t, s, keepMessages, messages.TopicNodeChanged)
	if err := newJanitor(s, nil).sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if at := oldest(t, s, messages.TopicNodeChanged); at != "1" {
		t.Errorf("the topic begins at %s", at)
	}
}

// TestLagAlarm says once that a group is behind and once that it has caught up.
func TestLagAlarm(t *testing.T) {
	s := memory(t)
	var said bytes.Buffer
	j := newJanitor(s, slog.New(slog.NewTextHandler(&said, nil)))
	j.keep, j.alarm = 1, 10
	says := func(want ...string) {
		t.Helper()
		said.Reset()
		for range 2 {
			if err := j.sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if lines := strings.Count(said.String(), "\n"); lines != len(want) {
			t.Errorf("it says\n%s", said.String())
		}
		for _, w := range want {
			if !strings.Contains(said.String(), w) {
				t.Errorf("it says\n%snot %s", said.String(), w)
			}
		}
	}
	topics(t, s, 20, messages.TopicNodeChanged, messages.TopicObservations) // nobody but retention reads the first
	advance(t, s, "inbox", messages.TopicObservations, 10)
	says()
	topics(t, s, 1, messages.TopicObservations)
	says(`msg="ALARM: consumer group is behind" topic=observations group=inbox unread=11`)
	topics(t, s, 1, messages.TopicObservations)
	says()
	advance(t, s, "inbox", messages.TopicObservations, 12)
	says(`msg="ALARM over: consumer group has caught up" topic=observations group=inbox unread=10`)
	advance(t, s, "inbox", messages.TopicObservations, 22)
	says()
}

// TestJanitorLooksEveryMinute, also at once, and ends.
func TestJanitorLooksEveryMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(memstore.Options{})
		defer s.Close()
		topics(t, s, keepMessages+1, messages.TopicNodeChanged)
		ctx, quit := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { newJanitor(s, nil).run(ctx); close(ended) }()
		synctest.Wait()
		if at := oldest(t, s, messages.TopicNodeChanged); at != "2" {
			t.Errorf("at first the topic begins at %s", at)
		}
		topics(t, s, 1, messages.TopicNodeChanged)
		time.Sleep(sweepEvery + time.Second)
		if at := oldest(t, s, messages.TopicNodeChanged); at != "3" {
			t.Errorf("a minute later the topic begins at %s", at)
		}
		quit()
		<-ended
	})
}
