package messages

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// What is sent is written here, not by protojson: that sorts the fields of a
// message and boxes its numbers every time, a third of what a read costs. The
// output is the same but for white space, of which there is none.

// plan is how the messages of one type are written: in declared order, each
// field with its name ready.
type plan []step

type step struct {
	field  protoreflect.FieldDescriptor
	name   string // with quotes and colon
	absent bool   // may be absent; else its zero is written
}

var plans sync.Map // plan by protoreflect.MessageDescriptor

func planOf(d protoreflect.MessageDescriptor) plan {
	if known, ok := plans.Load(d); ok {
		if p, ok := known.(plan); ok {
			return p
		}
	}
	p := make(plan, d.Fields().Len())
	for i := range p {
		f := d.Fields().Get(i)
		p[i] = step{field: f, name: `"` + f.JSONName() + `":`, absent: f.HasPresence()}
	}
	plans.Store(d, p)
	return p
}

// appendMessage appends a message. Those that JSON spells in a way of their own
// are a time, a duration, or left to the library.
func appendMessage(to []byte, m protoreflect.Message) ([]byte, error) {
	d := m.Descriptor()
	if d.FullName().Parent() == "google.protobuf" {
		return appendKnown(to, m)
	}
	to = append(to, '{')
	first := true
	for _, s := range planOf(d) {
		if s.absent && !m.Has(s.field) {
			continue
		}
		if !first {
			to = append(to, ',')
		}
		first = false
		var err error
		if to, err = appendField(append(to, s.name...), s.field, m.Get(s.field)); err != nil {
			return to, err
		}
	}
	return append(to, '}'), nil
}

func appendField(to []byte, f protoreflect.FieldDescriptor, v protoreflect.Value) (_ []byte, err error) {
	switch {
	case f.IsList():
		to = append(to, '[')
		for i, list := 0, v.List(); i < list.Len(); i++ {
			if i > 0 {
				to = append(to, ',')
			}
			if to, err = appendValue(to, f, list.Get(i)); err != nil {
				return to, err
			}
		}
		return append(to, ']'), nil
	case f.IsMap():
		return appendMap(to, f, v.Map())
	default:
		return appendValue(to, f, v)
	}
}

// appendValue appends one value of a field.
func appendValue(to []byte, f protoreflect.FieldDescriptor, v protoreflect.Value) ([]byte, error) {
	switch f.Kind() { //nolint:exhaustive // the schema has no floats and no groups
	case protoreflect.BoolKind:
		return strconv.AppendBool(to, v.Bool()), nil
	case protoreflect.StringKind:
		return appendText(to, v.String())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return strconv.AppendInt(to, v.Int(), 10), nil
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return strconv.AppendUint(to, v.Uint(), 10), nil
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return append(strconv.AppendInt(append(to, '"'), v.Int(), 10), '"'), nil
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return append(strconv.AppendUint(append(to, '"'), v.Uint(), 10), '"'), nil
	case protoreflect.EnumKind:
		if name := f.Enum().Values().ByNumber(v.Enum()); name != nil {
			return append(append(append(to, '"'), name.Name()...), '"'), nil
		}
		return strconv.AppendInt(to, int64(v.Enum()), 10), nil
	case protoreflect.BytesKind:
		return append(base64.StdEncoding.AppendEncode(append(to, '"'), v.Bytes()), '"'), nil
	case protoreflect.MessageKind:
		return appendMessage(to, v.Message())
	default:
		return to, fmt.Errorf("%s: no message here has fields of kind %v", f.FullName(), f.Kind())
	}
}
