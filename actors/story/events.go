package story

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
)

// ApplyKnowsEveryEvent fails for an event of the journal that Apply folds as if
// it were none. Events are filled with values that are not zero, and folded
// into an empty state and into a full one.
func ApplyKnowsEveryEvent[S, E proto.Message](t *testing.T, b entity.Behavior[S, E]) {
	t.Helper()
	oneof := blank[E]().ProtoReflect().Descriptor().Oneofs().ByName("event")
	if oneof == nil {
		t.Fatalf("%T has no oneof of events", blank[E]())
	}
	for i := range oneof.Fields().Len() {
		f := oneof.Fields().Get(i)
		e, none := blank[E](), blank[E]()
		fill(e.ProtoReflect(), func(field protoreflect.FieldDescriptor) bool { return field.ContainingOneof() != oneof || field == f })
		fill(none.ProtoReflect(), func(field protoreflect.FieldDescriptor) bool { return field.ContainingOneof() != oneof })
		known := false
		for _, from := range []func() S{blank[S], full[S]} {
			with, without := from(), from()
			b.Apply(with, e)
			b.Apply(without, none)
			known = known || !bytes.Equal(encode(with), encode(without))
		}
		if !known {
			t.Errorf("Apply ignores %s", f.Name())
		}
	}
}

// full returns a message in which everything is set.
func full[M proto.Message]() M {
	m := blank[M]()
	fill(m.ProtoReflect(), func(protoreflect.FieldDescriptor) bool { return true })
	return m
}

// fill sets every field that may be set: numbers to one, texts to "x", lists
// and maps to one entry.
func fill(m protoreflect.Message, may func(protoreflect.FieldDescriptor) bool) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !may(f) {
			continue
		}
		switch {
		case f.IsMap():
			entries := m.Mutable(f).Map()
			v := entries.NewValue()
			if f.MapValue().Message() != nil {
				fill(v.Message(), may)
			} else {
				v = scalar(f.MapValue())
			}
			entries.Set(scalar(f.MapKey()).MapKey(), v)
		case f.IsList() && f.Message() != nil:
			fill(m.Mutable(f).List().AppendMutable().Message(), may)
		case f.IsList():
			m.Mutable(f).List().Append(scalar(f))
		case f.Message() != nil:
			fill(m.Mutable(f).Message(), may)
		default:
			m.Set(f, scalar(f))
		}
	}
}

// scalar returns a value that is not zero.
func scalar(f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(1)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString("x")
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte("x"))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(1)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(1)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(1)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(1)
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(1)
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(1)
	case protoreflect.MessageKind, protoreflect.GroupKind: // filled, not set
	}
	return protoreflect.Value{}
}
