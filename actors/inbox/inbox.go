// Package inbox delivers news from outside to the actors they are about: once
// for all sources, in the order in which a source told them of one actor.
//
// # Failure
//
// A message is acknowledged when every actor in it has decided, so news that a
// crash interrupts are told again; actors state what they hear as absolutes, so
// that is harmless. What nobody can decide, because it is not an observation or
// because an actor refuses it, goes to the poison topic with its reason, and
// the rest goes on.
package inbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
)

const (
	subject = "$inbox"
	timeout = 10 * time.Second
)

// Actors are who decides.
type Actors interface {
	Call(req *clusterv1.Request, timeout time.Duration, done func(*clusterv1.Response))
}

// Inbox takes observations from the bus and gives them to actors.
type Inbox struct {
	Actors Actors
	Poison message.Publisher
	Log    *slog.Logger
}

// Run delivers what comes until the channel closes.
func (i *Inbox) Run(ctx context.Context, in <-chan *message.Message) {
	for m := range in {
		if err := i.deliver(ctx, m); err != nil {
			i.Log.WarnContext(ctx, "observations not delivered", slog.String("uuid", m.UUID), slog.Any("error", err))
			m.Nack()
			continue
		}
		m.Ack()
	}
}

// deliver gives every observation of a message to its actor. An error means
// that all of it must be tried again; only when nothing must is what was refused
// put aside, so that it is put aside once.
func (i *Inbox) deliver(ctx context.Context, m *message.Message) error {
	all := &taskv1.Observations{}
	err := proto.Unmarshal(m.Payload, all)
	if err == nil && len(all.GetObservations()) == 0 {
		err = errors.New("there are none")
	}
	if err != nil {
		return i.poison([]*message.Message{poisoned(m, "", m.Payload, fmt.Errorf("not observations: %w", err))})
	}
	d := &delivery{actors: i.Actors, of: m}
	var lines [][]*taskv1.Observation // one for each actor, in order
	at := map[string]int{}
	for _, o := range all.GetObservations() {
		kind, id, err := target(o)
		if err != nil {
			d.refuse(o, err)
			continue
		}
		n, known := at[kind+"/"+id]
		if !known {
			n = len(lines)
			at[kind+"/"+id] = n
			lines = append(lines, nil)
		}
		lines[n] = append(lines[n], o)
	}
	if err := d.tell(lines); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return i.poison(d.refused)
}

// target names the actor that an observation is for.
func target(o *taskv1.Observation) (kind, id string, err error) {
	m := messages.ByName(o.GetMethod())
	if m == nil || !m.Internal {
		return "", "", fmt.Errorf("no internal method %q", o.GetMethod())
	}
	body := m.Request()
	if err := proto.Unmarshal(o.GetPayload(), body); err != nil {
		return "", "", err
	}
	id, err = m.ActorID(subject, "", body)
	return m.Actor, id, err
}

// delivery is one message on its way to its actors.
type delivery struct {
	actors Actors
	of     *message.Message

	mu      sync.Mutex
	refused []*message.Message
}

// tell gives every line to its actor, all lines at once and each in its order.
func (d *delivery) tell(lines [][]*taskv1.Observation) error {
	errs := make([]error, len(lines))
	var wait sync.WaitGroup
	wait.Add(len(lines))
	for n, line := range lines {
		d.next(line, func(err error) {
			errs[n] = err
			wait.Done()
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// next gives the first of a line to its actor and goes on with the rest.
func (d *delivery) next(line []*taskv1.Observation, done func(error)) {
	if len(line) == 0 {
		done(nil)
		return
	}
	o := line[0]
	kind, id, err := target(o)
	if err != nil {
		done(err)
		return
	}
	req := &clusterv1.Request{Kind: kind, Id: id, Method: o.GetMethod(), Payload: o.GetPayload(), Subject: subject}
	d.actors.Call(req, timeout, func(r *clusterv1.Response) {
		if r.GetError() != nil {
			refusal := messages.FromStatus(r.GetError())
			if messages.Rule(refusal.Reason).GetRetry() {
				done(refusal)
				return
			}
			d.refuse(o, refusal)
		}
		d.next(line[1:], done)
	})
}

// refuse notes an observation that nobody can decide.
func (d *delivery) refuse(o *taskv1.Observation, cause error) {
	payload, err := proto.Marshal(&taskv1.Observations{Observations: []*taskv1.Observation{o}})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused = append(d.refused, poisoned(d.of, o.GetMethod(), payload, errors.Join(cause, err)))
}

// poisoned is a message for the poison topic: what nobody can decide of another.
func poisoned(of *message.Message, method string, payload []byte, cause error) *message.Message {
	m := message.NewMessage(watermill.NewUUID(), payload)
	maps.Copy(m.Metadata, of.Metadata)
	m.Metadata.Set(MetadataReason, cause.Error())
	m.Metadata.Set(MetadataTopic, messages.TopicObservations)
	if method != "" {
		m.Metadata.Set(MetadataMethod, method)
	}
	return m
}

// poison keeps what nobody can decide, with its reason.
func (i *Inbox) poison(refused []*message.Message) error {
	if len(refused) == 0 {
		return nil
	}
	for _, m := range refused {
		i.Log.Warn("observation refused", slog.String("reason", m.Metadata.Get(MetadataReason)))
	}
	return i.Poison.Publish(messages.TopicPoison, refused...)
}
