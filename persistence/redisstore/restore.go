package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	backupv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/backup/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/codec"
)

// restoreBatch is how many parts Restore writes at once.
const restoreBatch = 100

// Restore makes a store of the parts of a dump, with an epoch of its own. Until
// it is whole, Open refuses it, and another Restore begins anew. It fails with
// ErrNotEmpty when there is a store that holds something.
func Restore(ctx context.Context, options Options, parts iter.Seq2[*backupv1.Part, error]) error {
	s := newStore(options.withDefaults())
	defer func() {
		s.cancel()
		_ = s.closeClients()
	}()
	if err := s.restore(ctx, parts); err != nil {
		return fmt.Errorf("restore into the Redis at %s: %w", options.Redis.Addr, err)
	}
	return nil
}

func (s *Store) restore(ctx context.Context, parts iter.Seq2[*backupv1.Part, error]) error {
	if err := s.look(ctx); err != nil {
		return err
	}
	if err := s.clean(ctx); err != nil {
		return err
	}
	pipe, waiting := s.writes.TxPipeline(), 0
	for p, err := range parts {
		if err == nil {
			err = s.fill(ctx, pipe, p)
		}
		if err != nil {
			return err
		}
		if waiting++; waiting == restoreBatch {
			if _, err := pipe.Exec(ctx); err != nil {
				return err
			}
			pipe, waiting = s.writes.TxPipeline(), 0
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	mine, err := s.run(ctx, restoredScript, []string{s.keys.meta()}, s.restoring, rand.Text(), format).Bool()
	if err == nil && !mine {
		err = fmt.Errorf("another restore has begun meanwhile: %w", persistence.ErrLocked)
	}
	return err
}

// clean makes room: it refuses a store that holds something, and drops what an
// earlier attempt has left.
func (s *Store) clean(ctx context.Context) error {
	meta, err := s.reads.HGetAll(ctx, s.keys.meta()).Result()
	if err != nil {
		return explain(err)
	}
	var found []string
	all := s.reads.Scan(ctx, 0, escapeGlob(s.keys.of(""))+"*", 10_000).Iterator()
	for all.Next(ctx) {
		switch {
		case strings.HasPrefix(all.Val(), s.keys.lease("")): // it runs out when its holder is gone
			return persistence.ErrLocked
		case all.Val() == s.keys.meta():
		case meta["restoring"] == "":
			return persistence.ErrNotEmpty
		default:
			found = append(found, all.Val())
		}
	}
	if err := all.Err(); err != nil {
		return explain(err)
	}
	// Without an epoch nobody commits.
	pipe := s.writes.TxPipeline()
	pipe.HSet(ctx, s.keys.meta(), "restoring", s.restoring)
	pipe.HDel(ctx, s.keys.meta(), "epoch")
	if _, err := pipe.Exec(ctx); err != nil {
		return explain(err)
	}
	for len(found) > 0 {
		n := min(1000, len(found))
		if err := s.writes.Del(ctx, found[:n]...).Err(); err != nil {
			return explain(err)
		}
		found = found[n:]
	}
	return nil
}

// escapeGlob makes a text stand for itself in a pattern.
func escapeGlob(text string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`).Replace(text)
}

// fill writes a part.
func (s *Store) fill(ctx context.Context, pipe redis.Pipeliner, p *backupv1.Part) error {
	switch p := p.GetPart().(type) {
	case *backupv1.Part_State:
		return s.fillState(ctx, pipe, p.State)
	case *backupv1.Part_Records:
		e := persistence.Entity{Kind: p.Records.GetKind(), ID: p.Records.GetId()}
		for _, r := range codec.RecordsOf(p.Records) {
			pipe.XAdd(ctx, &redis.XAddArgs{Stream: s.keys.journal(e), ID: persistence.FormatCursor(r.Version, 0), Values: []any{"e", r.Events}})
		}
	case *backupv1.Part_Items:
		e := persistence.Entity{Kind: p.Items.GetKind(), ID: p.Items.GetId()}
		for _, i := range p.Items.GetItems() {
			// What stands for archived items may come after the others.
			pipe.Eval(ctx, fillItemText, []string{s.keys.list(e, p.Items.GetList()), s.keys.state(e)},
				persistence.FormatCursor(i.GetVersion(), i.GetIndex()), i.GetData(), archived(p.Items.GetList()))
		}
	case *backupv1.Part_Wake:
		e := persistence.Entity{Kind: p.Wake.GetKind(), ID: p.Wake.GetId()}
		pipe.ZAdd(ctx, s.keys.wakes(), redis.Z{Score: float64(p.Wake.GetTimeMs()), Member: name(e)})
	case *backupv1.Part_Topic:
		pipe.HSet(ctx, s.keys.ends(), p.Topic.GetName(), p.Topic.GetEnd())
	case *backupv1.Part_Messages:
		for _, m := range p.Messages.GetMessages() {
			pipe.XAdd(ctx, &redis.XAddArgs{Stream: s.keys.topic(p.Messages.GetTopic()), ID: persistence.FormatCursor(m.GetNumber(), 0), Values: []any{"m", m.GetEntry()}})
		}
	case *backupv1.Part_Group:
		pipe.HSet(ctx, s.keys.groups(), member(p.Group.GetGroup(), p.Group.GetTopic()), p.Group.GetAt())
	}
	return nil
}

func (s *Store) fillState(ctx context.Context, pipe redis.Pipeliner, p *backupv1.State) error {
	e := persistence.Entity{Kind: p.GetKind(), ID: p.GetId()}
	if err := e.Validate(); err != nil {
		return err
	}
	if len(p.GetSnapshots()) > 2 {
		return fmt.Errorf("%s has %d snapshots: %w", e, len(p.GetSnapshots()), persistence.ErrCorrupt)
	}
	var fields []any
	if p.GetVersion() > 0 || p.GetCommitId() != "" {
		fields = append(fields, "v", p.GetVersion(), "c", p.GetCommitId())
	}
	for i, snap := range p.GetSnapshots() {
		slot := strconv.Itoa(i)
		fields = append(fields, "v"+slot, snap.GetVersion(), "s"+slot, snap.GetData())
	}
	if p.GetVersion() > 0 {
		pipe.ZAdd(ctx, s.keys.ids(e.Kind), redis.Z{Member: e.ID})
	}
	if p.GetHalted() != "" {
		fields = append(fields, "h", p.GetHalted())
		pipe.ZAdd(ctx, s.keys.halted(), redis.Z{Member: name(e)})
	}
	if len(p.GetKey()) > 0 {
		fields = append(fields, "k", p.GetKey())
		pipe.ZAdd(ctx, s.keys.dataKeys(), redis.Z{Member: name(e)})
	}
	if len(fields) == 0 {
		return errors.New("a state of nothing")
	}
	pipe.HSet(ctx, s.keys.state(e), fields...)
	return nil
}
