// Package story plays stories against a kind of actor: what is asked of it,
// what it hears and what it waits for, and what it decides then.
//
// # Halves
//
// Actor carries a Behavior through time as the runtime does, without any
// runtime: nothing but the kind, the route table and a clock that moves when it
// is told to. Run reads stories from files and compares what is decided with
// what is written there. Tests are the only ones who import this package.
//
// # Invariants
//
// After every step an Actor holds the kind to what the runtime relies on:
// deciding changes nothing; folding what was decided, from the beginning or
// from a snapshot, gives the same state; what was handed out does not change
// when the state does; hearing something twice is hearing it once.
package story

import (
	"bytes"
	"fmt"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/messages"
	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
)

// Begin is when every story begins.
var Begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Actor is one actor of a kind, in a test.
type Actor[S, E proto.Message] struct {
	T     testing.TB
	Kind  string
	ID    string
	Now   time.Time // moves only forward, by whoever tells the story
	State S
	Roles []optionsv1.Role // what whoever asks may be

	behavior entity.Behavior[S, E]
	folded   S                          // all events so far, each from its bytes
	fresh    int                        // how many fresh ids there were
	owner    string                     // once it is somebody's, it stays theirs
	view     string                     // the method of the STATE stream; empty when there is none
	tasks    map[string]entity.Task     // every task ever wanted
	lists    map[string][]proto.Message // every item of every list
	kept     []kept                     // what was handed out lately
}

// Outcome is what one step led to.
type Outcome[E proto.Message] struct {
	Events []E
	Reply  proto.Message
	Err    error
	Items  []entity.Item
	Out    []entity.Out
}

// New returns an actor of a kind that never was.
func New[S, E proto.Message](t testing.TB, kind, id string, b entity.Behavior[S, E]) *Actor[S, E] {
	a := &Actor[S, E]{
		T: t, Kind: kind, ID: id, Now: Begin, behavior: b, State: blank[S](), folded: blank[S](),
		tasks: map[string]entity.Task{}, lists: map[string][]proto.Message{},
	}
	for _, m := range messages.Methods {
		if m.Actor == kind && m.Stream == optionsv1.Stream_STREAM_STATE {
			a.view = m.Name
		}
	}
	return a
}

// Ask has the kind decide a request. What only actors ask is asked twice, and
// must lead to nothing the second time.
func (a *Actor[S, E]) Ask(subject string, req proto.Message) Outcome[E] {
	a.T.Helper()
	m := messages.ByRequest(req.ProtoReflect().Descriptor().FullName())
	if m == nil || m.Actor != a.Kind {
		a.T.Fatalf("%s answers no %s", a.Kind, req.ProtoReflect().Descriptor().FullName())
	}
	env := a.env(subject)
	if m.Command() && !m.Internal {
		env.CommandID = "command-" + strconv.Itoa(a.fresh)
	}
	asked := freeze("the request", req)
	o := a.step(env, func() ([]E, proto.Message, error) { return a.behavior.Decide(a.State, req, env) })
	if o.Reply != nil && o.Reply.ProtoReflect().Descriptor() != m.Response().ProtoReflect().Descriptor() {
		a.T.Errorf("%s is answered with %s", m.Name, o.Reply.ProtoReflect().Descriptor().FullName())
	}
	if (o.Reply == nil) == (o.Err == nil) {
		a.T.Errorf("%s: the reply is %v and the error is %v", m.Name, o.Reply, o.Err)
	}
	if m.ReadOnly && len(o.Events) > 0 {
		a.T.Errorf("%s is a read and decides %v", m.Name, o.Events)
	}
	if again, _, _ := a.behavior.Decide(a.State, req, env); m.Internal && len(again) > 0 {
		a.T.Errorf("%s decides when it is asked again: %v", m.Name, again)
	}
	asked.check(a.T)
	return o
}

