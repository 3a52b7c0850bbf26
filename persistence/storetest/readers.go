package storetest

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// errDead says that the process which asks is dead.
var errDead = errors.New("the process is dead")

// mortal is a store as one process sees it: once that is killed, nothing of it
// reaches the store any more, not even that it ends. It counts what is asked.
type mortal struct {
	persistence.Store
	dead            atomic.Bool
	reads, advances atomic.Int64
}

// Lease is the store's.
func (m *mortal) Lease(ctx context.Context, name, holder string, ttl time.Duration) (bool, error) {
	if m.dead.Load() {
		return false, errDead
	}
	return m.Store.Lease(ctx, name, holder, ttl)
}

// Read is the store's.
func (m *mortal) Read(ctx context.Context, topic string, after persistence.Position, n int) ([]persistence.Message, error) {
	if m.dead.Load() {
		return nil, errDead
	}
	m.reads.Add(1)
	return m.Store.Read(ctx, topic, after, n)
}

// Advance is the store's.
func (m *mortal) Advance(ctx context.Context, group, topic string, to persistence.Position) error {
	if m.dead.Load() {
		return errDead
	}
	m.advances.Add(1)
	return m.Store.Advance(ctx, group, topic, to)
}

// number is what a message of publish says.
func number(t *testing.T, m *message.Message) int {
	t.Helper()
	n, err := strconv.Atoi(string(m.Payload))
	check(t, err)
	return n
}

// checkKilled kills one reader after another with a message in its hands. The
// next begins with that or with what was acked just before, and goes on in order.
func checkKilled(t *testing.T, s persistence.Store) {
	const readers, messages, each = 4, 60, 10
	publish(t, s, "t", messages)
	reader := func() (*mortal, <-chan *message.Message) {
		m := &mortal{Store: s}
		sub := persistence.NewSubscriber(m, persistence.SubscriberConfig{Group: "g", Lease: time.Second, Batch: 3})
		t.Cleanup(func() { _ = sub.Close() })
		ms, err := sub.Subscribe(t.Context(), "t")
		check(t, err)
		return m, ms
	}
	process, ms := reader()
	acked := 0 // messages that the readers so far have acked, the first of all
	for i := range readers {
		m := next(t, ms)
		heir, waiting := reader() // now that it is known who reads
		from := number(t, m)
		if from > acked || from < acked-each-1 {
			t.Fatalf("reader %d begins at %d, and %d were acked", i, from, acked)
		}
		for range each {
			m.Ack()
			acked = max(acked, number(t, m)+1)
			m = follower(t, ms, m)
		}
		if i%2 == 1 { // the store knows all that was acked, and nothing more
			waitForCursor(t, s, strconv.Itoa(acked))
			<-time.After(50 * time.Millisecond) //nolint:forbidigo // What must not come takes no time of its own.
		}
		process.dead.Store(true) // and m is never acked
		process, ms = heir, waiting
	}
	m := next(t, ms)
	if from := number(t, m); from > acked {
		t.Fatalf("the last reader begins at %d, and %d were acked", from, acked)
	}
	for m.Ack(); number(t, m) < messages-1; m.Ack() {
		m = follower(t, ms, m)
	}
}

// follower takes the message that follows another.
func follower(t *testing.T, ms <-chan *message.Message, of *message.Message) *message.Message {
	t.Helper()
	m := next(t, ms)
	if got, want := number(t, m), number(t, of)+1; got != want {
		t.Fatalf("message %d, want %d", got, want)
	}
	return m
}

// checkNackStorm nacks a message for a while. It comes again after the delay and
// in its turn, and the store is not asked for it again.
func checkNackStorm(t *testing.T, s persistence.Store) {
	const delay, nacks = 5 * time.Millisecond, 40
	publish(t, s, "t", 20)
	m := &mortal{Store: s}
	sub := persistence.NewSubscriber(m, persistence.SubscriberConfig{Group: "g", NackDelay: delay, Batch: 3})
	t.Cleanup(func() { _ = sub.Close() })
	ms, err := sub.Subscribe(t.Context(), "t")
	check(t, err)
	mustReceive(t, ms, "0", "1")
	held := next(t, ms)
	waitForCursor(t, s, "2")
	begin := time.Now() //nolint:forbidigo // The delay is real.
	reads, advances := m.reads.Load(), m.advances.Load()
	for range nacks {
		if got := number(t, held); got != 2 {
			t.Fatalf("message %d while 2 is nacked", got)
		}
		held.Nack()
		held = next(t, ms)
	}
	if lasted := time.Since(begin); lasted < nacks*delay { //nolint:forbidigo // see above
		t.Errorf("%d nacks took %s", nacks, lasted)
	}
	// One batch is read ahead, and no more; nothing was handled that could be told.
	if read, told := m.reads.Load()-reads, m.advances.Load()-advances; read > 1 || told > 0 {
		t.Errorf("meanwhile the store was asked %d times for messages and told %d times how far the group is", read, told)
	}
	held.Ack()
	for want := 3; want < 20; want++ {
		mustReceive(t, ms, strconv.Itoa(want))
	}
}
