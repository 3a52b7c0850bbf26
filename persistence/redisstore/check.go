package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// ErrUnfit says that a Redis is set up so that it would lose what it keeps.
var ErrUnfit = errors.New("this Redis cannot keep a marketplace")

// errLoading says that the server is still reading its log.
var errLoading = errors.New("it is loading its data")

// format is the version of everything this package writes. A change that an
// older program would misread raises it.
const format = 1

const (
	// askAgain is how long Open leaves a server alone that is not ready.
	askAgain = 200 * time.Millisecond
	// lookEvery is how often the keeper looks at the server.
	lookEvery = time.Second
	// lookWithin is how long a look may take before the store counts as out of reach.
	lookWithin = 3 * time.Second
)

// prepare waits for the server, checks it and makes it a store.
func (s *Store) prepare(ctx context.Context) error {
	said := ""
	for {
		err := s.look(ctx)
		if err == nil {
			return s.adopt(ctx)
		}
		if !passes(err) {
			return err
		}
		if text := err.Error(); text != said {
			s.options.Log.WarnContext(ctx, "waiting for Redis", slog.String("address", s.options.Redis.Addr), slog.Any("error", err))
			said = text
		}
		if !clock.Pause(ctx, askAgain) {
			return errors.Join(err, ctx.Err())
		}
	}
}

// passes says whether waiting may help: the server is starting, or not there yet.
func passes(err error) bool {
	var said redis.Error
	return !errors.Is(err, ErrUnfit) && (!errors.As(err, &said) || strings.HasPrefix(said.Error(), "LOADING"))
}

// look checks whether the server can be relied on.
func (s *Store) look(ctx context.Context) error {
	text, err := s.reads.Info(ctx, "persistence", "memory", "replication").Result()
	if err != nil {
		return explain(err)
	}
	info := parseInfo(text)
	policy := info["maxmemory_policy"]
	switch {
	case info["loading"] == "1":
		return errLoading
	case info["role"] == "slave":
		return fmt.Errorf("it is a replica and takes no writes; name the primary: %w", ErrUnfit)
	case policy != "noeviction":
		return fmt.Errorf("its maxmemory-policy is %s, by which it drops entities when memory is short; set it to noeviction: %w", policy, ErrUnfit)
	case info["aof_enabled"] != "1":
		return fmt.Errorf("its appendonly is off, so that everything since the last snapshot is gone when it stops; set it to yes: %w", ErrUnfit)
	case info["aof_last_write_status"] == "err":
		return fmt.Errorf("it cannot write its log: the disk is full or broken: %w", ErrUnfit)
	}
	return s.lookAtSync(ctx)
}

// lookAtSync checks when the server syncs its log. A server that does not tell
// must be vouched for with AcceptLoss.
func (s *Store) lookAtSync(ctx context.Context) error {
	if s.options.AcceptLoss {
		return nil
	}
	settings, err := s.reads.ConfigGet(ctx, "appendfsync").Result()
	var said redis.Error
	switch {
	case err != nil && !errors.As(err, &said):
		return err
	case err != nil || settings["appendfsync"] == "":
		return fmt.Errorf("it does not tell its appendfsync (allow CONFIG GET, or set store.redis.accept_loss): %w", ErrUnfit)
	case settings["appendfsync"] != "always":
		return fmt.Errorf("its appendfsync is %s, so that a power failure takes acknowledged commits with it; set it to always, or set store.redis.accept_loss to live with that: %w",
			settings["appendfsync"], ErrUnfit)
	}
	return nil
}

