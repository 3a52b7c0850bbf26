package story

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/messages"
)

// kept is a message that was handed out, and its bytes at that time.
type kept struct {
	what    string
	message proto.Message
	data    []byte
}

// keptSteps is for how long what was handed out is held to stay as it was.
const keptSteps = 12

func freeze(what string, m proto.Message) kept { return kept{what, m, encode(m)} }

// check fails when what was handed out has changed since.
func (k kept) check(t testing.TB) {
	t.Helper()
	if !bytes.Equal(k.data, encode(k.message)) {
		t.Errorf("%s changed after it was handed out, to %v", k.what, k.message)
	}
}

func (a *Actor[S, E]) keep(what string, m proto.Message) {
	a.kept = append(a.kept, freeze(what, m))
	a.kept = a.kept[max(0, len(a.kept)-keptSteps):]
}

// checkKept holds what was handed out earlier to be as it was, and hands out the present view.
func (a *Actor[S, E]) checkKept() {
	a.T.Helper()
	for _, k := range a.kept {
		k.check(a.T)
	}
	if v := a.View(); v != nil {
		a.keep("a view", v)
	}
}

// checkError holds a refusal to be one, and to decide nothing.
func (a *Actor[S, E]) checkError(events []E, err error) {
	a.T.Helper()
	if err == nil {
		return
	}
	if len(events) > 0 {
		a.T.Errorf("it is refused and decides %v", events)
	}
	if _, refusal := errors.AsType[*messages.Error](err); !refusal {
		a.T.Errorf("%v has no reason", err)
	}
}

// checkTime holds an event to carry the time of its decision.
func (a *Actor[S, E]) checkTime(e E, now time.Time) {
	a.T.Helper()
	r := e.ProtoReflect()
	f := r.Descriptor().Fields().ByName("event_time")
	if f == nil {
		return
	}
	at, ok := r.Get(f).Message().Interface().(*timestamppb.Timestamp)
	if !ok || !r.Has(f) || !at.AsTime().Equal(now) {
		a.T.Errorf("decided at %s, and the event says %v", now, e)
	}
}

// checkFolded holds what the events add up to to be the state.
func (a *Actor[S, E]) checkFolded(from string, s S) {
	a.T.Helper()
	if !bytes.Equal(encode(s), encode(a.State)) {
		a.T.Errorf("folded %s the state is\n%v\nand not\n%v", from, s, a.State)
	}
}

// checkTasks holds ids of tasks to be unique, and to mean the same for ever.
func (a *Actor[S, E]) checkTasks() {
	a.T.Helper()
	wanted := map[string]bool{}
	for _, task := range a.Tasks() {
		if wanted[task.ID] {
			a.T.Errorf("the task %s is wanted twice at once", task.ID)
		}
		wanted[task.ID] = true
		earlier, known := a.tasks[task.ID]
		if !known {
			a.tasks[task.ID] = task
			a.keep("the task "+task.ID, task.Do)
			continue
		}
		if !proto.Equal(earlier.Do, task.Do) {
			a.T.Errorf("the task %s was\n%v\nand is\n%v", task.ID, earlier.Do, task.Do)
		}
	}
}

// checkOwner holds an actor to stay whose it is.
func (a *Actor[S, E]) checkOwner() {
	a.T.Helper()
	owner := a.behavior.Owner(a.State)
	if a.owner != "" && owner != a.owner {
		a.T.Errorf("it was %s's and is %q's", a.owner, owner)
	}
	a.owner = owner
}

// checkItem holds an item to belong to a list that the schema has for the kind.
func (a *Actor[S, E]) checkItem(i entity.Item) {
	a.T.Helper()
	name := i.Message.ProtoReflect().Descriptor().FullName()
	for _, m := range messages.Methods {
		if m.Actor == a.Kind && m.List == i.List && holds(m.Response().ProtoReflect().Descriptor(), name) {
			return
		}
	}
	a.T.Errorf("no method of %s pages or pushes %s of the list %q", a.Kind, name, i.List)
}

// holds says whether a message has a list of items of a type.
func holds(d protoreflect.MessageDescriptor, item protoreflect.FullName) bool {
	for i := range d.Fields().Len() {
		if f := d.Fields().Get(i); f.IsList() && f.Message() != nil && f.Message().FullName() == item {
			return true
		}
	}
	return false
}

// blank returns an empty message of a generated type.
func blank[M proto.Message]() M {
	var m M
	return m.ProtoReflect().New().Interface().(M) //nolint:forcetypeassert,errcheck // New of M is M
}

var deterministic = proto.MarshalOptions{Deterministic: true}

// encode returns the bytes of a message of ours, nil when there are none.
func encode(m proto.Message) []byte {
	data, err := deterministic.Marshal(m)
	if err != nil {
		return nil
	}
	return data
}

func decode[M proto.Message](t testing.TB, data []byte) M {
	t.Helper()
	m := blank[M]()
	if err := proto.Unmarshal(data, m); err != nil {
		t.Fatalf("decode what was encoded: %v", err)
	}
	return m
}
