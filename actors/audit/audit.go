// Package audit says what is wrong with a store: what contradicts itself in one
// entity, and what entities say of each other that cannot both be so.
//
// Books compares states, and is for those who have them: the simulation asks it
// all the time. Verify reads a whole store, and is for operators.
package audit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/actors/inbox"
	backupv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/backup/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// Report is what an audit has seen and found.
type Report struct {
	Entities, Records, Snapshots, Items, Messages, Wakes int
	// Halted are the entities that wait for a person, with the reason.
	Halted []string
	// Faults are what is wrong, each in a sentence that names where.
	Faults []string
}

// fault notes what is wrong.
func (r *Report) fault(format string, args ...any) {
	r.Faults = append(r.Faults, fmt.Sprintf(format, args...))
}

// Verify reads everything of a store that nobody works on meanwhile. An error
// says that it could not be read to the end.
func Verify(ctx context.Context, store persistence.Store, kinds []*entity.Kind) (*Report, error) {
	a := &audit{
		store: store, report: &Report{}, kinds: map[string]*entity.Kind{}, versions: map[persistence.Entity]uint64{},
		wakes: map[persistence.Entity]bool{}, lists: map[persistence.Entity]map[string]bool{}, states: States{},
	}
	for _, k := range kinds {
		a.kinds[k.Name] = k
	}
	if err := a.survey(ctx); err != nil {
		return nil, err
	}
	for _, e := range slices.SortedFunc(maps.Keys(a.versions), persistence.Entity.Compare) {
		if err := a.entity(ctx, e); err != nil {
			return nil, err
		}
	}
	if err := a.topics(ctx); err != nil {
		return nil, err
	}
	a.report.Faults = append(a.report.Faults, Books(a.states)...)
	return a.report, nil
}

// audit is one reading.
type audit struct {
	store    persistence.Store
	kinds    map[string]*entity.Kind
	report   *Report
	versions map[persistence.Entity]uint64
	wakes    map[persistence.Entity]bool
	lists    map[persistence.Entity]map[string]bool
	states   States
}

// survey finds out what there is.
func (a *audit) survey(ctx context.Context) error {
	return a.store.Dump(ctx, func(p *backupv1.Part) error {
		switch p := p.GetPart().(type) {
		case *backupv1.Part_State:
			a.versions[persistence.Entity{Kind: p.State.GetKind(), ID: p.State.GetId()}] = p.State.GetVersion()
		case *backupv1.Part_Wake:
			a.report.Wakes++
			a.wakes[persistence.Entity{Kind: p.Wake.GetKind(), ID: p.Wake.GetId()}] = true
		case *backupv1.Part_Items:
			e := persistence.Entity{Kind: p.Items.GetKind(), ID: p.Items.GetId()}
			if a.lists[e] == nil {
				a.lists[e] = map[string]bool{}
			}
			a.lists[e][p.Items.GetList()] = true
		}
		return nil
	})
}

// entity reads one entity. What is wrong with it is no error.
func (a *audit) entity(ctx context.Context, e persistence.Entity) error {
	l, err := a.store.Load(ctx, e)
	if errors.Is(err, persistence.ErrCorrupt) {
		a.report.fault("%v", err)
		return nil
	}
	if err != nil {
		return err
	}
	a.report.Entities++
	a.report.Records += len(l.Tail)
	a.report.Snapshots += len(l.Snapshots)
	if l.Halted != "" {
		a.report.Halted = append(a.report.Halted, fmt.Sprintf("%s is halted: %s", e, l.Halted))
		return nil
	}
	if e.Kind == inbox.PoisonKind {
		if err := inbox.CheckMark(e.ID, l); err != nil {
			a.report.fault("%s: %v", e, err)
		}
		return nil
	}
	k := a.kinds[e.Kind]
	if k == nil {
		a.report.fault("%s is of a kind that this program does not know", e)
		return nil
	}
	if l.Version == 0 {
		return nil // a key that nobody came to use
	}
	seen, err := entity.Inspect(k, e.ID, l)
	if err != nil {
		a.report.fault("%s: %v", e, err)
		return nil
	}
	if seen.Damage != nil {
		a.report.fault("%s: %v", e, seen.Damage)
	}
	if seen.Wakes && !a.wakes[e] {
		a.report.fault("%s must be woken, and has no wake-up", e)
	}
	a.states.add(e, seen.State)
	return a.listsOf(ctx, e, l.Version, seen.State)
}