// explain puts what a server refuses into a sentence.
func explain(err error) error {
	var said redis.Error
	if !errors.As(err, &said) {
		return fmt.Errorf("it does not answer: %w", err)
	}
	switch word, _, _ := strings.Cut(said.Error(), " "); word {
	case "WRONGPASS":
		return fmt.Errorf("it refuses the user or the password: %w: %w", ErrUnfit, err)
	case "NOAUTH":
		return fmt.Errorf("it wants a password: %w: %w", ErrUnfit, err)
	case "NOPERM":
		return fmt.Errorf("the user may not do what a store needs: %w: %w", ErrUnfit, err)
	}
	if isRefusal(said.Error()) || strings.HasPrefix(said.Error(), "EXECABORT") { // a full one refuses what is in MULTI
		return fmt.Errorf("it takes no writes: %w: %w", ErrUnfit, err)
	}
	return err
}

// parseInfo reads the lines of INFO.
func parseInfo(text string) map[string]string {
	info := map[string]string{}
	for line := range strings.Lines(text) {
		if key, value, found := strings.Cut(strings.TrimSpace(line), ":"); found {
			info[key] = value
		}
	}
	return info
}

// adopt makes an empty server a store, or checks that it is one.
func (s *Store) adopt(ctx context.Context) error {
	written, err := s.reads.HMGet(ctx, s.keys.meta(), "format", "epoch", "restoring", "beat").Result()
	if err != nil {
		return explain(err)
	}
	if written[2] != nil {
		return fmt.Errorf("a backup was restored in part only; restore it again: %w", persistence.ErrCorrupt)
	}
	if written[0] == nil && s.options.Existing {
		return fmt.Errorf("there is no store under the tag %s: %w", s.options.Tag, ErrUnfit)
	}
	if written[0] == nil && written[3] == nil {
		return s.create(ctx)
	}
	if written[0] == nil { // a server went on while everything was lost
		return fmt.Errorf("it has lost what it kept; restore a backup: %w", persistence.ErrLost)
	}
	text, _ := written[0].(string)
	known, err := strconv.ParseUint(text, 10, 32)
	switch epoch, _ := written[1].(string); {
	case err != nil, epoch == "":
		return fmt.Errorf("%s does not name a format and an epoch: %w", s.keys.meta(), persistence.ErrCorrupt)
	case known > format:
		return fmt.Errorf("format %d, the program knows %d: %w", known, format, persistence.ErrTooNew)
	default:
		s.epoch.Store(epoch)
	}
	return s.begin(ctx)
}

// create makes a store, unless there is data without a head: what is left of
// another must not be mistaken for nothing.
func (s *Store) create(ctx context.Context) error {
	all := s.reads.Scan(ctx, 0, escapeGlob(s.keys.of(""))+"*", 10_000).Iterator()
	for all.Next(ctx) {
		if all.Val() != s.keys.meta() { // which another process may have made just now
			return fmt.Errorf("%s is missing, though there is %s: restore a backup, or name another tag: %w", s.keys.meta(), all.Val(), persistence.ErrCorrupt)
		}
	}
	if err := all.Err(); err != nil {
		return explain(err)
	}
	// Of two processes that come at once, one makes it; one that dies makes all of it or nothing.
	pipe := s.writes.TxPipeline()
	pipe.HSetNX(ctx, s.keys.meta(), "epoch", rand.Text())
	pipe.HSetNX(ctx, s.keys.meta(), "format", format)
	if _, err := pipe.Exec(ctx); err != nil {
		return explain(err)
	}
	epoch, err := s.reads.HGet(ctx, s.keys.meta(), "epoch").Result()
	if err != nil {
		return explain(err)
	}
	s.epoch.Store(epoch)
	return s.begin(ctx)
}

// begin sees whether the server takes what a store writes.
func (s *Store) begin(ctx context.Context) error {
	if err := s.beat(ctx); err != nil {
		return err
	}
	return s.rehearse(ctx)
}

