package messages

import (
	"fmt"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"

	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
)

// Addressed is a list of a response whose items say whom they are for.
type Addressed struct {
	Items    protoreflect.FieldDescriptor // the list, of messages
	ID       protoreflect.FieldDescriptor // of an item: what names it
	Audience protoreflect.FieldDescriptor // of an item: whom it is for
}

// Addressed returns the lists of the method's response that not everyone sees in
// full. It is empty for nearly every method, and for those that only operators
// may call: they see everything, audiences included.
func (m *Method) Addressed() []Addressed {
	if known, ok := addressed.Load(m); ok {
		return known.([]Addressed) //nolint:forcetypeassert,errcheck // nothing else is stored
	}
	var lists []Addressed
	if !m.OperatorsOnly() {
		lists = addressedOf(m.Response().ProtoReflect().Descriptor())
	}
	addressed.Store(m, lists)
	return lists
}

var addressed sync.Map // of *Method to []Addressed

var audience = (*optionsv1.Audience)(nil).ProtoReflect().Descriptor().FullName()

func addressedOf(response protoreflect.MessageDescriptor) []Addressed {
	var lists []Addressed
	for i := range response.Fields().Len() {
		f := response.Fields().Get(i)
		if !f.IsList() || f.Message() == nil {
			continue
		}
		for j := range f.Message().Fields().Len() {
			if a := f.Message().Fields().Get(j); isAudience(a) && !a.IsList() {
				lists = append(lists, Addressed{Items: f, ID: f.Message().Fields().Get(0), Audience: a})
			}
		}
	}
	return lists
}

func isAudience(f protoreflect.FieldDescriptor) bool {
	return f.Message() != nil && f.Message().FullName() == audience
}

// checkAudience checks that every audience of a response stands where the
// gateway looks, for elsewhere it would hold nobody back, and be told to everyone.
func checkAudience(response protoreflect.MessageDescriptor, fault func(bool, string)) {
	looked := map[protoreflect.FullName]bool{}
	for _, a := range addressedOf(response) {
		fault(looked[a.Items.FullName()], fmt.Sprintf("items of %s have two audiences", a.Items.FullName()))
		fault(a.ID.Kind() != protoreflect.StringKind || a.ID.IsList(), fmt.Sprintf("the first field of %s does not name it", a.Items.Message().FullName()))
		looked[a.Items.FullName()] = true
		for i := range a.Items.Message().Fields().Len() {
			if f := a.Items.Message().Fields().Get(i); f != a.Audience {
				fault(holdsAudience(f), fmt.Sprintf("nobody looks at the audience in %s", f.FullName()))
			}
		}
	}
	for i := range response.Fields().Len() {
		if f := response.Fields().Get(i); !looked[f.FullName()] {
			fault(holdsAudience(f), fmt.Sprintf("nobody looks at the audience in %s", f.FullName()))
		}
	}
}

// holdsAudience says whether values of a field are audiences or can hold some.
func holdsAudience(f protoreflect.FieldDescriptor) bool {
	return walkAudiences(f, map[protoreflect.FullName]bool{})
}

func walkAudiences(f protoreflect.FieldDescriptor, seen map[protoreflect.FullName]bool) bool {
	if f.IsMap() {
		f = f.MapValue()
	}
	d := f.Message()
	if d == nil || seen[d.FullName()] {
		return false
	}
	seen[d.FullName()] = true
	if d.FullName() == audience {
		return true
	}
	for i := range d.Fields().Len() {
		if walkAudiences(d.Fields().Get(i), seen) {
			return true
		}
	}
	return false
}
