package boltstore

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

var ann = persistence.Entity{Kind: "user", ID: "ann"}

// openTest opens a store that the test closes.
func openTest(t *testing.T, options Options) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "store.db"), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// commitTo commits one event and waits.
func commitTo(t *testing.T, s *Store, e persistence.Entity, expect uint64, change func(*persistence.Commit)) error {
	t.Helper()
	c := &persistence.Commit{Entity: e, Expect: expect, ID: "c" + string(rune('a'+expect)), Events: []byte("e")}
	if change != nil {
		change(c)
	}
	done := make(chan error, 1)
	s.Commit(c, func(err error) { done <- err })
	return <-done
}

// damage changes the file below a running store, as its writer would.
func damage(t *testing.T, s *Store, do func(*bbolt.Tx) error) {
	t.Helper()
	if err := s.db.Update(do); err != nil {
		t.Fatal(err)
	}
}

func TestLoadFindsDamage(t *testing.T) {
	t.Parallel()
	journalKey := func(version uint64) []byte { return appendJournal(appendEntity(nil, ann), version) }
	for name, do := range map[string]func(*bbolt.Tx) error{
		"a gap":                func(tx *bbolt.Tx) error { return tx.Bucket(bucketEntities).Delete(journalKey(4)) },
		"the first is missing": func(tx *bbolt.Tx) error { return tx.Bucket(bucketEntities).Delete(journalKey(3)) },
		"the last is missing":  func(tx *bbolt.Tx) error { return tx.Bucket(bucketEntities).Delete(journalKey(5)) },
		"one too many":         func(tx *bbolt.Tx) error { return tx.Bucket(bucketEntities).Put(journalKey(6), []byte("e")) },
		"a key too long":       func(tx *bbolt.Tx) error { return tx.Bucket(bucketEntities).Put(append(journalKey(5), 1), []byte("e")) },
		"no state":             func(tx *bbolt.Tx) error { return tx.Bucket(bucketEntities).Delete(appendState(appendEntity(nil, ann))) },
		"a state of garbage": func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketEntities).Put(appendState(appendEntity(nil, ann)), []byte{0xff})
		},
		"a snapshot is missing": func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketSnapshots).Delete(appendNumber(appendEntity(nil, ann), 2))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openTest(t, Options{})
			for v := range uint64(5) {
				err := commitTo(t, s, ann, v, func(c *persistence.Commit) {
					if v == 1 {
						c.Snapshot = []byte("s")
					}
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			damage(t, s, do)
			if l, err := s.Load(t.Context(), ann); !errors.Is(err, persistence.ErrCorrupt) {
				t.Fatalf("load: %+v, %v", l, err)
			}
		})
	}
}

func TestDamageOfOneIsNotTheOthers(t *testing.T) {
	t.Parallel()
	s := openTest(t, Options{})
	bob := persistence.Entity{Kind: "user", ID: "bob"}
	now := time.Unix(1000, 0)
	wake := func(c *persistence.Commit) { c.Wake = now }
	if err := errors.Join(commitTo(t, s, ann, 0, wake), commitTo(t, s, bob, 0, wake)); err != nil {
		t.Fatal(err)
	}
	damage(t, s, func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketEntities).Put(appendState(appendEntity(nil, ann)), []byte{0xff})
	})
	if err := commitTo(t, s, ann, 1, nil); !errors.Is(err, persistence.ErrCorrupt) {
		t.Errorf("commit to what is damaged: %v", err)
	}
	// The damaged entity is handed out once, so that its owner finds out.
	for i, want := range []int{2, 1} {
		due, err := s.Due(t.Context(), now, 10, 0)
		if err != nil || len(due) != want {
			t.Errorf("due at try %d: %v, %v", i, due, err)
		}
	}
	if err := commitTo(t, s, bob, 1, nil); err != nil {
		t.Error(err)
	}
}

// TestDamagedSectors writes garbage over sectors of a file: it opens, or is
// refused with a sentence that says what to do. Nothing ends the process.
func TestDamagedSectors(t *testing.T) {
	t.Parallel()
	s := openTest(t, Options{})
	for i := range 300 {
		e := persistence.Entity{Kind: "user", ID: strconv.Itoa(i)}
		if err := commitTo(t, s, e, 0, func(c *persistence.Commit) {
			c.Events = bytes.Repeat([]byte{byte(i)}, 20+i)
			c.Out = []persistence.Message{{Topic: "t", Payload: c.Events}}
		}); err != nil {
			t.Fatal(err)
		}
	}
	path := s.db.Path()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	refused := 0
	for n := range 400 {
		damaged := bytes.Clone(whole)
		at := random.IntN(len(damaged)/512) * 512
		for i := range 512 {
			damaged[at+i] = byte(random.IntN(256) * (n % 2)) // or zeros
		}
		path := filepath.Join(filepath.Dir(path), strconv.Itoa(n)) // one that bbolt gave up on stays locked
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path, Options{})
		if err != nil {
			refused++
			if !errors.Is(err, persistence.ErrCorrupt) {
				t.Errorf("seed %d, sector %d: %v", seed, at/512, err)
			}
			continue
		}
		if err := s.Close(); err != nil {
			t.Errorf("seed %d, sector %d: %v", seed, at/512, err)
		}
	}
	if refused == 0 {
		t.Error("no damage was noticed")
	}
	t.Logf("%d of 400 were refused", refused)
}

func TestReadFindsDamage(t *testing.T) {
	t.Parallel()
	s := openTest(t, Options{})
	if err := s.Append(t.Context(), []persistence.Message{{Topic: "t", UUID: "u"}}); err != nil {
		t.Fatal(err)
	}
	damage(t, s, func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketTopics).Bucket([]byte("t")).Put(appendNumber(nil, 1), []byte{200})
	})
	if ms, err := s.Read(t.Context(), "t", "", 10); !errors.Is(err, persistence.ErrCorrupt) {
		t.Fatalf("read: %+v, %v", ms, err)
	}
}

func TestStamp(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		at   time.Time
		want uint64
	}{
		{time.Time{}, 0},
		{time.Unix(-5, 0), 1},
		{time.Unix(0, 0), 1},
		{time.Unix(0, 7), 7},
		{time.Unix(3, 4), 3_000_000_004},
		{time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC), math.MaxInt64},
	} {
		if got := stamp(c.at); got != c.want {
			t.Errorf("stamp of %s: %d, want %d", c.at, got, c.want)
		}
	}
}
