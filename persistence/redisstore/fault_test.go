package redisstore_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/threefoldtech/cloud-marketplace/internal/redistest"
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
		"no sorted sets":   {[]string{"--user", "ann", "on", ">pw", "~*", "+@all", "-zadd"}, redis.Options{Username: "ann", Password: "pw"}, "may not do what a store needs"},
		"no transactions":  {[]string{"--user", "ann", "on", ">pw", "~*", "+@all", "-multi"}, redis.Options{Username: "ann", Password: "pw"}, "may not do what a store needs"},
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
