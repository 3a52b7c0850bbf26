// Package archive moves old items of lists out of a store and into files.
//
// What a list loses is in a file first, durable and read back. If it matters for
// ever, an item stays in the list that stands for what is gone: with its sum,
// the name of the file and a checksum. A process that dies in between leaves
// items in both, and another run moves them again.
package archive

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/backup"
	"github.com/threefoldtech/cloud-marketplace/persistence/codec"
)

// Rule says when items leave a list.
type Rule struct {
	Kind, List string
	Keep       int           // the newest items, which stay in any case
	Age        time.Duration // how old what leaves is at least
	// Stand makes the item that stands for others, which are in a file with a
	// checksum; nil: nothing does.
	Stand func(items []proto.Message, file, sum string) proto.Message
}

// Moved is what a run has done.
type Moved struct {
	File         string // empty: nothing was old enough
	Lists, Items int
}

// Run moves what the rules say into a new file of a folder.
func Run(ctx context.Context, store persistence.Store, rules []Rule, folder string, now time.Time) (Moved, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return Moved{}, err
	}
	name := filepath.Join(folder, "archive-"+now.UTC().Format("20060102T150405.000Z")+".backup")
	f, err := os.OpenFile(filepath.Clean(name+".part"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return Moved{}, err
	}
	r := &run{store: store, out: backup.NewWriter(f), file: filepath.Base(name), now: now}
	head := codec.Head(store.Epoch())
	head.GetHead().TimeMs = now.UnixMilli()
	err = r.out.Put(head)
	for _, rule := range rules {
		err = errors.Join(err, r.kind(ctx, rule))
	}
	err = errors.Join(err, r.out.Close(), f.Sync(), f.Close())
	if err != nil || len(r.plan) == 0 {
		return Moved{}, errors.Join(err, os.Remove(name+".part"))
	}
	if err := keep(name); err != nil {
		return Moved{}, err
	}
	moved := Moved{File: name}
	for _, s := range r.plan {
		n, err := store.Replace(ctx, s.entity, s.list, s.version, s.index, s.by)
		if err != nil {
			return moved, fmt.Errorf("%s has all of it, and lists still have some: %w", name, err)
		}
		moved.Lists, moved.Items = moved.Lists+1, moved.Items+n
	}
	return moved, nil
}

// keep reads a file back and gives it its name.
func keep(name string) error {
	f, err := os.Open(filepath.Clean(name + ".part"))
	if err != nil {
		return err
	}
	_, err = backup.Check(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("read back what was written: %w", err)
	}
	if err := os.Rename(name+".part", name); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// step is what is done to one list when the file is safe.
type step struct {
	entity  persistence.Entity
	list    string
	version uint64
	index   uint32
	by      []byte
}

// run is one pass over the store.
type run struct {
	store persistence.Store
	out   *backup.Writer
	file  string
	now   time.Time
	plan  []step
}

// page is how many entities or items are read at once.
const page = 500

// kind looks at the list of every entity of a kind.
func (r *run) kind(ctx context.Context, rule Rule) error {
	for cursor, done := "", false; !done; done = cursor == "" {
		refs, next, err := r.store.Entities(ctx, rule.Kind, cursor, page)
		if err != nil {
			return err
		}
		cursor = next
		for _, ref := range refs {
			if err := r.list(ctx, rule, ref.Entity); err != nil {
				return fmt.Errorf("list %s of %s: %w", rule.List, ref.Entity, err)
			}
		}
	}
	return nil
}

// list writes what is old in a list, and notes what is to be done to it.
func (r *run) list(ctx context.Context, rule Rule, e persistence.Entity) error {
	items, shown, err := r.old(ctx, rule, e)
	if err != nil || len(items) < 2 { // one may be what stands for others
		return err
	}
	for _, p := range codec.Items(e, rule.List, items) {
		if err := r.out.Put(p); err != nil {
			return err
		}
	}
	last := items[len(items)-1]
	s := step{entity: e, list: rule.List, version: last.Version, index: last.Index}
	if rule.Stand != nil {
		if s.by, err = proto.Marshal(rule.Stand(shown, r.file, Sum(items))); err != nil {
			return err
		}
	}
	r.plan = append(r.plan, s)
	return nil
}

// old reads the items of a list that may leave, oldest first, and what they show.
func (r *run) old(ctx context.Context, rule Rule, e persistence.Entity) ([]persistence.ListItem, []proto.Message, error) {
	_, cursor, err := r.store.Page(ctx, e, rule.List, "", rule.Keep)
	var items []persistence.ListItem
	var shown []proto.Message
	for err == nil && cursor != "" {
		var some []persistence.ListItem
		if some, cursor, err = r.store.Page(ctx, e, rule.List, cursor, page); err != nil {
			break
		}
		var decoded []proto.Message
		if decoded, err = entity.Items(e.Kind, rule.List, some); err != nil {
			break
		}
		for i, m := range decoded {
			if r.now.Sub(timeOf(m)) < rule.Age {
				items, shown = nil, nil // what is newer than a young item stays, whatever it says
				continue
			}
			items, shown = append(items, some[i]), append(shown, m)
		}
	}
	slices.Reverse(items)
	slices.Reverse(shown)
	return items, shown, err
}

// timeOf is when an item was written, by its own word.
func timeOf(m proto.Message) time.Time {
	timed, ok := m.(interface{ GetTime() *timestamppb.Timestamp })
	if !ok {
		return time.Time{}
	}
	return timed.GetTime().AsTime()
}

// Sum is the checksum of items in a file: the SHA-256, in hex, of the place of
// each, the length of its data, in 8, 4 and 8 bytes of big-endian, and its data.
func Sum(items []persistence.ListItem) string {
	h := sha256.New()
	for _, i := range items {
		b := binary.BigEndian.AppendUint64(nil, i.Version)
		b = binary.BigEndian.AppendUint32(b, i.Index)
		b = binary.BigEndian.AppendUint64(b, uint64(len(i.Data)))
		_, _ = h.Write(b) // never fails
		_, _ = h.Write(i.Data)
	}
	return hex.EncodeToString(h.Sum(nil))
}
