package boltstore_test

import (
	"errors"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/bbolt"

	backupv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/backup/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/boltstore"
	"github.com/threefoldtech/cloud-marketplace/persistence/storetest"
)

// files remembers where the stores of a test lie.
type files struct{ paths sync.Map }

func (f *files) open(t *testing.T) persistence.Store {
	t.Helper()
	return f.openPath(t, filepath.Join(t.TempDir(), "store.db"))
}

func (f *files) openPath(t *testing.T, path string) persistence.Store {
	t.Helper()
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	f.paths.Store(s, path)
	return s
}

func (f *files) reopen(t *testing.T, s persistence.Store) persistence.Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path, _ := f.paths.Load(s)
	return f.openPath(t, path.(string))
}

func (f *files) restore(t *testing.T, parts iter.Seq2[*backupv1.Part, error]) persistence.Store {
	t.Helper()
	path := filepath.Join(t.TempDir(), "store.db")
	if err := boltstore.Restore(path, parts); err != nil {
		t.Fatal(err)
	}
	return f.openPath(t, path)
}

func TestStore(t *testing.T) {
	t.Parallel()
	var f files
	storetest.Run(t, f.open, f.restore, f.reopen)
}

func TestPubSub(t *testing.T) {
	t.Parallel()
	var f files
	storetest.RunPubSub(t, f.open)
}

func TestEveryStoreHasItsEpoch(t *testing.T) {
	t.Parallel()
	var f files
	if a, b := f.open(t).Epoch(), f.open(t).Epoch(); a == b {
		t.Fatalf("two stores of epoch %s", a)
	}
}

func TestFileHeldByAnother(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	var f files
	f.openPath(t, path)
	_, err := boltstore.Open(path, boltstore.Options{})
	if !errors.Is(err, persistence.ErrLocked) {
		t.Fatalf("open twice: %v", err)
	}
	if want := "open " + path + ": another process holds the store"; err.Error() != want {
		t.Fatalf("error %q, want %q", err, want)
	}
}

// edit changes a file behind the store's back.
func edit(t *testing.T, path string, change func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err == nil {
		err = errors.Join(db.Update(change), db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestFilesThatAreNoStore(t *testing.T) {
	t.Parallel()
	put := func(key, value string) func(*bbolt.Tx) error {
		return func(tx *bbolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte(key), []byte(value)) }
	}
	drop := func(bucket string) func(*bbolt.Tx) error {
		return func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte(bucket)) }
	}
	for name, c := range map[string]struct {
		change func(*bbolt.Tx) error
		want   error
	}{
		"a newer format":          {put("format", "2"), persistence.ErrTooNew},
		"a format that is none":   {put("format", "x"), persistence.ErrCorrupt},
		"no epoch":                {put("epoch", ""), persistence.ErrCorrupt},
		"a bucket is missing":     {drop("groups"), persistence.ErrCorrupt},
		"another program's":       {drop("meta"), persistence.ErrCorrupt},
		"nothing was done to it":  {func(*bbolt.Tx) error { return nil }, nil},
		"an older program's file": {put("format", "1"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "store.db")
			var f files
			if err := f.openPath(t, path).Close(); err != nil {
				t.Fatal(err)
			}
			edit(t, path, c.change)
			s, err := boltstore.Open(path, boltstore.Options{})
			if !errors.Is(err, c.want) {
				t.Fatalf("open: %v, want %v", err, c.want)
			}
			if err == nil {
				err = s.Close()
			}
			if c.want == nil && err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestFileOfGarbage(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("garbage ", 4096)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := boltstore.Open(path, boltstore.Options{}); !errors.Is(err, persistence.ErrCorrupt) {
		t.Fatalf("open: %v", err)
	}
}
