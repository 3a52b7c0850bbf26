package messages

import (
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
)

// Sealed is what is shown in place of a sealed value.
const Sealed = "sealed"

// sealing remembers which types can hold sealed values.
var sealing sync.Map // of protoreflect.FullName to bool

// CanSeal says whether messages of a type can hold sealed values, themselves or
// in what they hold.
func CanSeal(d protoreflect.MessageDescriptor) bool {
	if known, ok := sealing.Load(d.FullName()); ok {
		return known == true
	}
	can := canSeal(d, map[protoreflect.FullName]bool{})
	sealing.Store(d.FullName(), can)
	return can
}

// canSeal is CanSeal for types that may hold themselves.
func canSeal(d protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) bool {
	if d == nil || seen[d.FullName()] {
		return false
	}
	seen[d.FullName()] = true
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		if f.IsMap() {
			f = f.MapValue()
		}
		if isSealed(f) || canSeal(f.Message(), seen) {
			return true
		}
	}
	return false
}

func isSealed(f protoreflect.FieldDescriptor) bool {
	sealed, ok := proto.GetExtension(f.Options(), optionsv1.E_Sealed).(bool)
	return ok && sealed
}

// ReplaceSealed puts something else in place of every sealed value of m that is
// not empty. The error is the first of replace.
func ReplaceSealed(m proto.Message, replace func(field protoreflect.FullName, value string) (string, error)) error {
	if !CanSeal(m.ProtoReflect().Descriptor()) {
		return nil
	}
	return replaceSealed(m.ProtoReflect(), replace)
}

func replaceSealed(m protoreflect.Message, replace func(protoreflect.FullName, string) (string, error)) (err error) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case isSealed(f):
			var text string
			if text, err = replace(f.FullName(), v.String()); err == nil {
				m.Set(f, protoreflect.ValueOfString(text))
			}
		case f.Message() == nil || f.IsMap():
		case f.IsList():
			for i := 0; i < v.List().Len() && err == nil; i++ {
				err = replaceSealed(v.List().Get(i).Message(), replace)
			}
		default:
			err = replaceSealed(v.Message(), replace)
		}
		return err == nil
	})
	return err
}

// Masked returns m as people may see it: itself, or a copy with Sealed in place
// of every sealed value.
func Masked(m proto.Message) proto.Message {
	if m == nil || !CanSeal(m.ProtoReflect().Descriptor()) {
		return m
	}
	masked := proto.Clone(m)
	_ = ReplaceSealed(masked, func(protoreflect.FullName, string) (string, error) { return Sealed, nil })
	return masked
}

// checkSealed checks that what is sealed can be: a text, not in a map. What is
// sealed with one entity's key and asked of another is opened on the way.
func checkSealed(m *Method, fault func(bool, string)) {
	walkSealed(m.Request().ProtoReflect().Descriptor(), map[protoreflect.FullName]bool{}, func(f protoreflect.FieldDescriptor, inMap bool) {
		fault(inMap || f.IsList() || f.Kind() != protoreflect.StringKind, "only a text of its own can be sealed, not "+string(f.FullName()))
	})
}

// walkSealed finds the sealed fields of a type and of what it holds, and maps
// of messages that have some.
func walkSealed(d protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool, found func(f protoreflect.FieldDescriptor, inMap bool)) {
	if seen[d.FullName()] {
		return
	}
	seen[d.FullName()] = true
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		switch {
		case isSealed(f):
			found(f, false)
		case f.IsMap():
			if v := f.MapValue().Message(); v != nil && CanSeal(v) {
				found(f, true)
			}
		case f.Message() != nil:
			walkSealed(f.Message(), seen, found)
		}
	}
}
