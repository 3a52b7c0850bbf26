package main

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// wellKnown says how JSON spells the messages that are not the schema's own.
var wellKnown = map[protoreflect.FullName]string{
	"google.protobuf.Timestamp": "time (RFC 3339)",
	"google.protobuf.Duration":  "duration (seconds, as in `3.5s`)",
	"google.protobuf.Empty":     "empty object",
	"google.protobuf.Struct":    "object",
	"google.protobuf.FieldMask": "field mask (names, separated by commas)",
	"google.rpc.Status":         "google.rpc.Status",
}

// fields prints a table of the fields of m.
func (d *manual) fields(m *protogen.Message) {
	d.line("| field | type | meaning |\n|---|---|---|")
	for _, f := range m.Fields {
		meaning := oneLine(f.Comments.Leading)
		if f.Oneof != nil && !f.Oneof.Desc.IsSynthetic() {
			meaning += " One of `" + string(f.Oneof.Desc.Name()) + "`."
		}
		rules, err := fieldRules(f.Desc)
		if err != nil {
			d.faults = append(d.faults, fmt.Errorf("%s: field %s: %w", f.Desc.ParentFile().Path(), f.Desc.FullName(), err))
		}
		if rules != "" {
			meaning += " *Rules: " + rules + ".*"
		}
		sealed, err := d.schema.option(f.Desc, "sealed")
		if err != nil {
			d.faults = append(d.faults, err)
		} else if sealed.IsValid() && sealed.Bool() {
			meaning += " *Sealed: encrypted before it is written anywhere.*"
		}
		d.line("| `%s` | %s | %s |", f.Desc.JSONName(), d.typeOf(f), cell(meaning))
	}
}

// messageRules prints the rules that hold for m as a whole.
func (d *manual) messageRules(m *protogen.Message) {
	rules, err := messageRules(m.Desc)
	if err != nil {
		d.faults = append(d.faults, fmt.Errorf("%s: message %s: %w", m.Desc.ParentFile().Path(), m.Desc.FullName(), err))
	}
	for _, r := range rules {
		d.line("\nRule: %s.", strings.TrimSuffix(r, "."))
	}
}

// typeOf says what a field is in JSON and notes the type that it mentions.
func (d *manual) typeOf(f *protogen.Field) string {
	switch {
	case f.Desc.IsMap():
		return "map of " + d.oneOf(f.Message.Fields[0]) + " to " + d.oneOf(f.Message.Fields[1])
	case f.Desc.IsList():
		return "list of " + d.oneOf(f)
	default:
		return d.oneOf(f)
	}
}

// oneOf says what a field is in JSON, but for being many.
func (d *manual) oneOf(f *protogen.Field) string {
	switch f.Desc.Kind() { //nolint:exhaustive // the rest is in JSON what it is in protobuf
	case protoreflect.MessageKind, protoreflect.GroupKind:
		if known, ok := wellKnown[f.Message.Desc.FullName()]; ok {
			return known
		}
		if d.first(f.Message.Desc) {
			d.types = append(d.types, f.Message)
		}
		return link(f.Message.Desc)
	case protoreflect.EnumKind:
		if d.first(f.Enum.Desc) {
			d.enums = append(d.enums, f.Enum)
		}
		return link(f.Enum.Desc)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind,
		protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return f.Desc.Kind().String() + ", as a string"
	case protoreflect.BytesKind:
		return "bytes (base64)"
	default:
		return f.Desc.Kind().String()
	}
}

// mention notes the types that the fields of m mention.
func (d *manual) mention(m *protogen.Message) {
	for _, f := range m.Fields {
		d.typeOf(f)
	}
}

// first says whether a type is mentioned for the first time.
func (d *manual) first(t protoreflect.Descriptor) bool {
	first := !d.seen[t.FullName()]
	d.seen[t.FullName()] = true
	return first
}

func link(t protoreflect.Descriptor) string {
	return fmt.Sprintf("[%s](#%s)", t.Name(), strings.ToLower(string(t.Name())))
}

// jsonName spells a field of m as JSON does.
func jsonName(m *protogen.Message, name string) string {
	if f := m.Desc.Fields().ByName(protoreflect.Name(name)); f != nil {
		return f.JSONName()
	}
	return name
}

// cell makes a text fit for a cell of a table.
func cell(text string) string { return strings.ReplaceAll(strings.TrimSpace(text), "|", `\|`) }
