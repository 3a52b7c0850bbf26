package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/boltstore"
)

// sample is a commit as the server made it: the sizes are its own.
type sample struct{ event, snapshot, item []byte }

const snapshotEvery = 100

// sampleCommit takes a commit from the data that the server left, of the first
// user whose journal still holds one.
func sampleCommit(ctx context.Context, file string, users int) (s sample, err error) {
	store, err := boltstore.Open(file, boltstore.Options{})
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	for user := range users {
		who := persistence.Entity{Kind: "user", ID: userName(user)}
		l, err := store.Load(ctx, who)
		if err != nil {
			return s, err
		}
		items, _, err := store.Page(ctx, who, "transactions", "", 1)
		if err != nil {
			return s, err
		}
		if len(l.Tail) == 0 || len(items) == 0 {
			continue // its only snapshot is its last commit
		}
		s.item = items[0].Data
		if n := len(l.Snapshots); n > 0 {
			s.snapshot = l.Snapshots[n-1].Data
		}
		// The smallest: with many in flight, one commit carries several commands.
		s.event = slices.MinFunc(l.Tail, func(a, b persistence.Record) int { return len(a.Events) - len(b.Events) }).Events
		return s, nil
	}
	return s, errors.New("the server left no commit in a journal")
}

// storeAlone measures the same commits without socket and actor: a closed loop
// with one commit in flight for each of n entities.
func storeAlone(ctx context.Context, file string, s sample, n int, length time.Duration) (f figures, err error) {
	store, err := boltstore.Open(file, boltstore.Options{})
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	var done atomic.Int64
	var over atomic.Bool
	var wait sync.WaitGroup
	for i := range n {
		wait.Add(1)
		e := persistence.Entity{Kind: "user", ID: userName(i)}
		var next func(version uint64)
		next = func(version uint64) {
			if over.Load() {
				wait.Done()
				return
			}
			c := &persistence.Commit{Entity: e, Expect: version, ID: fmt.Sprintf("c%d", version), Events: s.event, Lists: []persistence.ListItem{{List: "transactions", Data: s.item}}}
			if version%snapshotEvery == snapshotEvery-1 {
				c.Snapshot = s.snapshot
			}
			store.Commit(c, func(err error) {
				if err != nil {
					over.Store(true)
				}
				done.Add(1)
				next(version + 1)
			})
		}
		next(0)
	}
	time.Sleep(length / 4)
	began, from := time.Now(), done.Load()
	time.Sleep(length)
	f.rate = float64(done.Load()-from) / time.Since(began).Seconds()
	if over.Swap(true) {
		err = errors.New("the store refused a commit")
	}
	wait.Wait()
	return f, err
}
