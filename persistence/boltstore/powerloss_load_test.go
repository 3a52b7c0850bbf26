package boltstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/boltstore"
)

// powerLoad is set in the process that is traced: its folder.
const powerLoad = "BOLTSTORE_POWER_LOAD"

const (
	powerStore = "store.db" // what is in the folder of the process that is traced
	powerNew   = ".new"     // behind its name while it is made
	powerAcks  = "acks"
	powerTrace = "trace"

	powerEntities = 50
	powerGroup    = "readers"
	powerTopic    = "news" // of all commits
	powerSide     = "side" // of some
	powerList     = "l"
)

// powerVersions is how far an entity goes. A few go far, so that the load is
// first wide and then narrow: transactions of many commits and of few.
func powerVersions(entity int) uint64 {
	if entity < 5 {
		return 70
	}
	return 16
}

// powerEntity names an entity.
func powerEntity(entity int) persistence.Entity {
	return persistence.Entity{Kind: "power", ID: strconv.Itoa(entity)}
}

// powerCommits are all commits, which are made once: they are looked at often.
var powerCommits = sync.OnceValue(func() [][]*persistence.Commit {
	all := make([][]*persistence.Commit, powerEntities)
	for entity := range all {
		for version := uint64(1); version <= powerVersions(entity); version++ {
			all[entity] = append(all[entity], newPowerCommit(entity, version))
		}
	}
	return all
})

// powerCommit is the commit that makes a version of an entity. Both the process
// that commits and the one that looks afterwards know it from here.
func powerCommit(entity int, version uint64) *persistence.Commit {
	return powerCommits()[entity][version-1]
}

// newPowerCommit makes a commit that has, by its version, some or all of what there is.
func newPowerCommit(entity int, version uint64) *persistence.Commit {
	e := powerEntity(entity)
	c := &persistence.Commit{
		Entity: e,
		Expect: version - 1,
		ID:     strconv.FormatUint(version, 10),
		Events: fmt.Appendf(nil, "%s at %d", e, version),
		Out:    []persistence.Message{{Topic: powerTopic, Payload: fmt.Appendf(nil, "%s is at %d", e, version)}},
	}
	for i := range version % 3 {
		c.Lists = append(c.Lists, persistence.ListItem{List: powerList, Data: fmt.Appendf(nil, "%d of %s at %d", i, e, version)})
	}
	if version%2 == 0 {
		c.Out = append(c.Out,
			persistence.Message{Topic: powerSide, Payload: fmt.Appendf(nil, "%s to the side at %d", e, version)},
			persistence.Message{Topic: powerTopic, Payload: fmt.Appendf(nil, "%s once more at %d", e, version)})
	}
	if version%3 != 0 {
		c.Wake = time.Unix(int64(1000+version), 0)
	}
	if version%10 == 0 {
		c.Snapshot = fmt.Appendf(nil, "state of %s at %d", e, version)
	}
	if version%20 == 7 { // More than a page holds.
		c.Events = append(c.Events, bytes.Repeat([]byte{'x'}, 9000)...)
	}
	return c
}

// commitForPower opens a new store in a folder and commits to all entities at once.
func commitForPower(folder string) error {
	s, err := boltstore.Open(filepath.Join(folder, powerStore), boltstore.Options{})
	if err != nil {
		return err
	}
	acks, err := os.Create(filepath.Join(folder, powerAcks))
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	var reader sync.WaitGroup
	reader.Go(func() { readForPower(ctx, s) })
	done := make(chan error)
	for entity := range powerEntities {
		go func() { done <- commitVersions(s, acks, entity) }()
	}
	for range powerEntities {
		err = errors.Join(err, <-done)
	}
	stop()
	reader.Wait()
	return errors.Join(err, s.Close(), acks.Close())
}

// commitVersions commits all versions of an entity and notes what is acknowledged.
func commitVersions(s *boltstore.Store, acks *os.File, entity int) error {
	done := make(chan error)
	for version := uint64(1); version <= powerVersions(entity); version++ {
		s.Commit(powerCommit(entity, version), func(err error) { done <- err })
		if err := <-done; err != nil {
			return err
		}
		if _, err := fmt.Fprintf(acks, "ack %d %d\n", entity, version); err != nil {
			return err
		}
	}
	return nil
}

// readForPower is a consumer group that reads what is published.
func readForPower(ctx context.Context, s *boltstore.Store) {
	var at persistence.Position
	for {
		ms, err := s.Read(ctx, powerTopic, at, 10)
		if err != nil {
			return
		}
		at = ms[len(ms)-1].Position
		if err := s.Advance(ctx, powerGroup, powerTopic, at); err != nil {
			return
		}
	}
}
