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
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/threefoldtech/cloud-marketplace/internal/redistest"
	backupv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/backup/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/redisstore"
	"github.com/threefoldtech/cloud-marketplace/persistence/storetest"
)

// open opens the store in a server and closes it when the test ends.
func open(t *testing.T, addr string) *redisstore.Store {
	t.Helper()
	s, err := redisstore.Open(t.Context(), redisstore.Options{Redis: &redis.Options{Addr: addr}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// admin is a plain connection to a server.
func admin(t *testing.T, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// endure runs a workload of 200 owners while a fault happens, and then checks
// that everything acknowledged is there once.
func endure(t *testing.T, addr string, fault func()) *storetest.Workload {
	t.Helper()
	s, w := open(t, addr), storetest.NewWorkload(200)
	ctx, stop := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() { w.Run(ctx, s) })
	fault()
	stop()
	wait.Wait()
	w.Finish(t.Context(), s)
	verify(t, w, open(t, addr), false)
	if w.Lost.Load()+w.Replaced.Load() > 0 {
		t.Errorf("%d owners were told of a loss, %d of another owner", w.Lost.Load(), w.Replaced.Load())
	}
	if w.Acked.Load() == 0 {
		t.Error("nothing was acknowledged")
	}
	t.Logf("%d acknowledged, %d handed over again", w.Acked.Load(), w.Again.Load())
	return w
}

func verify(t *testing.T, w *storetest.Workload, s persistence.Store, behind bool) {
	t.Helper()
	if err := w.Verify(t.Context(), s, behind); err != nil {
		t.Fatal(err)
	}
}

func sleep(d time.Duration) { time.Sleep(d) }

func TestServerKilledUnderLoad(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := endure(t, server.Addr, func() {
		for range 3 {
			sleep(time.Duration(100+rand.IntN(300)) * time.Millisecond)
			server.Kill()
			if err := server.Start(); err != nil {
				t.Error(err)
			}
		}
		sleep(300 * time.Millisecond)
	})
	if w.Again.Load() == 0 {
		t.Error("no commit met a dead server")
	}
}

func TestScriptsFlushedUnderLoad(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	endure(t, server.Addr, func() {
		c := admin(t, server.Addr)
		for range 200 {
			if err := c.ScriptFlush(t.Context()).Err(); err != nil {
				t.Error(err)
			}
			sleep(2 * time.Millisecond)
		}
	})
}

func TestAnswersCutUnderLoad(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p, err := redistest.StartProxy(server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	w := endure(t, p.Addr, func() {
		for range 30 {
			sleep(20 * time.Millisecond)
			p.CutNext()
		}
		p.Heal()
		sleep(100 * time.Millisecond)
	})
	if w.Again.Load() == 0 || p.Cuts.Load() == 0 {
		t.Errorf("%d answers were cut, %d commits handed over again", p.Cuts.Load(), w.Again.Load())
	}
}

func TestServerStallsUnderLoad(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	endure(t, server.Addr, func() {
		sleep(200 * time.Millisecond)
		server.Signal(syscall.SIGSTOP)
		sleep(5 * time.Second)
		server.Signal(syscall.SIGCONT)
		sleep(200 * time.Millisecond)
	})
}

func TestMemoryRunsOutUnderLoad(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := admin(t, server.Addr)
	set := func(limit string) {
		if err := c.ConfigSet(t.Context(), "maxmemory", limit).Err(); err != nil {
			t.Error(err)
		}
	}
	w := endure(t, server.Addr, func() {
		for range 5 {
			sleep(50 * time.Millisecond)
			set("1mb")
			sleep(50 * time.Millisecond)
			set("0")
		}
		sleep(100 * time.Millisecond)
	})
	if w.Again.Load() == 0 {
		t.Error("no commit met a full server")
	}
}

// TestTwoOwners has two crowds own the same entities, each on a store of its
// own: every version is won once, and who lost is told so.
func TestTwoOwners(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	e := persistence.Entity{Kind: "work", ID: "0"}
	var wait sync.WaitGroup
	acked := make(chan uint64, 2000)
	for owner := range 2 {
		s := open(t, server.Addr)
		wait.Go(func() {
			for range 500 {
				l, err := s.Load(t.Context(), e)
				if err != nil {
					t.Error(err)
					return
				}
				result := make(chan error, 1)
				id := []byte{'a' + byte(owner)}
				s.Commit(&persistence.Commit{Entity: e, Expect: l.Version, ID: string(id) + time.Now().String(), Events: id}, func(err error) { result <- err })
				switch err := <-result; {
				case err == nil:
					acked <- l.Version + 1
				case !errors.Is(err, persistence.ErrStale):
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	close(acked)
	seen := map[uint64]bool{}
	for v := range acked {
		if seen[v] {
			t.Errorf("version %d was won twice", v)
		}
		seen[v] = true
	}
	l, err := open(t, server.Addr).Load(t.Context(), e)
	if err != nil || l.Version != uint64(len(seen)) {
		t.Fatalf("version %d of %d that were won, %v", l.Version, len(seen), err)
	}
}

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

// TestUnfit holds a server that would lose data to one sentence.
func TestUnfit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		settings []string
		options  redis.Options
		want     string
	}{
		"a wrong password": {[]string{"--requirepass", "right"}, redis.Options{Password: "wrong"}, "refuses the user or the password"},
		"no password":      {[]string{"--requirepass", "right"}, redis.Options{}, "wants a password"},
		"evicting":         {[]string{"--maxmemory-policy", "allkeys-lru"}, redis.Options{}, "maxmemory-policy is allkeys-lru"},
		"volatile":         {[]string{"--appendonly", "no"}, redis.Options{}, "appendonly is off"},
		"a second late":    {[]string{"--appendfsync", "everysec"}, redis.Options{}, "appendfsync is everysec"},
		"read-only":        {[]string{"--replicaof", "127.0.0.1 1", "--replica-serve-stale-data", "yes"}, redis.Options{}, "is a replica"},
		"full":             {[]string{"--maxmemory", "1"}, redis.Options{}, "takes no writes"},
		"another's user":   {[]string{"--user", "ann", "on", ">pw", "~other:*", "+@all"}, redis.Options{Username: "ann", Password: "pw"}, "may not do what a store needs"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.options.Addr = redistest.Start(t, c.settings...).Addr
			_, err := redisstore.Open(t.Context(), redisstore.Options{Redis: &c.options})
			if !errors.Is(err, redisstore.ErrUnfit) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("opened with %v, want %q", err, c.want)
			}
		})
	}
}
