// Package actors is the list of kinds, and starts the system that runs them.
package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/threefoldtech/cloud-marketplace/actors/archive"
	"github.com/threefoldtech/cloud-marketplace/actors/broadcast"
	"github.com/threefoldtech/cloud-marketplace/actors/catalogue"
	"github.com/threefoldtech/cloud-marketplace/actors/deployment"
	"github.com/threefoldtech/cloud-marketplace/actors/engine"
	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/actors/inbox"
	"github.com/threefoldtech/cloud-marketplace/actors/node"
	"github.com/threefoldtech/cloud-marketplace/actors/operation"
	"github.com/threefoldtech/cloud-marketplace/actors/overview"
	"github.com/threefoldtech/cloud-marketplace/actors/price"
	"github.com/threefoldtech/cloud-marketplace/actors/session"
	"github.com/threefoldtech/cloud-marketplace/actors/user"
	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/internal/keyring"
	"github.com/threefoldtech/cloud-marketplace/internal/telemetry"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// Kinds returns the kinds of entities, under these terms.
func Kinds(terms deployment.Terms) []*entity.Kind {
	return []*entity.Kind{user.Kind, deployment.Kind(terms), node.Kind, broadcast.Kind, session.Kind, operation.Kind}
}

// Lists are the rules by which items leave lists. What is not named stays for ever.
func Lists() []archive.Rule {
	const year, keep = 365 * 24 * time.Hour, 1000
	return []archive.Rule{
		{Kind: user.Kind.Name, List: "transactions", Keep: keep, Age: year, Stand: user.Archived},
		{Kind: user.Kind.Name, List: "notifications", Keep: keep, Age: 30 * 24 * time.Hour},
		{Kind: broadcast.Kind.Name, List: "broadcasts", Keep: keep, Age: 30 * 24 * time.Hour},
	}
}

// Config configures a System. Zero values are as in engine.Config and entity.Config.
type Config struct {
	Store     persistence.Store
	Keys      *keyring.Ring
	Domain    clock.Clock
	Log       *slog.Logger
	Tracer    *telemetry.Tracer // nil: nothing is traced
	Executors map[protoreflect.FullName]entity.Executor
	Terms     deployment.Terms
	Prices    price.Policy
	OnPush    func(*clusterv1.Push) // takes what actors say unasked; must not block
	// Delivered says to about how many connections of this process an item was written; nil: nobody knows.
	Delivered func(id string) uint64

	IdleAfter     time.Duration
	SnapshotEvery int
	GateLimit     int
	ScanEvery     time.Duration
}

// System is all actors of one process.
type System struct {
	Catalogue *catalogue.Catalogue
	overview  *overview.Overview
	engine    *engine.Engine
	runtime   *entity.Runtime
	group     *persistence.Subscriber
	fanout    *persistence.Subscriber
	publisher *persistence.Publisher
	store     persistence.Store
	quit      context.CancelFunc // ends the janitor, and the overview's loading
	done      sync.WaitGroup
}

// Start loads the read models and starts the actors.
func Start(ctx context.Context, c Config) (*System, error) {
	if err := messages.Check(); err != nil {
		return nil, fmt.Errorf("the schema: %w", err)
	}
	if c.Prices == (price.Policy{}) {
		c.Prices = price.Main
	}
	c.Terms.Prices = c.Prices
	s := &System{store: c.Store, publisher: persistence.NewPublisher(c.Store), quit: func() {}}
	s.Catalogue = catalogue.New(catalogue.Config{Store: c.Store, Prices: c.Prices, Read: readNode, Log: c.Log})
	s.runtime = entity.NewRuntime(entity.Config{
		Store: c.Store, Executors: s.withOperator(c), Keys: c.Keys, Domain: c.Domain, Log: c.Log, Tracer: c.Tracer,
		SnapshotEvery: c.SnapshotEvery, GateLimit: c.GateLimit, ScanEvery: c.ScanEvery,
	})
	s.group = persistence.NewSubscriber(c.Store, persistence.SubscriberConfig{Group: "inbox", Log: c.Log})
	s.fanout = persistence.NewSubscriber(c.Store, persistence.SubscriberConfig{Log: c.Log})
	changed, err := s.fanout.Subscribe(context.WithoutCancel(ctx), messages.TopicNodeChanged) // before Load: nothing in between is missed
	if err != nil {
		return nil, err
	}
	if err := s.Catalogue.Load(ctx); err != nil {
		return nil, errors.Join(err, s.fanout.Close())
	}
	s.done.Go(func() { s.Catalogue.Run(changed) }) //nolint:contextcheck // every message has its own
	working, quit := context.WithCancel(context.WithoutCancel(ctx))
	s.quit = quit
	if err := s.startOverview(working, c); err != nil {
		return nil, errors.Join(err, s.fanout.Close())
	}
	if err := s.startActors(c); err != nil { //nolint:contextcheck // the actors live longer than the start does
		s.quit()
		return nil, errors.Join(err, s.fanout.Close())
	}
	observed, err := s.group.Subscribe(context.WithoutCancel(ctx), messages.TopicObservations)
	if err != nil {
		return nil, errors.Join(err, s.Stop(ctx))
	}
	in := &inbox.Inbox{Actors: s, Poison: s.publisher, Log: c.Log}
	s.done.Go(func() { in.Run(context.WithoutCancel(ctx), observed) })
	s.done.Go(func() { newJanitor(c.Store, c.Log).run(working) })
	return s, nil
}