// listsOf reads the lists of an entity.
func (a *audit) listsOf(ctx context.Context, e persistence.Entity, version uint64, state proto.Message) error {
	lists := maps.Clone(a.lists[e])
	if lists == nil {
		lists = map[string]bool{}
	}
	for _, list := range expected(state) {
		lists[list] = true // also when it has gone
	}
	for _, list := range slices.Sorted(maps.Keys(lists)) {
		items, err := a.items(ctx, e, list)
		if err != nil {
			return err
		}
		a.report.Items += len(items)
		if n := len(items); n > 0 && items[n-1].Version > version {
			a.report.fault("%s: list %s has an item of version %d, the entity is at %d", e, list, items[n-1].Version, version)
		}
		decoded, err := entity.Items(e.Kind, list, items)
		if err != nil {
			a.report.fault("%s: %v", e, err)
			continue
		}
		for _, fault := range listFaults(list, decoded, state) {
			a.report.fault("%s: list %s: %s", e, list, fault)
		}
	}
	return nil
}

// page is how many items or messages are read at once.
const page = 1000

// items reads a whole list, oldest first.
func (a *audit) items(ctx context.Context, e persistence.Entity, list string) ([]persistence.ListItem, error) {
	var all []persistence.ListItem
	version, index := uint64(0), uint32(0)
	for {
		items, err := a.store.Since(ctx, e, list, version, index, page)
		if err != nil || len(items) == 0 {
			return all, err
		}
		all = append(all, items...)
		version, index = items[len(items)-1].Version, items[len(items)-1].Index
	}
}

// topics reads every message that is left, and where groups stand.
func (a *audit) topics(ctx context.Context) error {
	topics, err := a.store.Topics(ctx)
	if err != nil {
		return err
	}
	for _, topic := range topics {
		end, err := a.store.End(ctx, topic)
		if err != nil {
			return err
		}
		last, err := end.Number()
		if err != nil {
			return err
		}
		first, err := a.topic(ctx, topic, last)
		if err != nil {
			return err
		}
		groups, err := a.store.Groups(ctx, topic)
		if err != nil {
			return err
		}
		for _, g := range groups {
			switch at, err := g.At.Number(); {
			case err != nil || at > last:
				a.report.fault("topic %s ends at %d, and group %s stands at %s", topic, last, g.Name, g.At)
			case at > 0 && at+1 < first:
				a.report.fault("topic %s begins at %d, and group %s has read up to %d", topic, first, g.Name, at)
			}
		}
	}
	return nil
}

// topic reads the messages of a topic, which ends at a number, and returns that
// of the first; of none, the one after the end. It may have been trimmed: to its
// very end, if a read finds nothing at once.
func (a *audit) topic(ctx context.Context, topic string, last uint64) (first uint64, err error) {
	first = last + 1
	for at := uint64(0); at < last; {
		limited, cancel := context.WithTimeout(ctx, readWithin)
		ms, err := a.store.Read(limited, topic, persistence.FormatPosition(at), page)
		cancel()
		switch {
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			if at > 0 {
				a.report.fault("topic %s ends at %d, and its last message is %d", topic, last, at)
			}
			return first, nil
		case errors.Is(err, persistence.ErrCorrupt):
			a.report.fault("topic %s after %d: %v", topic, at, err)
			return first, nil
		case err != nil:
			return 0, err
		}
		for i := range ms {
			at = a.message(topic, &ms[i], at)
			first = min(first, at)
		}
	}
	return first, nil
}

// message looks at one message, and returns its number.
func (a *audit) message(topic string, m *persistence.Message, after uint64) uint64 {
	a.report.Messages++
	number, err := m.Position.Number()
	if err != nil || after > 0 && number != after+1 {
		a.report.fault("topic %s goes from %d to %s", topic, after, m.Position)
	}
	if o := m.Origin; o.Version > 0 && o.Version > a.versions[o.Entity] {
		a.report.fault("topic %s: message %d is of version %d of %s, which is at %d", topic, number, o.Version, o.Entity, a.versions[o.Entity])
	}
	return number
}
