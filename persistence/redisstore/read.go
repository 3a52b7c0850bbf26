package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// Load returns what is stored of an entity, all of one moment.
func (s *Store) Load(ctx context.Context, e persistence.Entity) (persistence.Loaded, error) {
	l, err := s.load(ctx, e)
	if err != nil {
		return persistence.Loaded{}, fmt.Errorf("load %s: %w", e, err)
	}
	return l, nil
}

func (s *Store) load(ctx context.Context, e persistence.Entity) (persistence.Loaded, error) {
	var l persistence.Loaded
	if err := errors.Join(e.Validate(), s.open(ctx)); err != nil {
		return l, err
	}
	state, journal, err := s.readBoth(ctx, s.keys.state(e), s.keys.journal(e), "", "XRANGE", "-", "+")
	if err != nil {
		return l, err
	}
	l.Halted = state["h"]
	if k, has := state["k"]; has {
		l.Key = []byte(k)
	}
	err = readEntity(&l, state, journal)
	if l.Halted != "" {
		err = nil // whatever else is wrong with it
	}
	return l, err
}

// readBoth reads a state, or one field of it, and a stream, as of one moment.
func (s *Store) readBoth(ctx context.Context, state, stream, field string, command ...any) (map[string]string, []redis.XMessage, error) {
	both, err := s.run(ctx, readScript, []string{state, stream, s.keys.meta()}, append([]any{field}, command...)...).Slice()
	if err != nil {
		return nil, nil, s.wrap(err)
	}
	fields := map[string]string{}
	switch found := both[0].(type) {
	case string:
		fields[field] = found
	case []any:
		for i := 0; i+1 < len(found); i += 2 {
			key, _ := found[i].(string)
			fields[key], _ = found[i+1].(string)
		}
	}
	entries, err := entries(both[1])
	return fields, entries, err
}

// entries reads what a range of a stream answers, as a script hands it on.
func entries(answer any) ([]redis.XMessage, error) {
	list, ok := answer.([]any)
	if !ok && answer != nil { // nil: none was asked for
		return nil, fmt.Errorf("%v is no part of a stream: %w", answer, persistence.ErrCorrupt)
	}
	all := make([]redis.XMessage, len(list))
	for i, entry := range list {
		pair, ok := entry.([]any)
		if !ok || len(pair) != 2 {
			return nil, fmt.Errorf("%v is no entry of a stream: %w", entry, persistence.ErrCorrupt)
		}
		all[i].ID, _ = pair[0].(string)
		all[i].Values = map[string]any{}
		values, _ := pair[1].([]any)
		for j := 0; j+1 < len(values); j += 2 {
			key, _ := values[j].(string)
			all[i].Values[key] = values[j+1]
		}
	}
	return all, nil
}

// wrap names the reason why the store was not asked, if it was closed meanwhile.
func (s *Store) wrap(err error) error {
	switch {
	case errors.Is(err, redis.ErrClosed):
		return persistence.ErrClosed
	case err != nil && strings.HasPrefix(err.Error(), "NOSTORE"):
		return fmt.Errorf("%w: %w", persistence.ErrLost, err)
	}
	return err
}

// readEntity reads an entity and checks that what it finds fits together.
func readEntity(l *persistence.Loaded, state map[string]string, journal []redis.XMessage) error {
	err := readState(l, state)
	if err != nil {
		return err
	}
	after := uint64(0)
	if len(l.Snapshots) == 2 {
		after = l.Snapshots[0].Version
	}
	l.Tail, err = tail(journal, after, l.Version)
	return err
}

// readState reads the version and the snapshots, the older first.
func readState(l *persistence.Loaded, state map[string]string) error {
	var err error
	if l.Version, err = number(state["v"]); err != nil {
		return err
	}
	for _, slot := range []string{"0", "1"} {
		at, has := state["v"+slot]
		if !has {
			continue
		}
		version, err := number(at)
		data, kept := state["s"+slot]
		if err != nil || !kept || version > l.Version {
			return fmt.Errorf("the snapshot of version %q is missing: %w", at, persistence.ErrCorrupt)
		}
		l.Snapshots = append(l.Snapshots, persistence.Snapshot{Version: version, Data: []byte(data)})
	}
	slices.SortFunc(l.Snapshots, func(a, b persistence.Snapshot) int { return cmp.Compare(a.Version, b.Version) })
	return nil
}

