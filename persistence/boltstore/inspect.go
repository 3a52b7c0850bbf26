package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// bbolt's file format, version 2: https://pkg.go.dev/go.etcd.io/bbolt, in the
// byte order of the machine, which is little-endian wherever we run.
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	pageHeader    = 16 // id 8, flags 2, count 2, overflow 4
	elementSize   = 16 // of a branch: position 4, key 4, page 8; of a leaf: flags 4, position 4, key 4, value 4
	metaChecked   = 56 // bytes of a meta page that its checksum covers
	bucketHeader  = 16 // root page 8, sequence 8; a bucket with root 0 lies within its value
	flagBranch    = 1
	flagLeaf      = 2
	elementBucket = 1
)

// inspect walks through all pages that count before bbolt does: what bbolt finds
// wrong with a file ends the process. A file that is not there is fine.
func inspect(path string) error {
	f, err := os.Open(filepath.Clean(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := share(f); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() == 0 { // no store of ours was ever so
		return fmt.Errorf("the file is empty: %w", persistence.ErrCorrupt)
	}
	w := walker{file: f, size: uint64(info.Size()), seen: map[uint64]bool{0: true, 1: true}} //nolint:gosec // sizes are not negative
	if w.newestMeta() {
		err = w.page(w.root, nil, nil, 0)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", persistence.ErrCorrupt, err)
	}
	return nil
}

// share keeps other processes from writing while a file is open; ErrLocked says
// that one is writing.
func share(f *os.File) error {
	for tries := 0; ; tries++ {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return fmt.Errorf("lock the file: %w", err)
		case tries == lockTries:
			return persistence.ErrLocked
		}
		time.Sleep(lockWait / lockTries) //nolint:forbidigo // as bbolt waits for its lock
	}
}

// lockTries is how often a lock is asked for.
const lockTries = 20

// walker goes from the root to every page that counts.
type walker struct {
	file  io.ReaderAt
	size  uint64
	bytes uint64 // of a page
	root  uint64
	end   uint64 // the first page that is not in use
	seen  map[uint64]bool
}

// newestMeta finds the page that says which others count; without one the file
// is bbolt's to refuse.
func (w *walker) newestMeta() bool {
	newest := uint64(0)
	found := false
	at := uint64(0)
	for range 2 {
		b := make([]byte, pageHeader+metaChecked+8)
		if _, err := w.file.ReadAt(b, int64(at)); err != nil {
			break
		}
		m := b[pageHeader:]
		sum := fnv.New64a()
		_, _ = sum.Write(m[:metaChecked])
		sound := binary.LittleEndian.Uint32(m) == boltMagic && binary.LittleEndian.Uint32(m[4:]) == boltVersion && sum.Sum64() == binary.LittleEndian.Uint64(m[metaChecked:])
		if number := binary.LittleEndian.Uint64(m[48:]); sound && (!found || number > newest) {
			found, newest = true, number
			w.bytes = uint64(binary.LittleEndian.Uint32(m[8:]))
			w.root, w.end = binary.LittleEndian.Uint64(m[16:]), binary.LittleEndian.Uint64(m[40:])
		}
		if at = w.bytes; at == 0 {
			at = uint64(os.Getpagesize()) //nolint:gosec // it is not negative
		}
	}
	return found && w.bytes >= pageHeader
}

// page reads a page and all below it. Its keys are from low on and below high; nil
// is no bound.
func (w *walker) page(id uint64, low, high []byte, depth int) error {
	b, err := w.read(id)
	if err != nil {
		return err
	}
	if depth > 64 {
		return fmt.Errorf("page %d lies too deep", id)
	}
	return w.elements(id, b, low, high, depth)
}

// read reads a page with what flows over from it.
func (w *walker) read(id uint64) ([]byte, error) {
	head := make([]byte, pageHeader)
	if id >= w.end || (id+1)*w.bytes > w.size {
		return nil, fmt.Errorf("page %d is not in the file", id)
	}
	if _, err := w.file.ReadAt(head, int64(id*w.bytes)); err != nil { //nolint:gosec // within the file
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	over := uint64(binary.LittleEndian.Uint32(head[12:]))
	if own := binary.LittleEndian.Uint64(head); own != id || (id+over+1)*w.bytes > w.size {
		return nil, fmt.Errorf("page %d says that it is page %d and %d more", id, own, over)
	}
	for p := id; p <= id+over; p++ {
		if w.seen[p] {
			return nil, fmt.Errorf("page %d belongs to two", p)
		}
		w.seen[p] = true
	}
	b := make([]byte, (over+1)*w.bytes)
	if _, err := w.file.ReadAt(b, int64(id*w.bytes)); err != nil { //nolint:gosec // within the file
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	return b, nil
}

// elements reads what a page lists.
func (w *walker) elements(id uint64, b, low, high []byte, depth int) error {
	flags, count := binary.LittleEndian.Uint16(b[8:]), uint64(binary.LittleEndian.Uint16(b[10:]))
	if pageHeader+count*elementSize > uint64(len(b)) || flags != flagBranch && flags != flagLeaf || flags == flagBranch && count == 0 {
		return fmt.Errorf("page %d has %d elements and flags %x", id, count, flags)
	}
	keys, err := pageKeys(id, b, flags, count)
	if err != nil {
		return err
	}
	if err := inOrder(id, keys, low, high); err != nil {
		return err
	}
	for i, key := range keys {
		e := b[pageHeader+i*elementSize:]
		if flags == flagBranch {
			next := high
			if i+1 < len(keys) {
				next = keys[i+1]
			}
			if err := w.page(binary.LittleEndian.Uint64(e[8:]), key, next, depth+1); err != nil {
				return err
			}
			continue
		}
		from := uint64(pageHeader+i*elementSize) + uint64(binary.LittleEndian.Uint32(e[4:])) + uint64(len(key))
		to := from + uint64(binary.LittleEndian.Uint32(e[12:]))
		if to > uint64(len(b)) {
			return fmt.Errorf("page %d: element %d ends outside", id, i)
		}
		if binary.LittleEndian.Uint32(e)&elementBucket != 0 {
			if err := w.bucket(id, b[from:to], depth); err != nil {
				return err
			}
		}
	}
	return nil
}

// pageKeys are the keys of a page.
func pageKeys(id uint64, b []byte, flags uint16, count uint64) ([][]byte, error) {
	keys := make([][]byte, count)
	for i := range count {
		at := pageHeader + i*elementSize
		place, size := b[at:], b[at+4:]
		if flags == flagLeaf {
			place, size = b[at+4:], b[at+8:]
		}
		from := at + uint64(binary.LittleEndian.Uint32(place))
		to := from + uint64(binary.LittleEndian.Uint32(size))
		if to > uint64(len(b)) {
			return nil, fmt.Errorf("page %d: key %d ends outside", id, i)
		}
		keys[i] = b[from:to]
	}
	return keys, nil
}

// inOrder checks that keys rise, from low on and below high.
func inOrder(id uint64, keys [][]byte, low, high []byte) error {
	for i, key := range keys {
		if i == 0 && low != nil && bytes.Compare(key, low) < 0 || i > 0 && bytes.Compare(key, keys[i-1]) <= 0 || high != nil && bytes.Compare(key, high) >= 0 {
			return fmt.Errorf("page %d: key %d is not in order", id, i)
		}
	}
	return nil
}

// bucket reads the pages of a bucket within a value.
func (w *walker) bucket(id uint64, value []byte, depth int) error {
	if len(value) < bucketHeader {
		return fmt.Errorf("page %d holds a bucket of %d bytes", id, len(value))
	}
	if root := binary.LittleEndian.Uint64(value); root != 0 {
		return w.page(root, nil, nil, depth+1)
	}
	if len(value) < bucketHeader+pageHeader {
		return fmt.Errorf("page %d holds a bucket of %d bytes", id, len(value))
	}
	return w.elements(id, value[bucketHeader:], nil, nil, depth+1)
}