// Woken tells the actor that its time has come, whether or not it has.
func (a *Actor[S, E]) Woken() Outcome[E] {
	a.T.Helper()
	env := a.env(entity.System)
	o := a.step(env, func() ([]E, proto.Message, error) { return a.behavior.Woken(a.State, env), nil, nil })
	if again := a.behavior.Woken(a.State, env); len(again) > 0 {
		a.T.Errorf("woken a second time it decides: %v", again)
	}
	if at := a.Wake(); !at.IsZero() && !at.After(a.Now) {
		a.T.Errorf("woken at %s it wants to be woken at %s", a.Now, at)
	}
	return o
}

// Done tells the actor how a task ended that it wants, or wanted once.
func (a *Actor[S, E]) Done(id string, result proto.Message, refusal *messages.Error) Outcome[E] {
	a.T.Helper()
	task, known := a.tasks[id]
	if !known {
		a.T.Fatalf("nobody ever wanted the task %q", id)
	}
	done := entity.Done{Task: task, Result: result, Err: refusal}
	env := a.env(entity.System)
	o := a.step(env, func() ([]E, proto.Message, error) { return a.behavior.TaskDone(a.State, done, env), nil, nil })
	if again := a.behavior.TaskDone(a.State, done, env); len(again) > 0 {
		a.T.Errorf("told a second time of %s it decides: %v", id, again)
	}
	return o
}

// Tasks returns what the actor wants done.
func (a *Actor[S, E]) Tasks() []entity.Task { return a.behavior.Tasks(a.ID, a.State) }

// Wake returns when the actor wants to be woken; zero: never.
func (a *Actor[S, E]) Wake() time.Time { return a.behavior.Wake(a.State) }

// View returns what the kind's STATE stream shows; nil when it has none.
func (a *Actor[S, E]) View() proto.Message {
	if a.view == "" {
		return nil
	}
	return a.behavior.View(a.ID, a.State, a.view)
}

// List returns every item of a list, the oldest first.
func (a *Actor[S, E]) List(name string) []proto.Message { return a.lists[name] }

// env is what the next decision may know.
func (a *Actor[S, E]) env(subject string) entity.Env {
	a.fresh++
	return entity.Env{Now: a.Now, ID: a.ID, Subject: subject, Fresh: "fresh-" + strconv.Itoa(a.fresh), Real: a.Now, Roles: a.Roles, Secret: "secret-" + strconv.Itoa(a.fresh)}
}

// step has something decided, folds it, and holds the kind to the invariants.
func (a *Actor[S, E]) step(env entity.Env, decide func() ([]E, proto.Message, error)) Outcome[E] {
	a.T.Helper()
	before := encode(a.State)
	events, reply, err := decide()
	if !bytes.Equal(before, encode(a.State)) {
		a.T.Errorf("deciding changed the state to %v", a.State)
	}
	o := Outcome[E]{Events: events, Err: err}
	if reply != nil {
		o.Reply = proto.Clone(reply)
	}
	a.checkError(events, err)
	restored := decode[S](a.T, before)
	for _, e := range events {
		a.checkTime(e, env.Now)
		data := encode(e)
		a.behavior.Apply(a.State, e)
		said := a.behavior.Announce(a.ID, a.State, e)
		a.behavior.Apply(a.folded, decode[E](a.T, data))
		a.behavior.Apply(restored, decode[E](a.T, data))
		if !bytes.Equal(data, encode(e)) {
			a.T.Errorf("folding changed the event to %v", e)
		}
		a.announced(&o, said)
	}
	a.checkFolded("from the beginning", a.folded)
	a.checkFolded("from a snapshot", restored)
	a.checkKept()
	a.checkTasks()
	a.checkOwner()
	return o
}

// announced takes what an event adds to lists and topics.
func (a *Actor[S, E]) announced(o *Outcome[E], said entity.Announcement) {
	a.T.Helper()
	for _, i := range said.Items {
		a.checkItem(i)
		i.Message = proto.Clone(i.Message)
		a.lists[i.List] = append(a.lists[i.List], i.Message)
		o.Items = append(o.Items, i)
	}
	for n, out := range said.Out {
		a.keep(fmt.Sprintf("message %d to %s", n, out.Topic), out.Message)
		o.Out = append(o.Out, out)
	}
}
