package storetest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// ann is the entity most parts use.
var ann = persistence.Entity{Kind: "user", ID: "ann"}

// step is a commit of one event.
func step(e persistence.Entity, expect uint64) *persistence.Commit {
	return &persistence.Commit{
		Entity: e,
		Expect: expect,
		ID:     fmt.Sprintf("c%d", expect+1),
		Events: fmt.Appendf(nil, "e%d", expect+1),
	}
}

// mustFail checks the error of a commit.
func mustFail(t *testing.T, s persistence.Store, c *persistence.Commit, want error) {
	t.Helper()
	if err := commit(t, s, c); !errors.Is(err, want) {
		t.Fatalf("commit %s of %s after version %d: %v, want %v", c.ID, c.Entity, c.Expect, err, want)
	}
}

func checkFence(t *testing.T, s persistence.Store) {
	mustCommit(t, s, step(ann, 0), step(ann, 1))
	other := step(ann, 1)
	other.ID = "another owner's"
	mustFail(t, s, other, persistence.ErrStale)
	mustFail(t, s, step(ann, 7), persistence.ErrLost)
	mustFail(t, s, step(persistence.Entity{Kind: "user", ID: "never"}, 1), persistence.ErrLost)
	other = step(ann, 0)
	other.ID = "much too late"
	mustFail(t, s, other, persistence.ErrStale)
	l, err := s.Load(t.Context(), ann)
	check(t, err)
	if l.Version != 2 || journal(l) != "1=e1 2=e2" {
		t.Fatalf("refused commits left traces: version %d, journal %s", l.Version, journal(l))
	}
}

func checkRepeat(t *testing.T, s persistence.Store) {
	c := step(ann, 0)
	c.Lists = []persistence.ListItem{{List: "l", Data: []byte("x")}}
	c.Out = []persistence.Message{{Topic: "t", Payload: []byte("x")}}
	mustCommit(t, s, c, c, c)
	// The id decides, whatever the version: the owner may not know it any more.
	again := step(ann, 9)
	again.ID = c.ID
	mustCommit(t, s, again)
	l, err := s.Load(t.Context(), ann)
	check(t, err)
	items, err := s.Since(t.Context(), ann, "l", 0, 0, 10)
	check(t, err)
	ms, err := s.Read(t.Context(), "t", "", 10)
	check(t, err)
	if l.Version != 1 || len(l.Tail) != 1 || len(items) != 1 || len(ms) != 1 {
		t.Fatalf("repeats were stored: %+v, %d items, %d messages", l, len(items), len(ms))
	}
	// Without events, too: a wake-up or snapshot handed over again.
	quiet := &persistence.Commit{Entity: ann, Expect: 1, ID: "quiet", Snapshot: []byte("s")}
	mustCommit(t, s, quiet, quiet)
}

func checkNames(t *testing.T, s persistence.Store) {
	long := strings.Repeat("x", persistence.MaxName+1)
	for _, e := range []persistence.Entity{
		{}, {Kind: "user"}, {ID: "ann"}, {Kind: "us\x00er", ID: "ann"}, {Kind: "user", ID: "a\x00nn"}, {Kind: "user", ID: long},
	} {
		mustFail(t, s, step(e, 0), persistence.ErrInvalid)
		if _, err := s.Load(t.Context(), e); !errors.Is(err, persistence.ErrInvalid) {
			t.Errorf("load %q: %v", e, err)
		}
		if _, err := s.Exists(t.Context(), e); !errors.Is(err, persistence.ErrInvalid) {
			t.Errorf("look for %q: %v", e, err)
		}
	}
	for name, spoil := range map[string]func(*persistence.Commit){
		"no id":                 func(c *persistence.Commit) { c.ID = "" },
		"no list":               func(c *persistence.Commit) { c.Lists = []persistence.ListItem{{Data: []byte("x")}} },
		"no topic":              func(c *persistence.Commit) { c.Out = []persistence.Message{{Payload: []byte("x")}} },
		"items, no events":      func(c *persistence.Commit) { c.Events, c.Lists = nil, []persistence.ListItem{{List: "l"}} },
		"messages, no events":   func(c *persistence.Commit) { c.Events, c.Out = nil, []persistence.Message{{Topic: "t"}} },
		"zero byte in the list": func(c *persistence.Commit) { c.Lists = []persistence.ListItem{{List: "a\x00b"}} },
	} {
		c := step(ann, 0)
		spoil(c)
		if err := commit(t, s, c); !errors.Is(err, persistence.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	mustCommit(t, s, step(ann, 0))
}

func checkRace(t *testing.T, s persistence.Store) {
	const writers, versions = 8, 60
	var won [versions]atomic.Int32
	var wait sync.WaitGroup
	for w := range writers {
		wait.Go(func() {
			for v := range uint64(versions) {
				c := step(ann, v)
				c.ID = fmt.Sprintf("%d/%d", w, v)
				c.Events = []byte(c.ID)
				var called atomic.Int32
				done := make(chan error, 1)
				s.Commit(c, func(err error) {
					if called.Add(1) == 1 {
						done <- err
					}
				})
				switch err := <-done; {
				case err == nil:
					won[v].Add(1)
				case !errors.Is(err, persistence.ErrStale) && !errors.Is(err, persistence.ErrLost):
					t.Errorf("writer %d at version %d: %v", w, v, err)
				}
				if n := called.Load(); n != 1 {
					t.Errorf("done was called %d times", n)
				}
			}
		})
	}
	wait.Wait()
	l, err := s.Load(t.Context(), ann)
	check(t, err)
	if l.Version != versions || len(l.Tail) != versions {
		t.Fatalf("version %d, %d records, want %d", l.Version, len(l.Tail), versions)
	}
	for v := range won {
		if n := won[v].Load(); n != 1 {
			t.Errorf("version %d was won %d times", v+1, n)
		}
	}
}

func checkClose(t *testing.T, s persistence.Store) {
	const commits = 2000
	var calls [commits]atomic.Int32
	var stored atomic.Int32
	var wait sync.WaitGroup
	wait.Add(commits)
	hand := func(i int) {
		e := persistence.Entity{Kind: "user", ID: strconv.Itoa(i)}
		s.Commit(step(e, 0), func(err error) {
			switch {
			case err == nil:
				stored.Add(1)
			case !errors.Is(err, persistence.ErrClosed) && !errors.Is(err, persistence.ErrOverloaded):
				t.Errorf("commit %d: %v", i, err)
			}
			if calls[i].Add(1) == 1 {
				wait.Done()
			}
		})
	}
	half := make(chan struct{})
	go func() {
		for i := range commits {
			if i == commits/2 {
				close(half)
			}
			hand(i)
		}
	}()
	<-half
	check(t, s.Close())
	wait.Wait()
	check(t, s.Close()) // Twice is once.
	for i := range calls {
		if n := calls[i].Load(); n != 1 {
			t.Errorf("done of commit %d was called %d times", i, n)
		}
	}
	mustFail(t, s, step(ann, 0), persistence.ErrClosed)
	if _, err := s.Load(t.Context(), ann); !errors.Is(err, persistence.ErrClosed) {
		t.Errorf("load from a closed store: %v", err)
	}
	if _, err := s.Due(t.Context(), time.Unix(1, 0), 1, time.Second); !errors.Is(err, persistence.ErrClosed) {
		t.Errorf("due of a closed store: %v", err)
	}
}