// startOverview has the overview count, from before it loads on.
func (s *System) startOverview(ctx context.Context, c Config) error {
	s.overview = overview.New(overview.Config{Store: c.Store, Read: readAcknowledged, Delivered: c.Delivered, Log: c.Log})
	said, err := s.fanout.Subscribe(ctx, messages.TopicAcknowledged)
	if err == nil {
		s.done.Go(func() { s.overview.Run(ctx, said) })
	}
	return err
}

// startActors starts the engine for every kind that the schema names.
func (s *System) startActors(c Config) error {
	var kinds []engine.Kind
	readers := map[string]engine.Reader{catalogue.Kind: s.Catalogue.Answer, overview.Kind: s.overview.Answer}
	known := map[string]bool{catalogue.Kind: true, overview.Kind: true}
	for _, k := range Kinds(c.Terms) {
		kinds = append(kinds, s.runtime.Kind(k))
		known[k.Name] = true
	}
	for _, m := range messages.Methods {
		if !m.Session && !known[m.Actor] {
			return fmt.Errorf("method %s is for actors of kind %s, which nobody runs", m.Name, m.Actor)
		}
	}
	e, err := engine.Start(engine.Config{IdleAfter: c.IdleAfter, Log: c.Log, OnPush: c.OnPush}, kinds, readers)
	if err != nil {
		return err
	}
	s.engine = e
	s.runtime.Start(e)
	return nil
}

func readNode(id string, l persistence.Loaded) (*marketplacev1.Node, error) {
	state, err := entity.Replay(node.Kind, id, l)
	if err != nil {
		return nil, err
	}
	return node.Shown(state), nil
}

func readAcknowledged(id string, l persistence.Loaded) ([]string, error) {
	state, err := entity.Replay(user.Kind, id, l)
	if err != nil {
		return nil, err
	}
	return user.Acknowledged(state), nil
}

// Call asks an actor. done is called once and must not block.
func (s *System) Call(req *clusterv1.Request, timeout time.Duration, done func(*clusterv1.Response)) {
	s.engine.Call(req, timeout, done)
}

// Follow returns what is published to a topic from now on, until the system stops.
func (s *System) Follow(ctx context.Context, topic string) (<-chan *message.Message, error) {
	return s.fanout.Subscribe(ctx, topic)
}

// Missed says whether messages of its topic were lost before a message.
func Missed(m *message.Message) bool { return m.Metadata.Get(persistence.MetadataGap) != "" }

// Publisher publishes what integrations observe.
func (s *System) Publisher() message.Publisher { return s.publisher }

// Stats are the counts of engine and entities.
type Stats struct {
	Engine engine.Stats
	Entity entity.Stats
}

// Stats returns the counts.
func (s *System) Stats() Stats { return Stats{s.engine.Stats(), s.runtime.Stats()} }

// Lags returns how far the consumer groups are behind.
func (s *System) Lags(ctx context.Context) ([]persistence.Lag, error) { return lags(ctx, s.store) }

// Stop stops all actors. The store is to be closed after it.
func (s *System) Stop(ctx context.Context) error {
	s.quit()
	s.runtime.Stop()
	err := errors.Join(s.group.Close(), s.fanout.Close())
	s.done.Wait()
	return errors.Join(err, s.engine.Stop(ctx))
}
