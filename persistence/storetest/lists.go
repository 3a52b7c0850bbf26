package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// places shows items as "version-index=data …".
func places(items []persistence.ListItem) string {
	var words []string
	for _, i := range items {
		words = append(words, fmt.Sprintf("%d-%d=%s", i.Version, i.Index, i.Data))
	}
	return strings.Join(words, " ")
}

// fill commits three versions with five items of list "a" among others.
func fill(t *testing.T, s persistence.Store, e persistence.Entity) {
	t.Helper()
	first, second, third := step(e, 0), step(e, 1), step(e, 2)
	first.Lists = []persistence.ListItem{{List: "a", Data: []byte("p")}}
	second.Lists = []persistence.ListItem{
		{List: "a", Data: []byte("q")},
		{List: "ab", Data: []byte("other")},
		{List: "a", Data: []byte("r")},
	}
	third.Lists = []persistence.ListItem{{List: "a", Data: []byte("s")}, {List: "a", Data: []byte{}}}
	mustCommit(t, s, first, second, third)
}

func checkPage(t *testing.T, s persistence.Store) {
	fill(t, s, ann)
	for n := 1; n <= 6; n++ {
		var all []persistence.ListItem
		cursor := ""
		for pages := 0; ; pages++ {
			items, next, err := s.Page(t.Context(), ann, "a", cursor, n)
			check(t, err)
			all = append(all, items...)
			if next == "" {
				break
			}
			if len(items) != n || pages > 5 {
				t.Fatalf("page %d of at most %d holds %d and goes on at %q", pages, n, len(items), next)
			}
			cursor = next
		}
		if got, want := places(all), "3-1= 3-0=s 2-1=r 2-0=q 1-0=p"; got != want {
			t.Fatalf("by %d: %s, want %s", n, got, want)
		}
		for _, i := range all {
			if i.List != "a" {
				t.Fatalf("item of list %q", i.List)
			}
		}
	}
	// What is appended meanwhile does not move the pages that follow.
	_, cursor, err := s.Page(t.Context(), ann, "a", "", 2)
	check(t, err)
	c := step(ann, 3)
	c.Lists = []persistence.ListItem{{List: "a", Data: []byte("new")}}
	mustCommit(t, s, c)
	items, _, err := s.Page(t.Context(), ann, "a", cursor, 1)
	check(t, err)
	if got := places(items); got != "2-1=r" {
		t.Fatalf("page after an append: %s", got)
	}
}

func checkSince(t *testing.T, s persistence.Store) {
	fill(t, s, ann)
	for _, c := range []struct {
		version uint64
		index   uint32
		n       int
		want    string
	}{
		{0, 0, 10, "1-0=p 2-0=q 2-1=r 3-0=s 3-1="},
		{0, 0, 2, "1-0=p 2-0=q"},
		{1, 0, 2, "2-0=q 2-1=r"},
		{1, 7, 2, "2-0=q 2-1=r"},
		{2, 0, 1, "2-1=r"},
		{3, 0, 9, "3-1="},
		{3, 1, 9, ""},
		{9, 0, 9, ""},
	} {
		items, err := s.Since(t.Context(), ann, "a", c.version, c.index, c.n)
		check(t, err)
		if got := places(items); got != c.want {
			t.Errorf("since %d-%d: %s, want %s", c.version, c.index, got, c.want)
		}
	}
}

// mustReplace drops items and checks how many went.
func mustReplace(t *testing.T, s persistence.Store, version uint64, index uint32, data string, want int) {
	t.Helper()
	var by []byte
	if data != "" {
		by = []byte(data)
	}
	got, err := s.Replace(t.Context(), ann, "a", version, index, by)
	check(t, err)
	if got != want {
		t.Fatalf("%d items up to %d-%d were dropped, want %d", got, version, index, want)
	}
}

// mustList checks a list read oldest first, and paged newest first by two.
func mustList(t *testing.T, s persistence.Store, want ...string) {
	t.Helper()
	items, err := s.Since(t.Context(), ann, "a", 0, 0, 100)
	check(t, err)
	if got := places(items); got != strings.Join(want, " ") {
		t.Fatalf("the list is %s, want %s", got, want)
	}
	var paged []persistence.ListItem
	for cursor, done := "", false; !done; done = cursor == "" {
		page, next, err := s.Page(t.Context(), ann, "a", cursor, 2)
		check(t, err)
		paged, cursor = append(paged, page...), next
	}
	slices.Reverse(paged)
	if got := places(paged); got != strings.Join(want, " ") {
		t.Fatalf("by pages it is %s, want %s", got, want)
	}
}

