package boltstore

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// format is the version of everything this package writes. A change that an
// older program would misread raises it.
const format = 1

// lockWait is how long Open waits for another process to let go of the file.
const lockWait = time.Second

// The buckets of the file.
var (
	bucketMeta      = []byte("meta")      // what keyFormat and keyEpoch say
	bucketEntities  = []byte("entities")  // state records, journals, lists
	bucketSnapshots = []byte("snapshots") // entity and version → state
	bucketWakes     = []byte("wakes")     // time and entity → nothing
	bucketTopics    = []byte("topics")    // a bucket per topic: number → message
	bucketGroups    = []byte("groups")    // topic and group → number
	bucketHalted    = []byte("halted")    // entity → why
	bucketKeys      = []byte("keys")      // entity → wrapped data key
)

var (
	keyFormat = []byte("format")
	keyEpoch  = []byte("epoch")
)

// openFile opens the database, and makes it if there is none. It returns it with
// its epoch.
func openFile(path string) (*bbolt.DB, string, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := makeFile(path); err != nil {
			return nil, "", err
		}
	}
	if err := errors.Join(inspect(path), syncFolder(filepath.Dir(path))); err != nil {
		return nil, "", err
	}
	return openMade(path)
}

// makeFile puts an empty store in place, whole or not at all: bbolt makes a file
// where it is, and power that fails meanwhile leaves one that nobody can open.
func makeFile(path string) error {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }() // and lets others in
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock the folder: %w", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err // another process was first
	}
	anew := path + ".new"
	if _, err := os.Stat(anew); err == nil { // left by one that died
		if err := os.Remove(anew); err != nil {
			return err
		}
	}
	db, _, err := openMade(anew)
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	if err := os.Rename(anew, path); err != nil {
		return err
	}
	return folder.Sync()
}

// openBolt opens a database. What bbolt finds wrong by a panic is an error: an
// operator reads it, and knows what to do.
func openBolt(path string) (db *bbolt.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", persistence.ErrCorrupt, r)
		}
	}()
	return bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:        lockWait,
		FreelistType:   bbolt.FreelistMapType,
		NoFreelistSync: true,
	})
}

// openMade opens a database that was inspected, or that nobody else sees.
func openMade(path string) (*bbolt.DB, string, error) {
	db, err := openBolt(path)
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, "", persistence.ErrLocked
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return nil, "", fmt.Errorf("%w: %w", persistence.ErrCorrupt, err)
	case err != nil:
		return nil, "", err
	}
	epoch, err := prepare(db)
	if err != nil {
		return nil, "", errors.Join(err, db.Close())
	}
	return db, epoch, nil
}

// prepare makes a new file a store, or checks that it is one.
func prepare(db *bbolt.DB) (string, error) {
	var epoch string
	err := db.Update(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			epoch = rand.Text()
			return create(tx, epoch)
		}
		written, err := strconv.ParseUint(string(meta.Get(keyFormat)), 10, 32)
		if err != nil {
			return fmt.Errorf("read the format: %w: %w", persistence.ErrCorrupt, err)
		}
		if written > format {
			return fmt.Errorf("format %d, the program knows %d: %w", written, format, persistence.ErrTooNew)
		}
		epoch = string(meta.Get(keyEpoch))
		return complete(tx, epoch)
	})
	return epoch, err
}

// create lays out an empty store. A database that holds something else is left alone.
func create(tx *bbolt.Tx, epoch string) error {
	if first, _ := tx.Cursor().First(); first != nil {
		return fmt.Errorf("the file belongs to another program: %w", persistence.ErrCorrupt)
	}
	for _, name := range [][]byte{bucketMeta, bucketEntities, bucketSnapshots, bucketWakes, bucketTopics, bucketGroups, bucketHalted, bucketKeys} {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	meta := tx.Bucket(bucketMeta)
	return errors.Join(
		meta.Put(keyFormat, strconv.AppendUint(nil, format, 10)),
		meta.Put(keyEpoch, []byte(epoch)),
	)
}

// complete checks that nothing is missing of a store.
func complete(tx *bbolt.Tx, epoch string) error {
	if epoch == "" {
		return fmt.Errorf("the epoch is missing: %w", persistence.ErrCorrupt)
	}
	for _, name := range [][]byte{bucketEntities, bucketSnapshots, bucketWakes, bucketTopics, bucketGroups} {
		if tx.Bucket(name) == nil {
			return fmt.Errorf("the bucket %s is missing: %w", name, persistence.ErrCorrupt)
		}
	}
	for _, name := range [][]byte{bucketHalted, bucketKeys} { // the first files had none
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return nil
}

// syncFolder makes the file's own name durable. bbolt syncs only what is inside.
func syncFolder(path string) error {
	folder, err := os.Open(filepath.Clean(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
