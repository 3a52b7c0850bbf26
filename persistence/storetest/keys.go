package storetest

import (
	"fmt"
	"testing"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

func checkKeys(t *testing.T, s persistence.Store) {
	swap := func(e persistence.Entity, was, to, want string) {
		t.Helper()
		key := func(text string) []byte {
			if text == "" {
				return nil
			}
			return []byte(text)
		}
		now, err := s.SwapKey(t.Context(), e, key(was), key(to))
		check(t, err)
		l, err := s.Load(t.Context(), e)
		check(t, err)
		if string(now) != want || string(l.Key) != want || (want == "") != (l.Key == nil) {
			t.Fatalf("the key of %s is %q, loaded %q, not %q", e, now, l.Key, want)
		}
	}
	bob := persistence.Entity{Kind: "user", ID: "bob"}
	swap(ann, "", "one", "one") // also of an entity that never was
	swap(ann, "", "late", "one")
	mustCommit(t, s, step(ann, 0))
	swap(ann, "one", "two", "two")
	swap(ann, "one", "late", "two")
	swap(bob, "", "bob's", "bob's")
	swap(persistence.Entity{Kind: "deployment", ID: "d"}, "", "d's", "d's")
	var all []string
	for cursor, done := "", false; !done; done = cursor == "" {
		page, next, err := s.Keys(t.Context(), cursor, 2)
		check(t, err)
		for _, k := range page {
			all = append(all, k.Entity.String()+"="+string(k.Key))
		}
		cursor = next
	}
	if got := fmt.Sprint(all); got != "[deployment/d=d's user/ann=two user/bob=bob's]" {
		t.Fatalf("keys %s", got)
	}
	swap(ann, "two", "", "")
	swap(ann, "two", "late", "")
	if l, err := s.Load(t.Context(), ann); err != nil || l.Version != 1 {
		t.Fatalf("loaded %+v, %v", l, err)
	}
}
