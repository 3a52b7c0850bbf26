package storetest

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// pubSubParts is what Publisher and Subscriber promise beyond Watermill's suite.
func pubSubParts() []part {
	return []part{
		{"a message says where it comes from", checkMetadata},
		{"fan-out begins where Subscribe returned", checkFanOut},
		{"fan-out begins at a position", checkSubscribeFrom},
		{"nothing is trimmed that a group which subscribed has not read", checkJoins},
		{"a reader hears of what was trimmed unread", checkGap},
		{"a group goes on where it was", checkGoesOn},
		{"another takes the place of a closed reader", checkTakesOver},
		{"another goes on where a killed reader was", checkKilled},
		{"a nack storm delays, and asks nothing of the store", checkNackStorm},
		{"a nacked message holds up those behind it", checkNack},
		{"a closed store ends its subscriptions", checkStoreClosed},
		{"a closed publisher and subscriber refuse", checkPubSubClosed},
	}
}

// subscriber returns a subscriber that the test closes.
func subscriber(t *testing.T, s persistence.Store, group string) *persistence.Subscriber {
	t.Helper()
	sub := persistence.NewSubscriber(s, persistence.SubscriberConfig{
		Group: group, Lease: time.Second, NackDelay: time.Millisecond, Batch: 3,
	})
	t.Cleanup(func() { _ = sub.Close() })
	return sub
}

// send publishes payloads, each in a call of its own.
func send(t *testing.T, s persistence.Store, payloads ...string) {
	t.Helper()
	for _, p := range payloads {
		check(t, persistence.NewPublisher(s).Publish("t", message.NewMessage("uuid of "+p, []byte(p))))
	}
}

// next takes a message.
func next(t *testing.T, ms <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, open := <-ms:
		if !open {
			t.Fatal("the subscription has ended")
		}
		return m
	case <-within(t):
		t.Fatal("no message came")
	}
	return nil
}

// mustReceive takes messages, compares and acks.
func mustReceive(t *testing.T, ms <-chan *message.Message, payloads ...string) {
	t.Helper()
	for _, want := range payloads {
		m := next(t, ms)
		if string(m.Payload) != want {
			t.Fatalf("message %q, want %q", m.Payload, want)
		}
		m.Ack()
	}
}

func checkMetadata(t *testing.T, s persistence.Store) {
	ms, err := subscriber(t, s, "").Subscribe(t.Context(), "t")
	check(t, err)
	c := step(ann, 0)
	c.Out = []persistence.Message{out("u", "x"), out("t", "y")}
	c.Out[1].Metadata = map[string]string{"name": "value"}
	mustCommit(t, s, c)
	m := next(t, ms)
	for key, want := range map[string]string{
		"name":                      "value",
		persistence.MetadataKind:    "user",
		persistence.MetadataID:      "ann",
		persistence.MetadataVersion: "1",
		persistence.MetadataIndex:   "1",
	} {
		if got := m.Metadata.Get(key); got != want {
			t.Errorf("metadata %s: %q, want %q", key, got, want)
		}
	}
	if end, err := s.End(t.Context(), "t"); err != nil || m.Metadata.Get(persistence.MetadataPosition) != string(end) {
		t.Errorf("position %q, want %q, %v", m.Metadata.Get(persistence.MetadataPosition), end, err)
	}
	m.Ack()
	send(t, s, "appended")
	if m = next(t, ms); m.Metadata.Get(persistence.MetadataKind) != "" || m.UUID != "uuid of appended" {
		t.Errorf("appended message %s: %v", m.UUID, m.Metadata)
	}
	m.Ack()
}

func checkFanOut(t *testing.T, s persistence.Store) {
	send(t, s, "before")
	sub := subscriber(t, s, "")
	first, err := sub.Subscribe(t.Context(), "t")
	check(t, err)
	send(t, s, "1")
	second, err := sub.Subscribe(t.Context(), "t")
	check(t, err)
	send(t, s, "2", "3", "4", "5")
	mustReceive(t, first, "1", "2", "3", "4", "5")
	mustReceive(t, second, "2", "3", "4", "5")
}

func checkSubscribeFrom(t *testing.T, s persistence.Store) {
	send(t, s, "1", "2")
	end, err := s.End(t.Context(), "t")
	check(t, err)
	send(t, s, "3", "4")
	sub := subscriber(t, s, "a group does not matter")
	ms, err := sub.SubscribeFrom(t.Context(), "t", end)
	check(t, err)
	all, err := sub.SubscribeFrom(t.Context(), "t", "")
	check(t, err)
	send(t, s, "5")
	mustReceive(t, ms, "3", "4", "5")
	mustReceive(t, all, "1", "2", "3", "4", "5")
}

func checkJoins(t *testing.T, s persistence.Store) {
	at := publish(t, s, "t", 3)
	check(t, s.Advance(t.Context(), "other", "t", at[2]))
	ms, err := subscriber(t, s, "g").Subscribe(t.Context(), "t")
	check(t, err)
	held := next(t, ms)
	mustTrim(t, s, at[2], 0)
	held.Ack()
	mustReceive(t, ms, "1", "2")
	waitForCursor(t, s, string(at[2]))
	mustTrim(t, s, at[2], 3)
}