// tail reads the journal after a version and checks that it is contiguous up to another.
func tail(journal []redis.XMessage, after, upTo uint64) ([]persistence.Record, error) {
	var records []persistence.Record
	last := after
	for _, m := range journal {
		version, _, err := place(m.ID)
		if err != nil {
			return nil, err
		}
		if version <= after {
			continue
		}
		events, has := m.Values["e"].(string)
		if version != last+1 || version > upTo || !has {
			return nil, fmt.Errorf("the journal goes from version %d to %d of %d: %w", last, version, upTo, persistence.ErrCorrupt)
		}
		last = version
		records = append(records, persistence.Record{Version: version, Events: []byte(events)})
	}
	if last != upTo {
		return nil, fmt.Errorf("the journal ends at version %d of %d: %w", last, upTo, persistence.ErrCorrupt)
	}
	return records, nil
}

// number reads a number that a script wrote; of nothing, 0.
func number(text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number: %w", text, persistence.ErrCorrupt)
	}
	return n, nil
}

// place reads the id of an entry of a stream.
func place(id string) (uint64, uint32, error) {
	version, index, err := persistence.ParseCursor(id)
	if err != nil {
		return 0, 0, fmt.Errorf("%q is not a place in a stream: %w", id, persistence.ErrCorrupt)
	}
	return version, index, nil
}

// Exists says whether an entity has ever committed an event.
func (s *Store) Exists(ctx context.Context, e persistence.Entity) (bool, error) {
	err := errors.Join(e.Validate(), s.open(ctx))
	var version string
	if err == nil {
		version, err = s.reads.HGet(ctx, s.keys.state(e), "v").Result()
	}
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", e, s.wrap(err))
	}
	return version != "0", nil
}

// Entities returns entities of a kind in the order of their ids.
func (s *Store) Entities(ctx context.Context, kind, cursor string, n int) ([]persistence.Ref, string, error) {
	refs, next, err := s.entities(ctx, kind, cursor, n)
	if err != nil {
		return nil, "", fmt.Errorf("list entities of kind %s: %w", kind, err)
	}
	return refs, next, nil
}

func (s *Store) entities(ctx context.Context, kind, cursor string, n int) ([]persistence.Ref, string, error) {
	ids, next, err := s.lexical(ctx, s.keys.ids(kind), cursor, n)
	if err != nil || len(ids) == 0 {
		return nil, "", err
	}
	pipe := s.reads.Pipeline()
	versions := make([]*redis.StringCmd, len(ids))
	for i, id := range ids {
		versions[i] = pipe.HGet(ctx, s.keys.state(persistence.Entity{Kind: kind, ID: id}), "v")
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, "", s.wrap(err)
	}
	refs := make([]persistence.Ref, len(ids))
	for i, id := range ids {
		version, err := number(versions[i].Val())
		if err != nil {
			return nil, "", err
		}
		refs[i] = persistence.Ref{Entity: persistence.Entity{Kind: kind, ID: id}, Version: version}
	}
	return refs, next, nil
}

// lexical returns up to n members of a set after a cursor, and the cursor of the
// next page, which is the last member of this one.
func (s *Store) lexical(ctx context.Context, key, cursor string, n int) ([]string, string, error) {
	if err := s.open(ctx); err != nil {
		return nil, "", err
	}
	from := "-"
	if cursor != "" {
		from = "(" + cursor
	}
	members, err := s.reads.ZRangeArgs(ctx, redis.ZRangeArgs{Key: key, Start: from, Stop: "+", ByLex: true, Count: int64(n) + 1}).Result()
	if err != nil {
		return nil, "", s.wrap(err)
	}
	if len(members) <= n {
		return members, "", nil
	}
	return members[:n], members[n-1], nil
}

// entitiesOf are the entities that a set names.
func entitiesOf(names []string) ([]persistence.Entity, error) {
	all := make([]persistence.Entity, len(names))
	for i, n := range names {
		var err error
		if all[i], err = parseName(n); err != nil {
			return nil, err
		}
	}
	return all, nil
}
