// Package entity is the one durable actor.
//
// A kind supplies a Behavior: pure functions of a state. The runtime applies
// what was decided at once, commits it without anyone waiting, and lets nothing
// out (reply, push, task) before the commit is durable.
//
// # Commit
//
// One commit is in flight per entity. What is decided meanwhile gathers in the
// next batch. Everything derived from state (tasks, wake-up, views, snapshot)
// is taken when a batch is sealed: then, and only then, memory is exactly what
// that commit makes durable. A batch is released before the next is sealed.
//
// # Gate
//
// Every answer that has seen uncommitted state waits for the commit that makes
// it true: replies, reads, refusals, repeats. Pushes of a commit leave before
// its replies.
//
// # Failure
//
// Whatever is not certain to be decided is bounced to its caller's process,
// which asks the next incarnation; command ids make that harmless.
//
// # Concurrency
//
// An entity is an actor: its fields belong to the goroutine that runs Receive.
// What runs elsewhere (store, tasks, timers) sends messages and is compared by
// pointer, so that what comes too late is nothing.
package entity

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/messages"
	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// Env is all that a decision may know of the world.
type Env struct {
	Now       time.Time        // the domain's time; never before the entity's last event
	Real      time.Time        // the time that tokens and connections live by; the sandbox does not hurry it
	ID        string           // the entity's own id
	Subject   string           // who asks; "$…" for a part of the system
	CommandID string           // the caller's id for the intent; empty for reads and internal requests
	Fresh     string           // an id that nothing else has
	Roles     []optionsv1.Role // what who asks may be, of a person's requests
	Secret    string           // 26 characters that nobody can guess; of commands whose reply can hold it, sealed
}

// Task is something that a state wants of the outside or of another entity.
// Equal ids are the same wish, also towards the outside.
type Task struct {
	ID string
	// Do is the request of an internal method, asked of the entity it names, or
	// a message that an executor is registered for.
	Do proto.Message
	// Key, of a task for an executor, names what allows one at a time, such as
	// the account that signs: tasks with one key run one after another, whoever
	// wants them. Empty: there is no such thing.
	Key string
	// Timeout bounds one attempt; zero: ten seconds. A limit that matters is a
	// deadline in the state, met by Wake.
	Timeout time.Duration
}

// Done is the end of a task. Exactly one of Result and Err is set. An Err is
// final: what may be tried again was tried again.
type Done struct {
	Task   Task
	Result proto.Message
	Err    *messages.Error
}

// Item is appended to one of the entity's lists. EVENT streams over the list push it.
type Item struct {
	List    string
	Message proto.Message
}

// Out is published to a topic.
type Out struct {
	Topic   string
	Message proto.Message
}

// Announcement is what an event adds to lists and topics.
type Announcement struct {
	Items []Item
	Out   []Out
}

// Behavior is what a kind supplies. All of it is pure: it knows no clock, no
// network and no actor, and only Apply changes the state.
type Behavior[S, E proto.Message] interface {
	// Decide answers a request with events and a reply, or refuses it with a
	// *messages.Error. A read decides no events.
	Decide(s S, req proto.Message, env Env) ([]E, proto.Message, error)
	// Woken decides what follows from the time having come that Wake named. It
	// may be called twice, or when nothing is due.
	Woken(s S, env Env) []E
	// TaskDone decides what follows from the end of a task. It may be called
	// for a task that the state does not want any more.
	TaskDone(s S, done Done, env Env) []E
	// Apply folds an event into the state. It must not fail and must not decide.
	Apply(s S, event E)
	// Tasks returns what the state wants done.
	Tasks(id string, s S) []Task
	// Wake returns when the state wants to be woken; zero: never.
	Wake(s S) time.Time
	// View returns what a STATE stream shows.
	View(id string, s S, method string) proto.Message
	// Owner returns whose entity it is; "" when it is everybody's.
	Owner(s S) string
	// Announce returns what an event adds to lists and topics; s is the state after it.
	Announce(id string, s S, event E) Announcement
}

// Kind is a Behavior made ready for the runtime.
type Kind struct {
	Name string
	// NotFound is the reason that unknown and foreign ids are refused with.
	NotFound marketplacev1.ErrorReason
	real     bool                        // Wake names real times
	lists    map[string]*messages.Method // EVENT streams by list
	blank    func(id string) machine
	event    func() proto.Message
}

// Event decodes an event of the kind, for those who show journals.
func (k *Kind) Event(data []byte) (proto.Message, error) {
	e := k.event()
	return e, proto.Unmarshal(data, e)
}

