package main

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const optionsPackage = "marketplace.options.v1."

// serviceRule is marketplace.options.v1.ServiceRule.
type serviceRule struct {
	path, actor       string
	roles             []string // names of enum values
	internal, session bool
}

// methodRule is marketplace.options.v1.MethodRule.
type methodRule struct {
	name, actor  string
	roles        []string // names of enum values
	key, keyName string   // the set field of the oneof and, if that is a string, its value
	creates      bool
	recent       bool
	stream       string // name of an enum value
	list         string
}

// serviceRule returns the rule of a service, and whether it has one.
func (s *schema) serviceRule(d protoreflect.Descriptor) (serviceRule, bool, error) {
	v, err := s.option(d, "service")
	if err != nil || !v.IsValid() {
		return serviceRule{}, false, err
	}
	m := v.Message()
	return serviceRule{
		path: text(m, "path"), actor: text(m, "actor"), roles: enums(m, "roles"),
		internal: flag(m, "internal"), session: flag(m, "session"),
	}, true, nil
}

// methodRule returns the rule of an rpc; without the option it is empty.
func (s *schema) methodRule(d protoreflect.Descriptor) (methodRule, error) {
	v, err := s.option(d, "method")
	if err != nil || !v.IsValid() {
		return methodRule{stream: "STREAM_UNSPECIFIED"}, err
	}
	m := v.Message()
	r := methodRule{
		name: text(m, "name"), actor: text(m, "actor"), roles: enums(m, "roles"),
		creates: flag(m, "creates"), recent: flag(m, "recent"), stream: enum(m, "stream"), list: text(m, "list"),
	}
	if key := m.WhichOneof(m.Descriptor().Oneofs().ByName("key")); key != nil {
		r.key = string(key.Name())
		switch key.Kind() { //nolint:exhaustive // a key is a name or a fact
		case protoreflect.StringKind:
			r.keyName = m.Get(key).String()
		case protoreflect.BoolKind:
			if !m.Get(key).Bool() {
				r.key = ""
			}
		default:
			return r, fmt.Errorf("the option's key %s is neither a string nor a bool", key.Name())
		}
	}
	return r, nil
}

// option returns the value of one of our options of d, invalid if it is not
// set. It encodes the options and reads them again, for only then are they
// known by the types that this compilation knows.
func (s *schema) option(d protoreflect.Descriptor, name string) (protoreflect.Value, error) {
	if d.Options() == nil || !d.Options().ProtoReflect().IsValid() {
		return protoreflect.Value{}, nil
	}
	xt, err := s.types.FindExtensionByName(protoreflect.FullName(optionsPackage + name))
	if err != nil {
		return protoreflect.Value{}, fmt.Errorf("find the option %s%s: %w", optionsPackage, name, err)
	}
	raw, err := proto.Marshal(d.Options())
	if err != nil {
		return protoreflect.Value{}, fmt.Errorf("read the options of %s: %w", d.FullName(), err)
	}
	o := d.Options().ProtoReflect().New()
	if err := (proto.UnmarshalOptions{Resolver: s.types}).Unmarshal(raw, o.Interface()); err != nil {
		return protoreflect.Value{}, fmt.Errorf("read the options of %s: %w", d.FullName(), err)
	}
	if !o.Has(xt.TypeDescriptor()) {
		return protoreflect.Value{}, nil
	}
	return o.Get(xt.TypeDescriptor()), nil
}

func field(m protoreflect.Message, name protoreflect.Name) protoreflect.FieldDescriptor {
	return m.Descriptor().Fields().ByName(name)
}

func text(m protoreflect.Message, name protoreflect.Name) string {
	return m.Get(field(m, name)).String()
}

func flag(m protoreflect.Message, name protoreflect.Name) bool { return m.Get(field(m, name)).Bool() }

func enum(m protoreflect.Message, name protoreflect.Name) string {
	return enumName(field(m, name), m.Get(field(m, name)))
}

func enums(m protoreflect.Message, name protoreflect.Name) []string {
	list := m.Get(field(m, name)).List()
	names := make([]string, 0, list.Len())
	for i := range list.Len() {
		names = append(names, enumName(field(m, name), list.Get(i)))
	}
	return names
}

func enumName(fd protoreflect.FieldDescriptor, v protoreflect.Value) string {
	if value := fd.Enum().Values().ByNumber(v.Enum()); value != nil {
		return string(value.Name())
	}
	return fmt.Sprint(v.Enum())
}
