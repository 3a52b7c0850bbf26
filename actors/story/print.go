package story

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
)

// shown is what a story has printed of a state, so that only news are.
type shown struct {
	tasks []entity.Task
	wake  time.Time
	view  proto.Message
}

// tell prints what a step led to.
func (p *player[S, E]) tell(o Outcome[E]) string {
	t := p.actor.T
	t.Helper()
	var out strings.Builder
	for _, e := range o.Events {
		fmt.Fprintf(&out, "event: %s\n", compact(t, timeless(e)))
	}
	if o.Err != nil {
		fmt.Fprintf(&out, "error: %v\n", o.Err)
	} else if o.Reply != nil {
		fmt.Fprintf(&out, "reply: %s\n", compact(t, o.Reply))
	}
	for _, i := range o.Items {
		fmt.Fprintf(&out, "item of %s: %s\n", i.List, compact(t, i.Message))
	}
	for _, m := range o.Out {
		fmt.Fprintf(&out, "out to %s: %s\n", m.Topic, compact(t, m.Message))
	}
	p.tellTasks(&out)
	if at := p.actor.Wake(); !at.Equal(p.shown.wake) {
		p.shown.wake = at
		fmt.Fprintf(&out, "wake: %s\n", since(at))
	}
	p.tellView(&out)
	if out.Len() == 0 {
		return "nothing\n"
	}
	return out.String()
}

// tellTasks prints tasks that are not wanted any more, and new ones.
func (p *player[S, E]) tellTasks(out *strings.Builder) {
	tasks := p.actor.Tasks()
	for _, task := range p.shown.tasks {
		if !has(tasks, task.ID) {
			fmt.Fprintf(out, "task - %s\n", task.ID)
		}
	}
	for _, task := range tasks {
		if !has(p.shown.tasks, task.ID) {
			fmt.Fprintf(out, "task + %s: %s %s\n", task.ID, task.Do.ProtoReflect().Descriptor().Name(), compact(p.actor.T, task.Do))
		}
	}
	p.shown.tasks = tasks
}

func has(tasks []entity.Task, id string) bool {
	for _, task := range tasks {
		if task.ID == id {
			return true
		}
	}
	return false
}

// tellView prints what of the view is new, and names what is gone from it.
func (p *player[S, E]) tellView(out *strings.Builder) {
	view := p.actor.View()
	if view == nil {
		return
	}
	view = proto.Clone(view)
	news := proto.Clone(view)
	gone := subtract(news.ProtoReflect(), p.shown.view.ProtoReflect())
	p.shown.view = view
	if proto.Size(news) > 0 {
		fmt.Fprintf(out, "view: %s\n", compact(p.actor.T, news))
	}
	if len(gone) > 0 {
		fmt.Fprintf(out, "view has no longer: %s\n", strings.Join(gone, ", "))
	}
}

// subtract leaves in a message what is not in an old one, and returns the names
// of fields that only the old one has. Of a list that only grew, the new items stay.
func subtract(m, old protoreflect.Message) (gone []string) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case !m.Has(f) && !old.Has(f):
		case !m.Has(f):
			gone = append(gone, f.JSONName())
		case m.Get(f).Equal(old.Get(f)):
			m.Clear(f)
		case !old.Has(f):
		case f.IsList():
			cutPrefix(m.Mutable(f).List(), old.Get(f).List())
		case f.Message() != nil && !f.IsMap() && f.Message().ParentFile() == m.Descriptor().ParentFile():
			gone = append(gone, subtract(m.Mutable(f).Message(), old.Get(f).Message())...)
		}
	}
	return gone
}

// cutPrefix takes a list's old items off when it begins with them.
func cutPrefix(l, old protoreflect.List) {
	n := old.Len()
	for i := range n {
		if i >= l.Len() || !l.Get(i).Equal(old.Get(i)) {
			return
		}
	}
	rest := l.Len() - n
	for i := range rest {
		l.Set(i, l.Get(n+i))
	}
	l.Truncate(rest)
}

// timeless is an event without its time, which every step holds to be the present.
func timeless(m proto.Message) proto.Message {
	c := proto.Clone(m)
	if f := c.ProtoReflect().Descriptor().Fields().ByName("event_time"); f != nil {
		c.ProtoReflect().Clear(f)
	}
	return c
}

// since spells a time as stories do.
func since(at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return at.Sub(Begin).String()
}

// compact renders a message as one line of JSON. protojson varies its white
// space on purpose, so it is squeezed out.
func compact(t testing.TB, m proto.Message) string {
	t.Helper()
	text, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := json.Compact(&out, text); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
