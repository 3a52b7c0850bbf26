package storetest

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	backupv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/backup/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// checkDump dumps a store with some of everything and holds a store made of the
// parts to what the first says.
func checkDump(t *testing.T, s persistence.Store, restore Restore) {
	entities := populate(t, s)
	var parts []*backupv1.Part
	check(t, s.Dump(t.Context(), func(p *backupv1.Part) error {
		parts = append(parts, p)
		return nil
	}))
	if head := parts[0].GetHead(); head.GetEpoch() != s.Epoch() || head.GetFormat() != 1 {
		t.Fatalf("the dump begins with %v", parts[0])
	}
	again := restore(t, func(yield func(*backupv1.Part, error) bool) {
		for _, p := range parts {
			if !yield(p, nil) {
				return
			}
		}
	})
	if again.Epoch() == s.Epoch() || again.Epoch() == "" {
		t.Errorf("the restored history is called %q, as before", again.Epoch())
	}
	want, got := describe(t, s, entities), describe(t, again, entities)
	for i := range want {
		if want[i] != got[i] {
			t.Errorf("restored:\n%s\nwant:\n%s", got[i], want[i])
		}
	}
	// The restored store goes on where the first was.
	mustCommit(t, again, step(ann, 11))                                     // its own earlier success
	mustCommit(t, again, step(ann, 12), wakeAt(step(entities[1], 1), noon)) // what comes next
	check(t, again.Append(t.Context(), []persistence.Message{out("t", "next")}))
	mustBeDue(t, again, noon, time.Hour, entities[1].ID)
}

// populate fills a store with some of everything.
func populate(t *testing.T, s persistence.Store) []persistence.Entity {
	odd := persistence.Entity{Kind: "us/er%2F", ID: "b/o:b%"}
	for v := range uint64(12) {
		c := step(ann, v)
		c.Lists = []persistence.ListItem{{List: "a", Data: []byte{byte(v)}}, {List: "a/b", Data: nil}, {List: "a", Data: []byte("x")}}
		c.Out = []persistence.Message{out("t", strconv.FormatUint(v, 10)), {Topic: "u:v", UUID: "id", Metadata: map[string]string{"k": "v"}}}
		if v%4 == 3 {
			c.Snapshot = []byte("s" + c.ID)
		}
		c.Wake = noon.Add(time.Duration(v) * time.Minute)
		mustCommit(t, s, c)
	}
	mustCommit(t, s, step(odd, 0))
	snapshot := persistence.Entity{Kind: "user", ID: "snapshot"}
	mustCommit(t, s, &persistence.Commit{Entity: snapshot, ID: "s", Snapshot: []byte("state")})
	never := persistence.Entity{Kind: "user", ID: "never"}
	check(t, s.Halt(t.Context(), odd, "odd"))
	check(t, s.Clear(t.Context(), odd))
	check(t, s.Halt(t.Context(), never, "why"))
	_, err := s.SwapKey(t.Context(), ann, nil, []byte{0, 1, 2})
	check(t, err)
	_, err = s.SwapKey(t.Context(), persistence.Entity{Kind: "user", ID: "key"}, nil, []byte("key"))
	check(t, err)
	_, err = s.Replace(t.Context(), ann, "a", 3, 0, []byte("archived"))
	check(t, err)
	check(t, s.Advance(t.Context(), "g", "t", "5"))
	check(t, s.Advance(t.Context(), "h", "u:v", ""))
	_, err = s.Trim(t.Context(), "t", "4")
	check(t, err)
	return []persistence.Entity{ann, odd, snapshot, never, {Kind: "user", ID: "key"}}
}

// describe tells everything that a store says, in lines.
func describe(t *testing.T, s persistence.Store, entities []persistence.Entity) []string {
	var lines []string
	line := func(what string, args ...any) { lines = append(lines, fmt.Sprintf(what+": %q", args...)) }
	for _, e := range entities {
		l, err := s.Load(t.Context(), e)
		check(t, err)
		lines = append(lines, fmt.Sprintf("%s at %d: %v %v %q %q", e, l.Version, l.Snapshots, l.Tail, l.Halted, l.Key))
		for _, list := range []string{"a", "a/b"} {
			items, err := s.Since(t.Context(), e, list, 0, 0, 100)
			check(t, err)
			line(e.String()+" "+list, places(items))
		}
	}
	for _, kind := range []string{"user", "us/er%2F"} {
		refs, _, err := s.Entities(t.Context(), kind, "", 100)
		check(t, err)
		lines = append(lines, fmt.Sprintf("of kind %s: %v", kind, refs))
	}
	topics, err := s.Topics(t.Context())
	check(t, err)
	line("topics", topics)
	for _, topic := range topics {
		end, err := s.End(t.Context(), topic)
		check(t, err)
		groups, err := s.Groups(t.Context(), topic)
		check(t, err)
		ms, err := s.Read(t.Context(), topic, "", 100)
		check(t, err)
		lines = append(lines, fmt.Sprintf("%s ends at %s, %v: %+v", topic, end, groups, ms))
	}
	halted, err := s.HaltedEntities(t.Context())
	check(t, err)
	keys, _, err := s.Keys(t.Context(), "", 100)
	check(t, err)
	line("halted", halted)
	line("keys", keys)
	due, err := s.Due(t.Context(), noon.AddDate(1, 0, 0), 100, time.Hour)
	check(t, err)
	line("due", due)
	return lines
}
