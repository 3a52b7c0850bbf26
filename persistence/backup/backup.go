// Package backup is the file that a backup lies in: every part of a store's
// dump, compressed, with a checksum over all of it at the end. Any store can be
// made of it again.
//
// A file that was cut short, or changed, is found out when it is read to its
// end; until then nothing of it may be believed.
package backup

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"time"

	"google.golang.org/protobuf/encoding/protodelim"

	backupv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/backup/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/codec"
)

// ErrDamaged says that a backup is not what was written, or not all of it.
var ErrDamaged = errors.New("the backup is damaged")

// maxPart is the longest part that is read, in bytes.
const maxPart = 256 << 20

// Write writes a backup of a store, which may go on working meanwhile.
func Write(ctx context.Context, w io.Writer, store persistence.Store, now time.Time) error {
	to := NewWriter(w)
	err := store.Dump(ctx, func(p *backupv1.Part) error {
		if head := p.GetHead(); head != nil {
			head.TimeMs = now.UnixMilli()
		}
		return to.Put(p)
	})
	if err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	return to.Close()
}

// Writer writes parts, of which the first must be a head.
type Writer struct {
	zip   *gzip.Writer
	sum   hash.Hash
	to    io.Writer
	parts uint64
}

// NewWriter returns a writer to w, which stays the caller's to close.
func NewWriter(w io.Writer) *Writer {
	zip, sum := gzip.NewWriter(w), sha256.New()
	return &Writer{zip: zip, sum: sum, to: io.MultiWriter(zip, sum)}
}

// Put writes a part.
func (w *Writer) Put(p *backupv1.Part) error {
	w.parts++
	if _, err := protodelim.MarshalTo(w.to, p); err != nil {
		return fmt.Errorf("write part %d: %w", w.parts, err)
	}
	return nil
}

// Close writes the tail. Without it nothing of the file is believed.
func (w *Writer) Close() error {
	tail := &backupv1.Tail{Parts: w.parts, Sha256: w.sum.Sum(nil)}
	_, err := protodelim.MarshalTo(w.zip, &backupv1.Part{Part: &backupv1.Part_Tail{Tail: tail}})
	if err := errors.Join(err, w.zip.Close()); err != nil {
		return fmt.Errorf("write the end of the backup: %w", err)
	}
	return nil
}

// Read goes through the parts of a backup, its head first. The last error is
// ErrDamaged unless the tail came and agrees with what came before.
func Read(r io.Reader) iter.Seq2[*backupv1.Part, error] {
	return func(yield func(*backupv1.Part, error) bool) {
		zip, err := gzip.NewReader(r)
		if err != nil {
			yield(nil, fmt.Errorf("%w: %w", ErrDamaged, err))
			return
		}
		b := &reader{from: summing{bufio.NewReaderSize(zip, 1<<20), sha256.New()}}
		for {
			p, err := b.next()
			if p == nil && err == nil {
				return
			}
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}

// summing sums up what is read from it.
type summing struct {
	from *bufio.Reader
	sum  hash.Hash
}

// Read reads and sums up.
func (s summing) Read(b []byte) (int, error) {
	n, err := s.from.Read(b)
	_, _ = s.sum.Write(b[:n]) // never fails
	return n, err
}

// ReadByte reads and sums up a byte.
func (s summing) ReadByte() (byte, error) {
	b, err := s.from.ReadByte()
	if err == nil {
		_, _ = s.sum.Write([]byte{b}) // never fails
	}
	return b, err
}

// reader reads parts.
type reader struct {
	from  summing
	parts uint64
}

// next returns the next part; nil at the end.
func (b *reader) next() (*backupv1.Part, error) {
	p, sum := &backupv1.Part{}, b.from.sum.Sum(nil)
	if err := (protodelim.UnmarshalOptions{MaxSize: maxPart}).UnmarshalFrom(b.from, p); err != nil {
		return nil, fmt.Errorf("%w: it ends after %d parts without its tail: %w", ErrDamaged, b.parts, err)
	}
	if tail := p.GetTail(); tail != nil {
		if tail.GetParts() != b.parts || !bytes.Equal(tail.GetSha256(), sum) {
			return nil, fmt.Errorf("%w: its checksum is not that of its content", ErrDamaged)
		}
		return nil, nil
	}
	if (b.parts == 0) != (p.GetHead() != nil) {
		return nil, fmt.Errorf("%w: it does not begin with its head", ErrDamaged)
	}
	if format := p.GetHead().GetFormat(); format > codec.BackupFormat {
		return nil, fmt.Errorf("format %d, the program knows %d: %w", format, codec.BackupFormat, persistence.ErrTooNew)
	}
	if p.GetPart() == nil {
		return nil, fmt.Errorf("part %d is of a kind that this program does not know: %w", b.parts, persistence.ErrTooNew)
	}
	b.parts++
	return p, nil
}

// Check reads a whole backup and returns its head.
func Check(r io.Reader) (*backupv1.Head, error) {
	var head *backupv1.Head
	for p, err := range Read(r) {
		if err != nil {
			return nil, err
		}
		if h := p.GetHead(); h != nil {
			head = h
		}
	}
	return head, nil
}