// Define makes a Kind of a Behavior.
func Define[S, E proto.Message](name string, notFound marketplacev1.ErrorReason, b Behavior[S, E]) *Kind {
	k := &Kind{Name: name, NotFound: notFound, lists: map[string]*messages.Method{}}
	for _, m := range messages.Methods {
		if m.Actor == name && m.Stream == optionsv1.Stream_STREAM_EVENT {
			k.lists[m.List] = m
		}
	}
	k.event = func() proto.Message { return blank[E]() }
	k.blank = func(id string) machine { return &state[S, E]{behavior: b, id: id, s: blank[S]()} }
	return k
}

// ByRealTime says that the kind's Wake names real times, as Env.Real tells them,
// and returns the kind. Kinds do so whose time is that of tokens and connections.
func (k *Kind) ByRealTime() *Kind {
	k.real = true
	return k
}

// blank returns an empty message of a generated type.
func blank[M proto.Message]() M {
	var m M
	return m.ProtoReflect().New().Interface().(M) //nolint:forcetypeassert,errcheck // New of M is M
}

// machine is a state with its behavior, types erased.
type machine interface {
	decide(req proto.Message, env Env) (decision, error)
	woken(env Env) decision
	taskDone(done Done, env Env) decision
	replay(event []byte, schema uint32) error
	tasks() []Task
	wake() time.Time
	view(method string) []byte
	owner() string
	message() proto.Message
	encode() []byte
	decode(data []byte) error
}

// decision is what was decided, encoded and applied.
type decision struct {
	events [][]byte
	reply  []byte // with what is to be sealed still open
	items  []encodedItem
	out    []Out
}

type encodedItem struct {
	list string
	data []byte
}

type state[S, E proto.Message] struct {
	behavior Behavior[S, E]
	id       string
	s        S
}

func (m *state[S, E]) decide(req proto.Message, env Env) (decision, error) {
	events, reply, err := m.behavior.Decide(m.s, req, env)
	if err != nil {
		return decision{}, err
	}
	var d decision
	if reply != nil {
		if len(events) == 0 {
			reply = messages.Masked(reply)
		}
		d.reply = encode(reply) // before Apply: a reply may share memory with the state
	}
	if len(events) > 0 && len(d.reply) > replyLimit {
		return decision{}, fmt.Errorf("the reply to %s has %d bytes, more than can be remembered", req.ProtoReflect().Descriptor().FullName(), len(d.reply))
	}
	m.apply(&d, events)
	return d, nil
}

func (m *state[S, E]) woken(env Env) (d decision) {
	m.apply(&d, m.behavior.Woken(m.s, env))
	return d
}

func (m *state[S, E]) taskDone(done Done, env Env) (d decision) {
	m.apply(&d, m.behavior.TaskDone(m.s, done, env))
	return d
}

// apply encodes each event before it is applied, for the same reason as a reply.
func (m *state[S, E]) apply(d *decision, events []E) {
	for _, e := range events {
		d.events = append(d.events, encode(e))
		m.behavior.Apply(m.s, e)
		a := m.behavior.Announce(m.id, m.s, e)
		for _, i := range a.Items {
			d.items = append(d.items, encodedItem{i.List, encode(messages.Masked(i.Message))})
		}
		d.out = append(d.out, a.Out...)
	}
}

// replay applies an event that was written under a schema.
func (m *state[S, E]) replay(event []byte, schema uint32) error {
	e := blank[E]()
	if err := proto.Unmarshal(event, e); err != nil {
		return err
	}
	if err := newer(schema, e); err != nil {
		return err
	}
	m.behavior.Apply(m.s, e)
	return nil
}

func (m *state[S, E]) tasks() []Task   { return m.behavior.Tasks(m.id, m.s) }
func (m *state[S, E]) wake() time.Time { return m.behavior.Wake(m.s) }
func (m *state[S, E]) view(method string) []byte {
	return encode(messages.Masked(m.behavior.View(m.id, m.s, method)))
}
func (m *state[S, E]) owner() string            { return m.behavior.Owner(m.s) }
func (m *state[S, E]) message() proto.Message   { return m.s }
func (m *state[S, E]) encode() []byte           { return encode(m.s) }
func (m *state[S, E]) decode(data []byte) error { return proto.Unmarshal(data, m.s) }

var deterministic = proto.MarshalOptions{Deterministic: true}

// encode returns the bytes of a message of ours; it fails only for text that is
// not UTF-8, which no door lets in.
func encode(m proto.Message) []byte {
	b, err := deterministic.Marshal(m)
	if err != nil {
		panic(err) //nolint:forbidigo // a bug of a kind: the entity answers INTERNAL and ends its incarnation
	}
	return b
}
