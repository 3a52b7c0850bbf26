// Package overview counts for operators what people say each for themselves: a
// read model, the same on every process. It answers reads and keeps nothing of
// its own.
//
// # Life
//
// It lives as the catalogue does: told from which place of a topic to read, it
// loads every user and then applies what was published from that place on,
// dropping what is older than what it loaded. There may be many users, and only
// operators ask, so nobody waits for the loading: what is asked before its end is
// refused for the moment.
package overview

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/threefoldtech/cloud-marketplace/actors/readmodel"
	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// Kind is the name under which requests reach the overview.
const Kind = "overview"

// userKind is the kind of actor whose states are read.
const userKind = "user"

// loadAgain is how long it waits when the store could not be read.
const loadAgain = time.Second

// Config configures an Overview.
type Config struct {
	Store persistence.Store
	// Read returns the broadcasts that a stored user has acknowledged.
	Read func(id string, l persistence.Loaded) ([]string, error)
	// Delivered says to about how many connections of this process a broadcast
	// was written; nil: nobody knows.
	Delivered func(broadcastID string) uint64
	Log       *slog.Logger
}

// Overview holds what every user has acknowledged.
type Overview struct {
	config Config
	mu     sync.RWMutex
	loaded bool
	users  map[string]entry
	counts map[string]uint64 // how many users have acknowledged a broadcast
}

// entry is what a user has acknowledged, and as of when.
type entry struct {
	broadcasts []string
	as         readmodel.Moment
}

// New returns an empty overview.
func New(c Config) *Overview {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Delivered == nil {
		c.Delivered = func(string) uint64 { return 0 }
	}
	return &Overview{config: c, users: map[string]entry{}, counts: map[string]uint64{}}
}

// Run loads every user, as often as it takes, and then applies what users
// publish until the channel closes. The channel is to be older than the call.
func (o *Overview) Run(ctx context.Context, in <-chan *message.Message) {
	for {
		err := o.load(ctx)
		if err == nil {
			break
		}
		o.config.Log.ErrorContext(ctx, "users not loaded", slog.Any("error", err))
		if !clock.Pause(ctx, loadAgain) {
			break
		}
	}
	for m := range in {
		o.take(m) //nolint:contextcheck // every message has its own
	}
}

// take applies a message. After a gap everything is loaded again.
func (o *Overview) take(m *message.Message) {
	if gap := m.Metadata.Get(persistence.MetadataGap); gap != "" {
		if err := o.load(m.Context()); err != nil {
			o.config.Log.ErrorContext(m.Context(), "users not loaded again", slog.String("missed", gap), slog.Any("error", err))
			m.Nack()
			return
		}
	}
	said := &taskv1.BroadcastsAcknowledged{}
	as, err := readmodel.Decode(m, said)
	if err != nil {
		o.config.Log.Error("acknowledgement not read", slog.String("uuid", m.UUID), slog.Any("error", err))
	} else {
		o.put(said.GetUserId(), said.GetBroadcastIds(), as)
	}
	m.Ack()
}

// load reads every user from the store. One that cannot be read, or is halted,
// is left out: it is no reason to count none.
func (o *Overview) load(ctx context.Context) error {
	err := readmodel.Load(ctx, o.config.Store, userKind, o.config.Read, func(e persistence.Entity, broadcasts []string, as readmodel.Moment, err error) {
		if err != nil {
			o.config.Log.ErrorContext(ctx, "ALARM: user left out of the overview", slog.String("entity", e.String()), slog.Any("error", err))
			return
		}
		o.put(e.ID, broadcasts, as)
	})
	if err != nil {
		return err
	}
	o.mu.Lock()
	o.loaded = true
	o.mu.Unlock()
	return nil
}

// put takes all that a user has acknowledged, unless what is known is newer.
func (o *Overview) put(user string, broadcasts []string, as readmodel.Moment) {
	o.mu.Lock()
	defer o.mu.Unlock()
	known := o.users[user]
	if !as.Reaches(known.as) {
		return
	}
	if len(known.broadcasts)+len(broadcasts) == 0 {
		return // most users never say anything, and then nothing is kept of them
	}
	for _, id := range known.broadcasts {
		if o.counts[id]--; o.counts[id] == 0 {
			delete(o.counts, id)
		}
	}
	for _, id := range broadcasts {
		o.counts[id]++
	}
	o.users[user] = entry{broadcasts, as}
}
