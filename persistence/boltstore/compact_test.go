package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// TestCompact leaves everything but what was deleted, and that nowhere in the file.
func TestCompact(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s, err := Open(path, Options{Gather: -1})
	if err != nil {
		t.Fatal(err)
	}
	who := persistence.Entity{Kind: "user", ID: "ann"}
	for n := range uint64(300) {
		c := &persistence.Commit{
			Entity: who, Expect: n, ID: strconv.FormatUint(n, 10), Events: bytes.Repeat([]byte{'x'}, 500), Lists: []persistence.ListItem{{List: "l", Data: []byte("item")}},
			Out: []persistence.Message{{Topic: "t", Payload: []byte("news")}},
		}
		if n%10 == 9 {
			c.Snapshot = []byte("state")
		}
		done := make(chan error, 1)
		s.Commit(c, func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	key := []byte("a wrapped key that is to be forgotten")
	for _, swap := range [][2][]byte{{nil, key}, {key, nil}} {
		if _, err := s.SwapKey(t.Context(), who, swap[0], swap[1]); err != nil {
			t.Fatal(err)
		}
	}
	before, err := s.Load(t.Context(), who)
	if err != nil {
		t.Fatal(err)
	}
	epoch := s.Epoch()
	if err := Compact(path); !errors.Is(err, persistence.ErrLocked) {
		t.Errorf("a store that is open: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	large, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(large, key) {
		t.Fatal("the deleted key was overwritten already: this proves nothing")
	}
	if err := Compact(path); err != nil {
		t.Fatal(err)
	}
	small, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(small, key) {
		t.Error("the deleted key is still in the file")
	}
	if s, err = Open(path, Options{Gather: -1}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	after, err := s.Load(t.Context(), who)
	if err != nil || s.Epoch() != epoch || fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("loaded %v in epoch %s, was %v in %s: %v", after, s.Epoch(), before, epoch, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.Append(ctx, []persistence.Message{{Topic: "t", Payload: []byte("later"), UUID: "u"}}); err != nil {
		t.Fatal(err)
	}
	end, err := s.End(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	ms, err := s.Read(ctx, "t", "", 1000)
	if err != nil || len(ms) != 301 || ms[300].Position != end || string(ms[300].Payload) != "later" {
		t.Errorf("%d messages up to %s: %v", len(ms), end, err)
	}
}

// TestClearGivenUp renames the history also when nobody waits for the answer.
func TestClearGivenUp(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "store.db"), Options{Gather: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	who := persistence.Entity{Kind: "user", ID: "ann"}
	if err := s.Halt(t.Context(), who, "odd"); err != nil {
		t.Fatal(err)
	}
	epoch := s.Epoch()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := s.Clear(ctx, who); err == nil {
		t.Skip("the store was faster than the one who gave up")
	}
	for deadline := time.Now().Add(10 * time.Second); s.Epoch() == epoch; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the mark is gone, and the history has its old name")
		}
	}
}
