package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/configs"
	"github.com/threefoldtech/cloud-marketplace/internal/keyring"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/memstore"
)

// TestOpenRing makes a key for a sandbox once, and takes nothing for a key that is none.
func TestOpenRing(t *testing.T) {
	c := configs.Default()
	c.Data = t.TempDir()
	first, err := openRing(c)
	if err != nil {
		t.Fatal(err)
	}
	again, err := openRing(c)
	if err != nil || !again.Current(first.Wrap("x", keyring.NewKey())) {
		t.Errorf("the second time another key is used: %v", err)
	}
	if info, err := os.Stat(filepath.Join(c.Data, keyFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key may be read by others: %v, %v", info.Mode(), err)
	}
	bad := filepath.Join(c.Data, "bad")
	for _, text := range []string{"", "c2hvcnQ=", "!"} {
		if err := os.WriteFile(bad, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c.Sealing.PreviousFiles = []string{bad}
		if _, err := openRing(c); err == nil || !strings.Contains(err.Error(), "does not hold a key: 32 bytes in base64") {
			t.Errorf("%q is taken for a key: %v", text, err)
		}
	}
	c.Sealing.KeyFile = filepath.Join(c.Data, "nowhere")
	if _, err := openRing(c); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a key file that is missing: %v", err)
	}
}

// keysOf stores a data key for each entity, and a deployment's owner.
func keysOf(t *testing.T, ring *keyring.Ring, owners map[persistence.Entity]string) *memstore.Store {
	t.Helper()
	s := memstore.New(memstore.Options{})
	t.Cleanup(func() { _ = s.Close() })
	for e, owner := range owners {
		if _, err := s.SwapKey(t.Context(), e, nil, ring.Wrap(e.String(), keyring.NewKey())); err != nil {
			t.Fatal(err)
		}
		state, err := proto.Marshal(&journalv1.DeploymentState{UserId: owner})
		if err != nil {
			t.Fatal(err)
		}
		snapshot, err := proto.Marshal(&journalv1.Snapshot{State: state})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		s.Commit(&persistence.Commit{Entity: e, ID: "c", Snapshot: snapshot}, func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// TestRekey makes the earlier key superfluous, names what neither opens, and
// changes nothing the second time.
func TestRekey(t *testing.T) {
	one, two := keyring.NewKey(), keyring.NewKey()
	before, err := keyring.New(one)
	if err != nil {
		t.Fatal(err)
	}
	both, err := keyring.New(two, one)
	if err != nil {
		t.Fatal(err)
	}
	after, err := keyring.New(two)
	if err != nil {
		t.Fatal(err)
	}
	ann, bob := persistence.Entity{Kind: "user", ID: "ann"}, persistence.Entity{Kind: "user", ID: "bob"}
	s := keysOf(t, before, map[persistence.Entity]string{ann: "", bob: ""})
	if _, err := s.SwapKey(t.Context(), persistence.Entity{Kind: "user", ID: "odd"}, nil, []byte("not a key at all")); err != nil {
		t.Fatal(err)
	}
	for n, want := range []int{2, 0} {
		changed, all, err := rekey(t.Context(), s, both)
		if changed != want || all != 3 || err == nil || !strings.Contains(err.Error(), "user/odd: ") || strings.Contains(err.Error(), "ann") {
			t.Errorf("time %d: %d of %d, %v", n+1, changed, all, err)
		}
	}
	for _, e := range []persistence.Entity{ann, bob} {
		l, err := s.Load(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := after.Unwrap(e.String(), l.Key); err != nil {
			t.Errorf("%s: %v", e, err)
		}
	}
}

// TestForget deletes the keys of one account and of its deployments, and no other's.
func TestForget(t *testing.T) {
	ring, err := keyring.New(keyring.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	s := keysOf(t, ring, map[persistence.Entity]string{
		{Kind: "user", ID: "ann"}: "", {Kind: "user", ID: "bob"}: "", {Kind: "node", ID: "ann"}: "",
		{Kind: "deployment", ID: "a"}: "ann", {Kind: "deployment", ID: "b"}: "bob", {Kind: "deployment", ID: "c"}: "ann",
	})
	for _, want := range []int{3, 0} {
		if deleted, err := forget(t.Context(), s, "ann"); deleted != want || err != nil {
			t.Errorf("%d keys were deleted, not %d: %v", deleted, want, err)
		}
	}
	left, _, err := s.Keys(t.Context(), "", 100)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, k := range left {
		names = append(names, k.Entity.String())
	}
	if got := strings.Join(names, " "); got != "deployment/b node/ann user/bob" {
		t.Errorf("left are the keys of %s", got)
	}
}

// TestForgetSaysWhatItCannotTell names a deployment whose owner cannot be read,
// and does not pass over it.
func TestForgetSaysWhatItCannotTell(t *testing.T) {
	ring, err := keyring.New(keyring.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	s := memstore.New(memstore.Options{})
	t.Cleanup(func() { _ = s.Close() })
	lost := persistence.Entity{Kind: "deployment", ID: "lost"}
	if _, err := s.SwapKey(t.Context(), lost, nil, ring.Wrap(lost.String(), keyring.NewKey())); err != nil {
		t.Fatal(err)
	}
	if err := s.Halt(t.Context(), lost, "its record cannot be read"); err != nil {
		t.Fatal(err)
	}
	if deleted, err := forget(t.Context(), s, "ann"); deleted != 0 || err == nil || !strings.Contains(err.Error(), "deployment/lost: whose it is cannot be read: its record") {
		t.Errorf("%d keys were deleted: %v", deleted, err)
	}
}
