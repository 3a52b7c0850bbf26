package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/threefoldtech/cloud-marketplace/messages"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

const (
	// sweepEvery is how often a janitor looks.
	sweepEvery = time.Minute
	// sweepWithin is how long one look may take, and trimWithin one topic of it: a
	// topic that lost what it should hold has nothing to be read.
	sweepWithin = 30 * time.Second
	trimWithin  = 5 * time.Second
	// keepMessages is how many messages of a topic stay, for those who look into
	// what happened and for readers that are no group.
	keepMessages = 10_000
	// trimStep is how many messages go at once: the store does nothing else meanwhile.
	trimStep = 10_000
	// lagAlarm is how many unread messages of a group are too many.
	lagAlarm = 10_000
	// retention is the group of the topics that only read models follow. Nobody
	// reads as it: a janitor moves it, so that the rule of the other topics, to be
	// trimmed behind their groups, holds for these.
	retention = "retention"
)

// The topics that are not like the others.
var (
	followed = []string{messages.TopicNodeChanged, messages.TopicAccess, messages.TopicAcknowledged} // by read models and gateways alone
	lasting  = []string{messages.TopicPoison}                                                        // until an operator has dealt with it, and after
)

// janitor trims the topics behind their groups, and says when a group is behind.
// Every process may have one.
type janitor struct {
	store persistence.Store
	log   *slog.Logger
	keep  uint64
	alarm uint64
	late  map[persistence.Lag]bool // by topic and group: those of which it was said
}

func newJanitor(store persistence.Store, log *slog.Logger) *janitor {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &janitor{store: store, log: log, keep: keepMessages, alarm: lagAlarm, late: map[persistence.Lag]bool{}}
}

// run looks at once and then every minute, until ctx ends.
func (j *janitor) run(ctx context.Context) {
	tick := time.NewTicker(sweepEvery) //nolint:forbidigo // A wait, not a reading of the clock.
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := j.sweep(ctx); err != nil && ctx.Err() == nil {
			j.log.ErrorContext(ctx, "topics not looked after", slog.Any("error", err))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// sweep looks once.
func (j *janitor) sweep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sweepWithin)
	defer cancel()
	topics, err := j.store.Topics(ctx)
	if err != nil {
		return err
	}
	var faults []error
	for _, topic := range topics {
		if slices.Contains(lasting, topic) {
			continue
		}
		if err := j.trim(ctx, topic); err != nil { // the others are looked after all the same
			faults = append(faults, fmt.Errorf("topic %s: %w", topic, err))
		}
	}
	return errors.Join(append(faults, j.watch(ctx))...)
}

// trim drops what every group has read, but for the newest messages.
func (j *janitor) trim(ctx context.Context, topic string) error {
	ctx, cancel := context.WithTimeout(ctx, trimWithin)
	defer cancel()
	position, err := j.store.End(ctx, topic)
	if err != nil {
		return err
	}
	end, err := position.Number()
	if err != nil {
		return err
	}
	limit := end - min(j.keep, end)
	if slices.Contains(followed, topic) {
		if err := j.store.Advance(ctx, retention, topic, persistence.FormatPosition(limit)); err != nil {
			return err
		}
	}
	if limit == 0 {
		return nil
	}
	oldest, err := j.store.Read(ctx, topic, "", 1)
	if err != nil {
		return err
	}
	at, err := oldest[0].Position.Number()
	if err != nil {
		return err
	}
	for dropped := 1; at <= limit && dropped > 0; at += trimStep {
		if dropped, err = j.store.Trim(ctx, topic, persistence.FormatPosition(min(at+trimStep-1, limit))); err != nil {
			return err
		}
	}
	return nil
}

// watch says once when a group is behind, and once when it no longer is.
func (j *janitor) watch(ctx context.Context) error {
	all, err := lags(ctx, j.store)
	if err != nil {
		return err
	}
	for _, l := range all {
		who := persistence.Lag{Topic: l.Topic, Group: l.Group}
		attrs := []slog.Attr{slog.String("topic", l.Topic), slog.String("group", l.Group), slog.Uint64("unread", l.Unread)}
		switch behind := l.Unread > j.alarm; {
		case behind && !j.late[who]:
			j.late[who] = true
			j.log.LogAttrs(ctx, slog.LevelError, "ALARM: consumer group is behind", attrs...)
		case !behind && j.late[who]:
			delete(j.late, who)
			j.log.LogAttrs(ctx, slog.LevelWarn, "ALARM over: consumer group has caught up", attrs...)
		}
	}
	return nil
}

// lags returns how far the groups are behind that somebody reads as.
func lags(ctx context.Context, s persistence.Store) ([]persistence.Lag, error) {
	all, err := persistence.Lags(ctx, s)
	return slices.DeleteFunc(all, func(l persistence.Lag) bool { return l.Group == retention }), err
}
