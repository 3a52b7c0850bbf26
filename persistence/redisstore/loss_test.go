package redisstore_test

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/threefoldtech/cloud-marketplace/internal/redistest"
	backupv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/backup/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/redisstore"
	"github.com/threefoldtech/cloud-marketplace/persistence/storetest"
)

// each goes through the parts of a dump.
func each(parts []*backupv1.Part) iter.Seq2[*backupv1.Part, error] {
	return func(yield func(*backupv1.Part, error) bool) {
		for _, p := range parts {
			if !yield(p, nil) {
				return
			}
		}
	}
}

// log is the part of the server's log that grows.
func log(t *testing.T, server *redistest.Server) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(server.Dir, "appendonlydir", "*.incr.aof"))
	if err != nil || len(all) != 1 {
		t.Fatalf("logs %v, %v", all, err)
	}
	return all[0]
}

// TestTornLog cuts the log at random places, as a disk does that lied: what is
// left must agree with itself, and owners that know better must be told.
func TestTornLog(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s, w := open(t, server.Addr), storetest.NewWorkload(50)
	ctx, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer stop()
	w.Run(ctx, s)
	w.Finish(t.Context(), s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	whole, err := os.ReadFile(log(t, server))
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	for range 20 {
		cut := 1000 + random.IntN(len(whole)-1000)
		if err := os.WriteFile(log(t, server), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := server.Start(); err != nil {
			t.Fatalf("cut at %d of %d: %v", cut, len(whole), err)
		}
		s := open(t, server.Addr)
		if err := w.Verify(t.Context(), s, true); err != nil {
			t.Fatalf("cut at %d of %d: %v", cut, len(whole), err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		server.Kill()
	}
}

// TestLostTail puts an older log under live owners: each is told that the store
// lost its commits, and nothing is written over the gap.
func TestLostTail(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s, w := open(t, server.Addr), storetest.NewWorkload(50)
	spell := func() {
		ctx, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer stop()
		w.Run(ctx, s)
		w.Finish(t.Context(), s)
	}
	spell()
	early, err := os.ReadFile(log(t, server))
	if err != nil {
		t.Fatal(err)
	}
	spell()
	server.Kill()
	if err := os.WriteFile(log(t, server), early, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	before := w.Acked.Load()
	spell()
	if n := w.Lost.Load(); n != 50 || w.Acked.Load() != before {
		t.Errorf("%d of 50 owners were told of the loss, %d commits were acknowledged after it", n, w.Acked.Load()-before)
	}
	verify(t, w, s, true)
}

// TestLostTailOfTopic puts an older log under a reader of a group and one without:
// what is published then is delivered, though its numbers were there before.
func TestLostTailOfTopic(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, server.Addr)
	publish := func(from, to int) {
		for i := from; i < to; i++ {
			if err := s.Append(t.Context(), []persistence.Message{{Topic: "t", UUID: strconv.Itoa(i), Payload: []byte(strconv.Itoa(i))}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	quiet := slog.New(slog.DiscardHandler)
	group := persistence.NewSubscriber(s, persistence.SubscriberConfig{Group: "g", Log: quiet})
	fanout := persistence.NewSubscriber(s, persistence.SubscriberConfig{Log: quiet})
	t.Cleanup(func() { _ = errors.Join(group.Close(), fanout.Close()) })
	var heard [2]chan string
	var gaps atomic.Int64
	for i, sub := range []*persistence.Subscriber{group, fanout} {
		in, err := sub.Subscribe(t.Context(), "t")
		if err != nil {
			t.Fatal(err)
		}
		heard[i] = make(chan string, 100)
		go func() {
			for m := range in {
				if m.Metadata.Get(persistence.MetadataGap) != "" {
					gaps.Add(1)
				}
				heard[i] <- string(m.Payload)
				m.Ack()
			}
		}()
	}
	expect := func(from, to int) {
		t.Helper()
		for i := range heard {
			for n := from; n < to; n++ {
				select {
				case got := <-heard[i]:
					if got != strconv.Itoa(n) {
						t.Fatalf("reader %d heard %s, not %d", i, got, n)
					}
				case <-time.After(20 * time.Second):
					t.Fatalf("reader %d never heard %d", i, n)
				}
			}
		}
	}
	publish(0, 5)
	expect(0, 5)
	sleep(300 * time.Millisecond) // the group's place is told
	early, err := os.ReadFile(log(t, server))
	if err != nil {
		t.Fatal(err)
	}
	publish(5, 25)
	expect(5, 25)
	server.Kill()
	if err := os.WriteFile(log(t, server), early, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	sleep(3 * time.Second) // readers find out
	publish(100, 110)
	expect(100, 110)
	if gaps.Load() != 1 {
		t.Errorf("%d readers heard of a gap, not the one that has no place in the store", gaps.Load())
	}
}

// TestEverythingLost empties a server under a store: that says so, and no later
// one takes it for a new one. A backup makes it a store again.
func TestEverythingLost(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s, w := open(t, server.Addr), storetest.NewWorkload(10)
	w.Step(t.Context(), s)
	var parts []*backupv1.Part
	if err := s.Dump(t.Context(), func(p *backupv1.Part) error { parts = append(parts, p); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := redistest.Command(t.Context(), server.Addr, "FLUSHALL"); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for !errors.Is(s.Health().Err, persistence.ErrLost) {
		if time.Now().After(deadline) {
			t.Fatalf("the store says %v of itself", s.Health().Err)
		}
		sleep(50 * time.Millisecond)
	}
	// Nothing begins anew over what is gone.
	fresh := persistence.Entity{Kind: "user", ID: "ann"}
	result := make(chan error, 1)
	s.Commit(&persistence.Commit{Entity: fresh, ID: "c", Events: []byte("e")}, func(err error) { result <- err })
	if err := <-result; !errors.Is(err, persistence.ErrOverloaded) {
		t.Errorf("a commit to a store that is gone: %v", err)
	}
	if _, err := s.Load(t.Context(), fresh); !errors.Is(err, persistence.ErrLost) {
		t.Errorf("a load from a store that is gone: %v", err)
	}
	if err := s.Append(t.Context(), []persistence.Message{{Topic: "t"}}); !errors.Is(err, persistence.ErrOverloaded) {
		t.Errorf("a message to a store that is gone: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	options := redisstore.Options{Redis: &redis.Options{Addr: server.Addr}}
	if _, err := redisstore.Open(t.Context(), options); !errors.Is(err, persistence.ErrLost) {
		t.Fatalf("opened with %v", err)
	}
	if err := redisstore.Restore(t.Context(), options, each(parts)); err != nil {
		t.Fatal(err)
	}
	verify(t, w, open(t, server.Addr), false)
}

// TestHalfRestored has a restore end in the middle: nobody works on what it left,
// and another one begins anew.
func TestHalfRestored(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s, w := open(t, redistest.Start(t).Addr), storetest.NewWorkload(300)
	w.Step(t.Context(), s)
	var parts []*backupv1.Part
	if err := s.Dump(t.Context(), func(p *backupv1.Part) error { parts = append(parts, p); return nil }); err != nil {
		t.Fatal(err)
	}
	options := redisstore.Options{Redis: &redis.Options{Addr: server.Addr}}
	cut := errors.New("cut")
	err := redisstore.Restore(t.Context(), options, func(yield func(*backupv1.Part, error) bool) {
		for _, p := range parts[:len(parts)/2] {
			if !yield(p, nil) {
				return
			}
		}
		yield(nil, cut)
	})
	if !errors.Is(err, cut) {
		t.Fatalf("restored with %v", err)
	}
	if _, err := redisstore.Open(t.Context(), options); !errors.Is(err, persistence.ErrCorrupt) || !strings.Contains(err.Error(), "restore it again") {
		t.Fatalf("opened with %v", err)
	}
	if err := redisstore.Restore(t.Context(), options, each(parts)); err != nil {
		t.Fatal(err)
	}
	verify(t, w, open(t, server.Addr), false)
	if err := redisstore.Restore(t.Context(), options, each(parts)); !errors.Is(err, persistence.ErrNotEmpty) {
		t.Fatalf("restored twice: %v", err)
	}
	held := redisstore.Options{Redis: &redis.Options{Addr: redistest.Start(t).Addr}}
	holder := open(t, held.Redis.Addr)
	if mine, err := holder.Lease(t.Context(), "server", "me", time.Minute); err != nil || !mine {
		t.Fatal(mine, err)
	}
	if err := redisstore.Restore(t.Context(), held, each(parts)); !errors.Is(err, persistence.ErrLocked) {
		t.Fatalf("restored under a server: %v", err)
	}
	held.Existing, held.Tag = true, "other"
	if _, err := redisstore.Open(t.Context(), held); !errors.Is(err, redisstore.ErrUnfit) || !strings.Contains(err.Error(), "there is no store under the tag other") {
		t.Fatalf("opened what is not there: %v", err)
	}
}