// rehearse makes a commit of everything, in the way of all others, and takes it
// back: a user who may do only some of it would leave commits half-written.
func (s *Store) rehearse(ctx context.Context) error {
	e := persistence.Entity{Kind: "$rehearsal", ID: rand.Text()}
	c := &persistence.Commit{
		Entity: e, ID: "rehearsal", Events: []byte{0}, Snapshot: []byte{0}, Wake: time.Unix(1, 0),
		Lists: []persistence.ListItem{{List: "l"}}, Out: []persistence.Message{{Topic: e.Kind}},
	}
	k, a := s.arguments(c)
	pipe := s.writes.TxPipeline()
	said := pipe.Eval(ctx, commitText, k, a...)
	pipe.Del(ctx, s.keys.state(e), s.keys.journal(e), s.keys.ids(e.Kind), s.keys.list(e, "l"), s.keys.topic(e.Kind))
	pipe.ZRem(ctx, s.keys.wakes(), name(e))
	pipe.HDel(ctx, s.keys.ends(), e.Kind)
	_, err := pipe.Exec(ctx)
	if text, _ := said.Text(); err == nil && text != "OK" {
		err = fmt.Errorf("it says %q to a commit: %w", text, ErrUnfit)
	}
	if err != nil && errors.Is(classify(err), persistence.ErrCorrupt) {
		return fmt.Errorf("the user may not do what a store needs: %w: %w", ErrUnfit, err)
	}
	if err != nil {
		return explain(err)
	}
	s.advise(ctx)
	return nil
}

// thriftyNode is the largest stream-node-max-bytes at which an idle entity takes
// little: Redis sets so much aside for the first entry of each stream.
const thriftyNode = 1024

// advise says what a server could do better. One that does not tell may be set up well.
func (s *Store) advise(ctx context.Context) {
	settings, err := s.reads.ConfigGet(ctx, "stream-node-max-bytes").Result()
	size, wrong := strconv.Atoi(settings["stream-node-max-bytes"])
	if err == nil && wrong == nil && (size == 0 || size > thriftyNode) {
		s.options.Log.WarnContext(ctx, "Redis' stream-node-max-bytes costs memory for every entity; set it to 512", slog.Int("now", size))
	}
}

// beat writes, to see whether the server takes it, and reads the epoch: another
// process may have renamed the history.
func (s *Store) beat(ctx context.Context) error {
	if err := s.reads.HIncrBy(ctx, s.keys.meta(), "beat", 1).Err(); err != nil {
		return explain(err)
	}
	epoch, err := s.reads.HGet(ctx, s.keys.meta(), "epoch").Result()
	switch {
	case errors.Is(err, redis.Nil):
		return fmt.Errorf("it has lost what it kept: stop all servers and restore a backup: %w", persistence.ErrLost)
	case err != nil:
		return explain(err)
	}
	s.epoch.Store(epoch)
	return nil
}

// keep looks at the server until the store is closed.
func (s *Store) keep() {
	tick := time.NewTicker(lookEvery) //nolint:forbidigo // A wait, not a reading of the clock.
	defer tick.Stop()
	for {
		s.note(s.inspect())
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
	}
}

// inspect looks once.
func (s *Store) inspect() error {
	ctx, cancel := context.WithTimeout(s.ctx, lookWithin)
	defer cancel()
	if err := s.look(ctx); err != nil {
		return err
	}
	return s.beat(ctx)
}

// note tells what was seen, and logs it when it changes.
func (s *Store) note(err error) {
	if s.ctx.Err() != nil {
		return
	}
	h := &persistence.Health{Err: err}
	if s.options.AcceptLoss {
		h.Note = "a power failure of Redis may take the last second with it"
	}
	was := s.health.Swap(h)
	switch {
	case err != nil && was.Err == nil:
		s.options.Log.Error("ALARM: Redis cannot be relied on", slog.String("address", s.options.Redis.Addr), slog.Any("error", err))
	case err == nil && was.Err != nil:
		s.options.Log.Info("Redis can be relied on again", slog.String("address", s.options.Redis.Addr))
	}
}

// Health returns what the keeper saw last.
func (s *Store) Health() persistence.Health { return *s.health.Load() }
