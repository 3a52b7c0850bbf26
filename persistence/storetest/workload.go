package storetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// Workload is a crowd of owners that commit to their entities as fast as a store
// takes it, whatever happens to the store, and remember what it acknowledged.
type Workload struct {
	owners []*owner

	Acked    atomic.Uint64 // commits that were acknowledged
	Again    atomic.Uint64 // times that a commit was handed over again
	Lost     atomic.Uint64 // owners that were told that the store lost their commits
	Replaced atomic.Uint64 // owners that were told of another owner
}

// owner is whoever writes one entity.
type owner struct {
	entity persistence.Entity
	acked  uint64              // the version that was acknowledged
	open   *persistence.Commit // handed over, outcome not known
	ended  error               // why it had to stop
}

const (
	// workTopic and workList are where every commit of a workload leaves something.
	workTopic = "work"
	workList  = "work"
	// again is the pause before a commit is handed over again.
	again = 20 * time.Millisecond
)

// NewWorkload returns a workload of so many owners.
func NewWorkload(owners int) *Workload {
	w := &Workload{}
	for i := range owners {
		w.owners = append(w.owners, &owner{entity: persistence.Entity{Kind: "work", ID: strconv.Itoa(i)}})
	}
	return w
}

// Run commits until ctx ends; the last commit of an owner may then be open. A
// store that was closed meanwhile ends it too; it may go on with another.
func (w *Workload) Run(ctx context.Context, s persistence.Store) {
	var wait sync.WaitGroup
	for _, o := range w.owners {
		wait.Go(func() {
			for ctx.Err() == nil && w.step(ctx, s, o) {
			}
		})
	}
	wait.Wait()
}

// Step has every owner commit once.
func (w *Workload) Step(ctx context.Context, s persistence.Store) {
	for _, o := range w.owners {
		w.step(ctx, s, o)
	}
}

// Finish hands over what is open until its outcome is known.
func (w *Workload) Finish(ctx context.Context, s persistence.Store) {
	var wait sync.WaitGroup
	for _, o := range w.owners {
		wait.Go(func() {
			for ctx.Err() == nil && o.open != nil && w.step(ctx, s, o) {
			}
		})
	}
	wait.Wait()
}

// step hands one commit over; false means that there is no going on.
func (w *Workload) step(ctx context.Context, s persistence.Store, o *owner) bool {
	if o.ended != nil {
		return false
	}
	if o.open == nil {
		o.open = o.next()
	}
	result := make(chan error, 1)
	s.Commit(o.open, func(err error) { result <- err })
	switch err := <-result; {
	case err == nil:
		o.acked, o.open = o.acked+1, nil
		w.Acked.Add(1)
	case errors.Is(err, persistence.ErrUnknown), errors.Is(err, persistence.ErrOverloaded):
		w.Again.Add(1)
		select {
		case <-time.After(again): //nolint:forbidigo // A wait, not a reading of the clock.
		case <-ctx.Done():
		}
	case errors.Is(err, persistence.ErrClosed):
		return false
	case errors.Is(err, persistence.ErrLost):
		w.Lost.Add(1)
		o.ended = err
	default:
		w.Replaced.Add(1)
		o.ended = err
	}
	return o.ended == nil
}

// next is the commit after what was acknowledged.
func (o *owner) next() *persistence.Commit {
	v := o.acked + 1
	text := fmt.Appendf(nil, "%s at %d", o.entity, v)
	c := &persistence.Commit{
		Entity: o.entity, Expect: o.acked, ID: fmt.Sprintf("w%d", v), Events: text,
		Lists: []persistence.ListItem{{List: workList, Data: text}},
		Out:   []persistence.Message{{Topic: workTopic, Payload: text}},
	}
	if v%10 == 0 {
		c.Snapshot = text
	}
	if v%3 == 0 {
		c.Wake = noon.Add(time.Duration(v) * time.Second) //nolint:gosec // small
	}
	return c
}

// Verify compares what is stored with what was acknowledged: nothing of it may
// be missing, nothing there twice, and the parts of each commit must be there
// together. behind allows the store to have lost a tail, as from a torn log: then
// only the parts must agree.
func (w *Workload) Verify(ctx context.Context, s persistence.Store, behind bool) error {
	published, err := publishedBy(ctx, s)
	if err != nil {
		return err
	}
	var faults []error
	for _, o := range w.owners {
		if err := o.verify(ctx, s, published[o.entity], behind); err != nil {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// publishedBy reads the whole topic: the versions of each entity, in order.
func publishedBy(ctx context.Context, s persistence.Store) (map[persistence.Entity][]uint64, error) {
	end, err := s.End(ctx, workTopic)
	if err != nil {
		return nil, err
	}
	published := map[persistence.Entity][]uint64{}
	for at := persistence.Position(""); at != end; {
		ms, err := s.Read(ctx, workTopic, at, 1000)
		if err != nil {
			return nil, err
		}
		for _, m := range ms {
			published[m.Origin.Entity] = append(published[m.Origin.Entity], m.Origin.Version)
			at = m.Position
		}
	}
	return published, nil
}

func (o *owner) verify(ctx context.Context, s persistence.Store, published []uint64, behind bool) error {
	l, err := s.Load(ctx, o.entity)
	if err != nil {
		return err
	}
	most := o.acked
	if o.open != nil {
		most++
	}
	if l.Version > most || l.Version < o.acked && !behind {
		return fmt.Errorf("%s: version %d, acknowledged %d", o.entity, l.Version, o.acked)
	}
	for _, r := range l.Tail {
		if want := fmt.Sprintf("%s at %d", o.entity, r.Version); string(r.Events) != want {
			return fmt.Errorf("%s: events %q of version %d", o.entity, r.Events, r.Version)
		}
	}
	for _, snap := range l.Snapshots {
		if want := fmt.Sprintf("%s at %d", o.entity, snap.Version); string(snap.Data) != want || snap.Version%10 != 0 {
			return fmt.Errorf("%s: snapshot %q of version %d", o.entity, snap.Data, snap.Version)
		}
	}
	items, err := s.Since(ctx, o.entity, workList, 0, 0, 1<<30)
	if err != nil {
		return err
	}
	listed := make([]uint64, len(items))
	for i, item := range items {
		listed[i] = item.Version
	}
	return errors.Join(eachOnce(o.entity, "list", listed, l.Version), eachOnce(o.entity, "topic", published, l.Version))
}

// eachOnce checks that versions are 1 to last.
func eachOnce(e persistence.Entity, where string, versions []uint64, last uint64) error {
	for i, v := range versions {
		if v != uint64(i)+1 {
			return fmt.Errorf("%s: the %s has version %d in place %d", e, where, v, i+1)
		}
	}
	if uint64(len(versions)) != last {
		return fmt.Errorf("%s: the %s has %d of %d versions", e, where, len(versions), last)
	}
	return nil
}
