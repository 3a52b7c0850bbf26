package boltstore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"

	backupv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/backup/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/codec"
)

// restoreBatch is how many parts Restore writes in one transaction.
const restoreBatch = 200

// Restore makes a store of the parts of a dump, with an epoch of its own, and
// puts it in a file, whole or not at all. It fails with ErrNotEmpty when the file
// is a store that holds something.
func Restore(path string, parts iter.Seq2[*backupv1.Part, error]) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("restore %s: %w", path, err)
		}
	}()
	release, err := vacant(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	anew := path + ".restore"
	if err := os.Remove(anew); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := restoreInto(anew, parts); err != nil {
		return errors.Join(err, os.Remove(anew))
	}
	if err := os.Rename(anew, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// vacant makes sure that a file is a store that holds nothing, and makes one if
// there is none: it is kept from others until it is released.
func vacant(path string) (release func() error, err error) {
	db, _, err := openFile(path)
	if err != nil {
		return nil, err
	}
	err = db.View(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketEntities, bucketTopics, bucketKeys, bucketHalted} {
			if k, _ := tx.Bucket(name).Cursor().First(); k != nil {
				return persistence.ErrNotEmpty
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db.Close, nil
}

// restoreInto makes a store in a new file.
func restoreInto(path string, parts iter.Seq2[*backupv1.Part, error]) (err error) {
	db, _, err := openFile(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Sync(), db.Close()) }()
	db.NoSync = true // the file counts only when it is whole
	next, stop := iter.Pull2(parts)
	defer stop()
	for more := true; more; {
		err := db.Update(func(tx *bbolt.Tx) error {
			for range restoreBatch {
				var p *backupv1.Part
				var err error
				if p, err, more = next(); !more {
					return nil
				}
				if err == nil {
					err = fill(tx, p)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// fill writes a part.
func fill(tx *bbolt.Tx, p *backupv1.Part) error {
	entities := tx.Bucket(bucketEntities)
	switch p := p.GetPart().(type) {
	case *backupv1.Part_State:
		return fillState(tx, p.State)
	case *backupv1.Part_Records:
		prefix := appendEntity(nil, persistence.Entity{Kind: p.Records.GetKind(), ID: p.Records.GetId()})
		for _, r := range codec.RecordsOf(p.Records) {
			if err := entities.Put(appendJournal(bytes.Clone(prefix), r.Version), r.Events); err != nil {
				return err
			}
		}
	case *backupv1.Part_Items:
		e := persistence.Entity{Kind: p.Items.GetKind(), ID: p.Items.GetId()}
		prefix := appendList(appendEntity(nil, e), p.Items.GetList())
		for _, i := range p.Items.GetItems() {
			if err := entities.Put(appendPlace(bytes.Clone(prefix), i.GetVersion(), i.GetIndex()), i.GetData()); err != nil {
				return err
			}
		}
	case *backupv1.Part_Wake:
		return fillWake(tx, p.Wake)
	case *backupv1.Part_Topic:
		b, err := tx.Bucket(bucketTopics).CreateBucketIfNotExists([]byte(p.Topic.GetName()))
		if err != nil {
			return err
		}
		return b.SetSequence(p.Topic.GetEnd())
	case *backupv1.Part_Messages:
		b, err := tx.Bucket(bucketTopics).CreateBucketIfNotExists([]byte(p.Messages.GetTopic()))
		if err != nil {
			return err
		}
		for _, m := range p.Messages.GetMessages() {
			if err := b.Put(appendNumber(nil, m.GetNumber()), m.GetEntry()); err != nil {
				return err
			}
		}
	case *backupv1.Part_Group:
		return tx.Bucket(bucketGroups).Put(member{p.Group.GetGroup(), p.Group.GetTopic()}.key(), appendNumber(nil, p.Group.GetAt()))
	}
	return nil
}

func fillState(tx *bbolt.Tx, p *backupv1.State) error {
	e := persistence.Entity{Kind: p.GetKind(), ID: p.GetId()}
	if err := e.Validate(); err != nil {
		return err
	}
	prefix := appendEntity(nil, e)
	if p.GetHalted() != "" {
		if err := tx.Bucket(bucketHalted).Put(prefix, []byte(p.GetHalted())); err != nil {
			return err
		}
	}
	if len(p.GetKey()) > 0 {
		if err := tx.Bucket(bucketKeys).Put(prefix, p.GetKey()); err != nil {
			return err
		}
	}
	if p.GetVersion() == 0 && p.GetCommitId() == "" {
		return nil
	}
	before, err := decodeState(tx.Bucket(bucketEntities).Get(appendState(bytes.Clone(prefix))))
	if err != nil {
		return err
	}
	s := state{version: p.GetVersion(), count: len(p.GetSnapshots()), wake: before.wake} // a wake-up may have come first
	if s.count > len(s.snapshots) {
		return fmt.Errorf("%s has %d snapshots: %w", e, s.count, persistence.ErrCorrupt)
	}
	for i, snap := range p.GetSnapshots() {
		s.snapshots[i] = snap.GetVersion()
		if err := tx.Bucket(bucketSnapshots).Put(appendNumber(bytes.Clone(prefix), snap.GetVersion()), snap.GetData()); err != nil {
			return err
		}
	}
	return tx.Bucket(bucketEntities).Put(appendState(prefix), s.appendRecord(nil, p.GetCommitId()))
}

// fillWake writes a wake-up into its index and into the entity's state record.
func fillWake(tx *bbolt.Tx, p *backupv1.Wake) error {
	prefix := appendEntity(nil, persistence.Entity{Kind: p.GetKind(), ID: p.GetId()})
	key := appendState(bytes.Clone(prefix))
	s, err := decodeState(tx.Bucket(bucketEntities).Get(key))
	if err != nil {
		return err
	}
	s.wake = stamp(codec.WakeOf(p))
	commit := string(s.commit)
	return errors.Join(
		tx.Bucket(bucketEntities).Put(key, s.appendRecord(nil, commit)),
		tx.Bucket(bucketWakes).Put(append(appendNumber(nil, s.wake), prefix...), nil),
	)
}
