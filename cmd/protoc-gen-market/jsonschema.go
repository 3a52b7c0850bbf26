package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// schemaPath is where both documents keep what their parts refer to.
const schemaPath = "#/components/schemas/"

// jsonSchemas makes JSON schemas of the messages that methods mention, in words
// that draft 7, which AsyncAPI speaks, and 2020-12, which OpenAPI speaks,
// understand alike.
type jsonSchemas struct {
	schema     *schema
	directions *directions
	after      bool // requests for streams are shown, and may name the position that they go on after
	enums      map[protoreflect.FullName]*protogen.Enum
	faults     []error
}

// jsonSchemas returns the schemas of the messages that methods mention, by name.
func (s *schema) jsonSchemas(methods []*method, d *directions, after bool) (*object, error) {
	j := &jsonSchemas{schema: s, directions: d, after: after, enums: map[protoreflect.FullName]*protogen.Enum{}}
	streams := map[*protogen.Message]bool{}
	mentioned, err := newDirections(methods)
	if err != nil {
		return nil, err
	}
	for _, m := range methods {
		streams[m.rpc.Input] = m.streams()
	}
	all := map[string]*object{}
	for _, u := range mentioned.order {
		if streams[u.message] && !after { // its fields stand in the query
			continue
		}
		all[d.name(u.message, u.dir)] = j.message(u.message, u.dir, streams[u.message])
	}
	for _, e := range j.enums {
		all[string(e.Desc.Name())] = enumSchema(e)
	}
	out := obj()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out.set(name, all[name])
	}
	return out, errors.Join(j.faults...)
}

// message is the schema of a message in one direction.
func (j *jsonSchemas) message(m *protogen.Message, dir direction, stream bool) *object {
	properties, required := obj(), []string{}
	for _, f := range m.Fields {
		properties.set(f.Desc.JSONName(), j.field(f, dir))
		if j.required(f, dir) {
			required = append(required, f.Desc.JSONName())
		}
	}
	if stream && j.after && dir == sent {
		properties.set("after", obj("type", "string", "description", "The position that the stream goes on after; without it, it begins with the present."))
	}
	said := []string{oneLine(m.Comments.Leading)}
	rules, err := messageRules(m.Desc)
	j.note(m.Desc, err)
	for _, r := range rules {
		said = append(said, "Rule: "+strings.TrimSuffix(r, ".")+".")
	}
	out := obj("type", "object", "description", strings.Join(said, " "))
	out.setSome("properties", properties).setSome("required", required)
	if dir == sent {
		out.set("additionalProperties", false)
	}
	return out
}

// required says whether a field must be there: in what is heard every field is
// that can be zero, in what is sent every field whose rules refuse zero.
func (j *jsonSchemas) required(f *protogen.Field, dir direction) bool {
	if dir == heard {
		return !f.Desc.HasPresence()
	}
	rules, err := rulesOf(f.Desc)
	j.note(f.Desc, err)
	must, err := mustBeSent(f.Desc, rules)
	j.note(f.Desc, err)
	return must
}

// field is the schema of a field: its type, its rules if it is sent, and what it means.
func (j *jsonSchemas) field(f *protogen.Field, dir direction) *object {
	out := j.typeOf(f, dir)
	description := oneLine(f.Comments.Leading)
	if dir == sent {
		rules, err := rulesOf(f.Desc)
		j.note(f.Desc, err)
		if rules != nil {
			restrict(out, rules, f.Desc.Enum())
		}
		words, err := fieldRules(f.Desc)
		j.note(f.Desc, err)
		if words != "" {
			description += " Rules: " + words + "."
		}
	}
	sealed, err := j.schema.option(f.Desc, "sealed")
	j.note(f.Desc, err)
	if sealed.IsValid() && sealed.Bool() {
		description += " Sealed: encrypted before it is written anywhere."
	}
	if _, refers := out.values["$ref"]; refers { // what stands beside it would be ignored
		return obj("allOf", []any{out}, "description", description)
	}
	return out.set("description", description)
}

func (j *jsonSchemas) typeOf(f *protogen.Field, dir direction) *object {
	switch {
	case f.Desc.IsMap():
		return obj("type", "object", "additionalProperties", j.oneOf(f.Message.Fields[1], dir))
	case f.Desc.IsList():
		return obj("type", "array", "items", j.oneOf(f, dir))
	default:
		return j.oneOf(f, dir)
	}
}

// oneOf is the schema of what a field holds, but for being many.
func (j *jsonSchemas) oneOf(f *protogen.Field, dir direction) *object {
	switch f.Desc.Kind() { //nolint:exhaustive // the rest are scalars
	case protoreflect.MessageKind, protoreflect.GroupKind:
		if known := wellKnownSchema(f.Message.Desc.FullName()); known != nil {
			return known
		}
		return obj("$ref", schemaPath+j.directions.name(f.Message, dir))
	case protoreflect.EnumKind:
		j.enums[f.Enum.Desc.FullName()] = f.Enum
		return obj("$ref", schemaPath+string(f.Enum.Desc.Name()))
	default:
		return scalarSchema(f.Desc.Kind())
	}
}

// wellKnownSchema is how JSON spells messages that are not the schema's own.
func wellKnownSchema(name protoreflect.FullName) *object {
	switch name {
	case "google.protobuf.Timestamp":
		return obj("type", "string", "format", "date-time")
	case "google.protobuf.Duration":
		return obj("type", "string", "pattern", `^-?[0-9]+(\.[0-9]{1,9})?s$`)
	case "google.protobuf.Empty", "google.protobuf.Struct":
		return obj("type", "object")
	case "google.protobuf.FieldMask":
		return obj("type", "string")
	case "google.rpc.Status":
		return obj("$ref", schemaPath+"Status")
	default:
		return nil
	}
}

// scalarSchema is how JSON spells a scalar: 64-bit numbers are texts.
func scalarSchema(kind protoreflect.Kind) *object {
	switch kind { //nolint:exhaustive // messages and enums are not scalars
	case protoreflect.BoolKind:
		return obj("type", "boolean")
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return obj("type", "integer", "format", "int32")
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return obj("type", "integer", "minimum", 0, "maximum", uint32(1<<32-1))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return obj("type", "string", "format", "int64", "pattern", "^-?[0-9]+$")
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return obj("type", "string", "format", "uint64", "pattern", "^[0-9]+$")
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return obj("type", "number", "format", kind.String())
	case protoreflect.BytesKind:
		return obj("type", "string", "contentEncoding", "base64")
	default:
		return obj("type", "string")
	}
}

func enumSchema(e *protogen.Enum) *object {
	names := make([]string, 0, len(e.Values))
	said := []string{oneLine(e.Comments.Leading)}
	for _, v := range e.Values {
		names = append(names, string(v.Desc.Name()))
		said = append(said, "- `"+string(v.Desc.Name())+"`: "+oneLine(v.Comments.Leading))
	}
	return obj("type", "string", "description", strings.Join(said, "\n"), "enum", names)
}

// note keeps what is wrong with an element of the schema.
func (j *jsonSchemas) note(d protoreflect.Descriptor, err error) {
	if err != nil {
		j.faults = append(j.faults, fmt.Errorf("%s: %s: %w", d.ParentFile().Path(), d.FullName(), err))
	}
}