func checkGap(t *testing.T, s persistence.Store) {
	at := publish(t, s, "t", 7)
	check(t, s.Advance(t.Context(), "g", "t", at[4]))
	mustTrim(t, s, at[6], 5)
	for after, want := range map[persistence.Position]string{"": "5", at[0]: "4", at[3]: "1", at[4]: "", at[5]: ""} {
		ms, err := subscriber(t, s, "").SubscribeFrom(t.Context(), "t", after)
		check(t, err)
		m := next(t, ms)
		if got := m.Metadata.Get(persistence.MetadataGap); got != want {
			t.Errorf("first message after %q: gap %q, want %q", after, got, want)
		}
		m.Nack()
		if got := next(t, ms).Metadata.Get(persistence.MetadataGap); got != want {
			t.Errorf("the same once more: gap %q, want %q", got, want)
		}
	}
	// Nobody else's word for it counts, and what follows has no gap.
	check(t, s.Append(t.Context(), []persistence.Message{{Topic: "t", Metadata: map[string]string{persistence.MetadataGap: "9"}}}))
	ms, err := subscriber(t, s, "").SubscribeFrom(t.Context(), "t", "")
	check(t, err)
	for i := range 3 {
		m := next(t, ms)
		if gap := m.Metadata.Get(persistence.MetadataGap); (gap != "") != (i == 0) {
			t.Errorf("message %d has the gap %q", i, gap)
		}
		m.Ack()
	}
}

func checkGoesOn(t *testing.T, s persistence.Store) {
	send(t, s, "1", "2", "3", "4", "5", "6", "7")
	for _, part := range [][]string{{"1", "2"}, {"3", "4", "5"}, {"6", "7"}} {
		sub := subscriber(t, s, "g")
		ms, err := sub.Subscribe(t.Context(), "t")
		check(t, err)
		mustReceive(t, ms, part[:len(part)-1]...)
		// The last is acked and the subscriber closed at once: it must be remembered.
		m := next(t, ms)
		if string(m.Payload) != part[len(part)-1] {
			t.Fatalf("message %q, want %q", m.Payload, part[len(part)-1])
		}
		m.Ack()
		<-m.Context().Done()
		waitForCursor(t, s, m.Metadata.Get(persistence.MetadataPosition))
		check(t, sub.Close())
	}
}

// waitForCursor waits until the store knows of an ack.
func waitForCursor(t *testing.T, s persistence.Store, want string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond) //nolint:forbidigo // Only the store's answer tells.
	defer tick.Stop()
	over := within(t)
	for {
		at, err := s.Cursor(t.Context(), "g", "t")
		check(t, err)
		if string(at) == want {
			return
		}
		select {
		case <-tick.C:
		case <-over:
			t.Fatalf("the group stands at %q, want %q", at, want)
		}
	}
}

func checkTakesOver(t *testing.T, s persistence.Store) {
	send(t, s, "1", "2", "3")
	first, second := subscriber(t, s, "g"), subscriber(t, s, "g")
	one, err := first.Subscribe(t.Context(), "t")
	check(t, err)
	mustReceive(t, one, "1")
	waiting, err := second.Subscribe(t.Context(), "t")
	check(t, err)
	held := next(t, one)
	select {
	case m := <-waiting:
		t.Fatalf("message %q while another reads", m.Payload)
	default:
	}
	check(t, first.Close())
	if _, open := <-one; open {
		t.Fatal("a closed subscriber delivers")
	}
	held.Ack() // Too late: nobody listens any more.
	mustReceive(t, waiting, "2", "3")
}

func checkNack(t *testing.T, s persistence.Store) {
	send(t, s, "1", "2")
	ms, err := subscriber(t, s, "g").Subscribe(t.Context(), "t")
	check(t, err)
	for i := range 5 {
		m := next(t, ms)
		if string(m.Payload) != "1" {
			t.Fatalf("message %q at try %d", m.Payload, i)
		}
		m.Nack()
	}
	mustReceive(t, ms, "1", "2")
}

func checkStoreClosed(t *testing.T, s persistence.Store) {
	for i, group := range []string{"", "g"} {
		ms, err := subscriber(t, s, group).Subscribe(t.Context(), "t")
		check(t, err)
		send(t, s, strconv.Itoa(i))
		if group == "" {
			mustReceive(t, ms, "0")
		}
		defer func() {
			select {
			case _, open := <-drained(ms):
				if open {
					t.Error("a message after the end")
				}
			case <-within(t):
				t.Error("the subscription outlives its store")
			}
		}()
	}
	check(t, s.Close())
}

// drained acks what still comes and returns a channel that ends with ms.
func drained(ms <-chan *message.Message) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for m := range ms {
			m.Ack()
		}
	}()
	return ended
}

func checkPubSubClosed(t *testing.T, s persistence.Store) {
	pub, sub := persistence.NewPublisher(s), subscriber(t, s, "g")
	ms, err := sub.Subscribe(t.Context(), "t")
	check(t, err)
	check(t, errors.Join(pub.Close(), pub.Close(), sub.Close(), sub.Close()))
	if _, open := <-ms; open {
		t.Error("a closed subscriber delivers")
	}
	if err := pub.Publish("t", message.NewMessage("x", nil)); !errors.Is(err, persistence.ErrPublisherClosed) {
		t.Errorf("publish: %v", err)
	}
	if _, err := sub.Subscribe(t.Context(), "t"); !errors.Is(err, persistence.ErrSubscriberClosed) {
		t.Errorf("subscribe: %v", err)
	}
	if _, err := subscriber(t, s, "g").Subscribe(t.Context(), ""); !errors.Is(err, persistence.ErrInvalid) {
		t.Errorf("subscribe to nothing: %v", err)
	}
}
