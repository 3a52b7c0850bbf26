package boltstore_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/boltstore"
)

const (
	crashFile     = "BOLTSTORE_CRASH_FILE" // set in the child: the file to commit into
	crashRounds   = 5
	crashEntities = 40
	crashAcks     = 3000 // after which a child is killed
)

// TestMain runs the tests, or a process of one of them.
func TestMain(m *testing.M) {
	for variable, run := range map[string]func(string) error{
		crashFile:    commitUntilKilled,
		powerLoad:    commitForPower,
		powerInspect: inspectForPower,
		fullDisk:     commitWithoutRoom,
	} {
		value := os.Getenv(variable)
		if value == "" {
			continue
		}
		if err := run(value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// commitUntilKilled commits to all entities at once.
func commitUntilKilled(path string) error {
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		return err
	}
	failed := make(chan error)
	for i := range crashEntities {
		e := persistence.Entity{Kind: "crash", ID: strconv.Itoa(i)}
		l, err := s.Load(context.Background(), e)
		if err != nil {
			return err
		}
		go func() { failed <- commitForever(s, e, l.Version) }()
	}
	return <-failed
}

// commitForever commits and prints what was acknowledged.
func commitForever(s *boltstore.Store, e persistence.Entity, version uint64) error {
	done := make(chan error)
	for ; ; version++ {
		c := &persistence.Commit{
			Entity: e,
			Expect: version,
			ID:     strconv.FormatUint(version, 10),
			Events: fmt.Appendf(nil, "%s at %d", e, version+1),
			Lists:  []persistence.ListItem{{List: "l", Data: []byte("x")}},
			Out:    []persistence.Message{{Topic: "t", Payload: []byte("x")}},
		}
		if version%50 == 49 {
			c.Snapshot = fmt.Appendf(nil, "state at %d", version+1)
		}
		s.Commit(c, func(err error) { done <- err })
		if err := <-done; err != nil {
			return err
		}
		fmt.Println("ack", e.ID, version+1)
	}
}

func TestCrash(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	acked := make(map[string]uint64)
	for round := range crashRounds {
		killAfter(t, path, crashAcks, acked)
		verify(t, path, acked)
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
	t.Logf("versions acknowledged: %v", acked)
}

// killAfter runs the child, notes what it acknowledges, and kills it.
func killAfter(t *testing.T, path string, acks int, acked map[string]uint64) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), crashFile+"="+path)
	child.Stderr = os.Stderr
	stdout, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	for n := 0; lines.Scan(); {
		var id string
		var version uint64
		if _, err := fmt.Sscanf(lines.Text(), "ack %s %d", &id, &version); err != nil {
			continue // The line that the kill cut off.
		}
		acked[id] = max(acked[id], version)
		// What the pipe still holds was acknowledged as well: read on to its end.
		if n++; n == acks {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := child.Wait(); err == nil {
		t.Fatal("the child ended by itself")
	}
}

// verify opens the file and looks for everything acknowledged.
func verify(t *testing.T, path string, acked map[string]uint64) {
	t.Helper()
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if len(acked) == 0 {
		t.Error("nothing was acknowledged")
	}
	var total uint64
	for id, version := range acked {
		e := persistence.Entity{Kind: "crash", ID: id}
		l, err := s.Load(t.Context(), e) // It also checks that the journal is contiguous.
		if err != nil {
			t.Error(err)
			continue
		}
		if l.Version < version {
			t.Errorf("%s: version %d was acknowledged, %d is stored", e, version, l.Version)
		}
		total += l.Version
		items, err := s.Since(t.Context(), e, "l", 0, 0, int(l.Version)+1)
		if err != nil || uint64(len(items)) != l.Version {
			t.Errorf("%s: version %d, %d list items, %v", e, l.Version, len(items), err)
		}
	}
	ms, err := s.Read(t.Context(), "t", "", int(total)+1)
	if err != nil || uint64(len(ms)) != total {
		t.Errorf("%d messages of %d commits, %v", len(ms), total, err)
	}
	seen := make(map[string]uint64)
	for _, m := range ms {
		if id := m.Origin.Entity.ID; m.Origin.Version != seen[id]+1 {
			t.Errorf("message of version %d of %s after %d", m.Origin.Version, id, seen[id])
		} else {
			seen[id]++
		}
	}
}