func checkReplace(t *testing.T, s persistence.Store) {
	fill(t, s, ann)
	mustReplace(t, s, 0, 7, "x", 0) // nothing there: nothing to stand for
	mustList(t, s, "1-0=p", "2-0=q", "2-1=r", "3-0=s", "3-1=")
	mustReplace(t, s, 2, 0, "old", 2)
	mustList(t, s, "2-0=old", "2-1=r", "3-0=s", "3-1=")
	items, err := s.Since(t.Context(), ann, "a", 2, 0, 1)
	check(t, err)
	if got := places(items); got != "2-1=r" {
		t.Fatalf("after what stands for others comes %s", got)
	}
	items, _, err = s.Page(t.Context(), ann, "a", persistence.FormatCursor(2, 1), 5)
	check(t, err)
	if got := places(items); got != "2-0=old" {
		t.Fatalf("before the first there is %s", got)
	}
	mustReplace(t, s, 3, 0, "older", 3) // also what stands for others
	mustList(t, s, "3-0=older", "3-1=")
	c := step(ann, 3)
	c.Lists = []persistence.ListItem{{List: "a", Data: []byte("new")}}
	mustCommit(t, s, c)
	mustList(t, s, "3-0=older", "3-1=", "4-0=new")
	mustReplace(t, s, 3, 1, "", 2)
	mustList(t, s, "4-0=new")
	mustReplace(t, s, 9, 0, "", 1)
	mustList(t, s)
	if items, err = s.Since(t.Context(), ann, "ab", 0, 0, 9); err != nil || places(items) != "2-0=other" {
		t.Fatalf("another list: %s, %v", places(items), err)
	}
}

func checkLongList(t *testing.T, s persistence.Store) {
	const commits, each = 6, 300
	bob := persistence.Entity{Kind: "user", ID: "bob"}
	for v := range uint64(commits) {
		for _, e := range []persistence.Entity{ann, bob} {
			c := step(e, v)
			for range each {
				c.Lists = append(c.Lists, persistence.ListItem{List: "a", Data: make([]byte, 40)})
			}
			mustCommit(t, s, c)
		}
	}
	var down, up []persistence.ListItem
	for cursor, more := "", true; more; more = cursor != "" {
		items, next, err := s.Page(t.Context(), ann, "a", cursor, 7)
		check(t, err)
		down, cursor = append(down, items...), next
	}
	for last := (persistence.ListItem{}); ; {
		items, err := s.Since(t.Context(), ann, "a", last.Version, last.Index, 7)
		check(t, err)
		if len(items) == 0 {
			break
		}
		up, last = append(up, items...), items[len(items)-1]
	}
	if len(down) != commits*each || len(up) != len(down) {
		t.Fatalf("%d items down, %d up, want %d", len(down), len(up), commits*each)
	}
	for i := range up {
		if d := down[len(down)-1-i]; d.Version != up[i].Version || d.Index != up[i].Index || int(d.Index) != i%each {
			t.Fatalf("item %d: %d-%d up, %d-%d down", i, up[i].Version, up[i].Index, d.Version, d.Index)
		}
	}
}

func checkListNames(t *testing.T, s persistence.Store) {
	for _, id := range []string{"1", "10", "1/a", "11"} {
		e := persistence.Entity{Kind: "user", ID: id}
		fill(t, s, e)
		c := step(e, 3)
		for _, list := range []string{"b", "a/", "aa", "A"} {
			c.Lists = append(c.Lists, persistence.ListItem{List: list, Data: []byte(id + list)})
		}
		mustCommit(t, s, c)
	}
	for _, id := range []string{"1", "10", "1/a", "11"} {
		e := persistence.Entity{Kind: "user", ID: id}
		for list, want := range map[string]string{
			"a": "3-1= 3-0=s 2-1=r 2-0=q 1-0=p", "ab": "2-0=other", "b": "4-0=" + id + "b",
			"a/": "4-0=" + id + "a/", "aa": "4-0=" + id + "aa", "A": "4-0=" + id + "A", "x": "",
		} {
			items, next, err := s.Page(t.Context(), e, list, "", 100)
			check(t, err)
			if got := places(items); got != want || next != "" {
				t.Errorf("list %s of %s: %s and %q, want %s", list, e, got, next, want)
			}
			items, err = s.Since(t.Context(), e, list, 0, 0, 100)
			check(t, err)
			if len(items) != strings.Count(want, "=") {
				t.Errorf("list %s of %s since the beginning: %s", list, e, places(items))
			}
		}
	}
}

func checkCursor(t *testing.T, s persistence.Store) {
	fill(t, s, ann)
	for _, cursor := range []string{"x", "1", "1-", "-1", "1-x", "99999999999999999999-0"} {
		if items, _, err := s.Page(t.Context(), ann, "a", cursor, 10); err == nil {
			t.Errorf("cursor %q: %s", cursor, places(items))
		}
	}
}
