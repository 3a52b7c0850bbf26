package storetest

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// journal shows the tail as "version=events …".
func journal(l persistence.Loaded) string {
	var words []string
	for _, r := range l.Tail {
		words = append(words, fmt.Sprintf("%d=%s", r.Version, r.Events))
	}
	return strings.Join(words, " ")
}

// snapshots shows the snapshots as "version=data …".
func snapshots(l persistence.Loaded) string {
	var words []string
	for _, n := range l.Snapshots {
		words = append(words, fmt.Sprintf("%d=%s", n.Version, n.Data))
	}
	return strings.Join(words, " ")
}

// mustLoad checks what is stored of an entity.
func mustLoad(t *testing.T, s persistence.Store, e persistence.Entity, version uint64, wantSnapshots, wantJournal string) {
	t.Helper()
	l, err := s.Load(t.Context(), e)
	check(t, err)
	if l.Version != version || snapshots(l) != wantSnapshots || journal(l) != wantJournal {
		t.Fatalf("load %s: version %d, snapshots %q, journal %q; want %d, %q, %q",
			e, l.Version, snapshots(l), journal(l), version, wantSnapshots, wantJournal)
	}
}

// withSnapshot adds a snapshot to a commit.
func withSnapshot(c *persistence.Commit, data string) *persistence.Commit {
	c.Snapshot = []byte(data)
	return c
}

func checkSnapshotOnly(t *testing.T, s persistence.Store) {
	mustCommit(t, s, step(ann, 0),
		&persistence.Commit{Entity: ann, Expect: 1, ID: "s1", Snapshot: []byte("one")})
	mustLoad(t, s, ann, 1, "1=one", "1=e1")
	// A commit that holds nothing but its id is stored as well: it takes the wake-up away.
	mustCommit(t, s, &persistence.Commit{Entity: ann, Expect: 1, ID: "nothing"}, step(ann, 1))
	mustLoad(t, s, ann, 2, "1=one", "1=e1 2=e2")
	mustFail(t, s, &persistence.Commit{Entity: ann, Expect: 1, ID: "late", Snapshot: []byte("x")}, persistence.ErrStale)
	mustFail(t, s, &persistence.Commit{Entity: ann, Expect: 3, ID: "lost", Snapshot: []byte("x")}, persistence.ErrLost)
}

func checkSnapshots(t *testing.T, s persistence.Store) {
	mustCommit(t, s, step(ann, 0), step(ann, 1))
	mustLoad(t, s, ann, 2, "", "1=e1 2=e2")
	mustCommit(t, s, withSnapshot(step(ann, 2), "three"), step(ann, 3))
	mustLoad(t, s, ann, 4, "3=three", "1=e1 2=e2 3=e3 4=e4")
	mustCommit(t, s, withSnapshot(step(ann, 4), "five"), step(ann, 5))
	mustLoad(t, s, ann, 6, "3=three 5=five", "4=e4 5=e5 6=e6")
	mustCommit(t, s, step(ann, 6), withSnapshot(step(ann, 7), "eight"))
	mustLoad(t, s, ann, 8, "5=five 8=eight", "6=e6 7=e7 8=e8")
	mustCommit(t, s, step(ann, 8))
	// A snapshot at a version of its own, with nothing since the one before.
	mustCommit(t, s, &persistence.Commit{Entity: ann, Expect: 9, ID: "s9", Snapshot: []byte("nine")})
	mustLoad(t, s, ann, 9, "8=eight 9=nine", "9=e9")
	// Another at the same version takes its place: the older stays older.
	mustCommit(t, s, &persistence.Commit{Entity: ann, Expect: 9, ID: "s9 again", Snapshot: []byte("neun")})
	mustLoad(t, s, ann, 9, "8=eight 9=neun", "9=e9")
	// The state of an entity may be encoded as nothing; it is a snapshot all the same.
	empty := step(ann, 9)
	empty.Snapshot = []byte{}
	mustCommit(t, s, empty)
	mustLoad(t, s, ann, 10, "9=neun 10=", "10=e10")
}

func checkAbsent(t *testing.T, s persistence.Store) {
	mustCommit(t, s, step(persistence.Entity{Kind: "user", ID: "ann2"}, 0))
	l, err := s.Load(t.Context(), ann)
	check(t, err)
	if !reflect.DeepEqual(l, persistence.Loaded{}) {
		t.Fatalf("an entity that never was: %+v", l)
	}
	items, next, err := s.Page(t.Context(), ann, "l", "", 10)
	if err != nil || len(items) != 0 || next != "" {
		t.Fatalf("its list: %v, %q, %v", items, next, err)
	}
	if items, err = s.Since(t.Context(), ann, "l", 0, 0, 10); err != nil || len(items) != 0 {
		t.Fatalf("its list: %v, %v", items, err)
	}
}

func checkExists(t *testing.T, s persistence.Store) {
	mustExist := func(want bool) {
		t.Helper()
		if got, err := s.Exists(t.Context(), ann); err != nil || got != want {
			t.Fatalf("exists: %v, %v, want %v", got, err, want)
		}
	}
	mustExist(false)
	mustCommit(t, s, step(persistence.Entity{Kind: "user", ID: "anna"}, 0))
	mustCommit(t, s, &persistence.Commit{Entity: ann, ID: "quiet", Snapshot: []byte("s")})
	mustExist(false)
	refs, _, err := s.Entities(t.Context(), "user", "", 10)
	if err != nil || len(refs) != 1 {
		t.Fatalf("entities %v, %v, want only the one with an event", refs, err)
	}
	mustCommit(t, s, step(ann, 0))
	mustExist(true)
}

func checkEntities(t *testing.T, s persistence.Store) {
	for _, id := range []string{"b", "a", "aa", "a!", "c", "a\x01"} {
		e := persistence.Entity{Kind: "node", ID: id}
		mustCommit(t, s, step(e, 0))
		c := withSnapshot(step(e, 1), "s")
		c.Lists = []persistence.ListItem{{List: "l", Data: []byte("x")}}
		mustCommit(t, s, c)
	}
	for _, e := range []persistence.Entity{{Kind: "nod", ID: "e"}, {Kind: "node2", ID: "a"}, {Kind: "zone", ID: "a"}} {
		mustCommit(t, s, step(e, 0))
	}
	for n := 1; n <= 7; n++ {
		var ids []string
		cursor := ""
		for pages := 0; ; pages++ {
			refs, next, err := s.Entities(t.Context(), "node", cursor, n)
			check(t, err)
			for _, r := range refs {
				if r.Entity.Kind != "node" || r.Version != 2 {
					t.Fatalf("row %+v", r)
				}
				ids = append(ids, r.Entity.ID)
			}
			if next == "" {
				break
			}
			if len(refs) != n || pages > 6 {
				t.Fatalf("page %d of at most %d holds %d and goes on at %q", pages, n, len(refs), next)
			}
			cursor = next
		}
		if got, want := fmt.Sprintf("%q", ids), `["a" "a\x01" "a!" "aa" "b" "c"]`; got != want {
			t.Fatalf("by %d: %s, want %s", n, got, want)
		}
	}
}
