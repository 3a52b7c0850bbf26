package boltstore_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/threefoldtech/cloud-marketplace/persistence/boltstore"
	"github.com/threefoldtech/cloud-marketplace/persistence/storetest"
)

// fullDisk is set in the process that has no room for its file: the file.
const fullDisk = "BOLTSTORE_FULL_DISK"

// TestDiskFull takes the room for the file away under load, and gives it back.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), fullDisk+"="+filepath.Join(t.TempDir(), "store.db"))
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// commitWithoutRoom lets a file grow to a limit only, three times, each further
// than the last. What was acknowledged must be there, and once.
func commitWithoutRoom(path string) error {
	signal.Ignore(syscall.SIGXFSZ) // a write beyond the limit then fails, as on a full disk
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		return err
	}
	w := storetest.NewWorkload(50)
	for round := range 3 {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if err := limitFiles(uint64(info.Size()) + 64<<10); err != nil {
			return err
		}
		again := w.Again.Load()
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		w.Run(ctx, s)
		cancel()
		if w.Again.Load() == again {
			return fmt.Errorf("no commit met a full disk in round %d", round)
		}
		if err := limitFiles(math.MaxInt64); err != nil {
			return err
		}
		w.Finish(context.Background(), s)
	}
	if w.Lost.Load()+w.Replaced.Load() > 0 {
		return fmt.Errorf("%d owners were told of a loss, %d of another owner", w.Lost.Load(), w.Replaced.Load())
	}
	if err := errors.Join(w.Verify(context.Background(), s, false), s.Close()); err != nil {
		return err
	}
	again, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		return err
	}
	return errors.Join(w.Verify(context.Background(), again, false), again.Close())
}

// limitFiles says how large files may become.
func limitFiles(size uint64) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	limit.Cur = min(size, limit.Max)
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)
}
