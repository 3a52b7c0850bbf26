package boltstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// compactBatch is how much Compact writes at once, in bytes.
const compactBatch = 4 << 20

// Compact writes a store anew, without what was deleted or replaced, and puts
// it in place of the old file, whole or not at all. Nobody may have it open;
// ErrLocked says that somebody has. It needs as much room again meanwhile.
func Compact(path string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("compact %s: %w", path, err)
		}
	}()
	from, _, err := openFile(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	anew := path + ".compact"
	if err := os.Remove(anew); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	to, err := bbolt.Open(anew, 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType, NoFreelistSync: true})
	if err != nil {
		return err
	}
	err = bbolt.Compact(to, from, compactBatch)
	if err = errors.Join(err, to.Close()); err != nil {
		return errors.Join(err, os.Remove(anew))
	}
	if err := os.Rename(anew, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}
