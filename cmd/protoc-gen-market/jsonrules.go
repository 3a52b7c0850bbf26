package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// keywords are the rules that JSON schema has a word for. The rest stand in the
// description.
var keywords = map[protoreflect.Name]string{
	"gte": "minimum", "lte": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum",
	"min_len": "minLength", "max_len": "maxLength", "max_bytes": "maxLength",
	"min_items": "minItems", "max_items": "maxItems", "unique": "uniqueItems",
	"min_pairs": "minProperties", "max_pairs": "maxProperties", "const": "const", "in": "enum",
}

// formats are the rules on texts that are a format of JSON schema.
var formats = map[protoreflect.Name]string{
	"email": "email", "hostname": "hostname", "ipv4": "ipv4", "ipv6": "ipv6", "uri": "uri", "uuid": "uuid",
}

// matches is a cel rule that says nothing but that a text matches an expression.
var matches = regexp.MustCompile(`^this\.matches\('([^']*)'\)$`)

// rulesOf returns the rules of a field; nil if it has none.
func rulesOf(d protoreflect.FieldDescriptor) (*validate.FieldRules, error) {
	options, err := known(d)
	if err != nil {
		return nil, err
	}
	rules, _ := proto.GetExtension(options, validate.E_Field).(*validate.FieldRules)
	return rules, nil
}

// typedRules returns the rules of the field's type, as StringRules; false if there are none.
func typedRules(rules *validate.FieldRules) (protoreflect.Message, bool) {
	r := rules.ProtoReflect()
	if typed := r.WhichOneof(r.Descriptor().Oneofs().ByName("type")); typed != nil {
		return r.Get(typed).Message(), true
	}
	return nil, false
}

// restrict adds rules to a schema. enum is that of the field or of its items.
func restrict(schema *object, rules *validate.FieldRules, enum protoreflect.EnumDescriptor) {
	for _, c := range rules.GetCel() {
		if found := matches.FindStringSubmatch(c.GetExpression()); found != nil {
			schema.set("pattern", found[1])
		}
	}
	typed, ok := typedRules(rules)
	if !ok {
		return
	}
	if enum != nil && !fieldOf(typed, "items") {
		*schema = *obj("type", "string", "enum", allowed(enum, typed))
		return
	}
	fields := typed.Descriptor().Fields()
	for i := range fields.Len() {
		if f := fields.Get(i); typed.Has(f) {
			restrictBy(schema, typed, f, enum)
		}
	}
}

// fieldOf says whether rules have a field of this name.
func fieldOf(typed protoreflect.Message, name protoreflect.Name) bool {
	return field(typed, name) != nil
}

// restrictBy adds one rule. Limits of 64-bit numbers, which are texts in JSON,
// have no keyword that a validator would understand, so they get one of ours.
func restrictBy(schema *object, typed protoreflect.Message, f protoreflect.FieldDescriptor, enum protoreflect.EnumDescriptor) {
	value := typed.Get(f)
	inner := map[protoreflect.Name]string{"items": "items", "values": "additionalProperties", "keys": "propertyNames"}[f.Name()]
	switch {
	case inner != "":
		rules, ok := value.Message().Interface().(*validate.FieldRules)
		if of, there := schema.values[inner].(*object); ok && there {
			restrict(of, rules, enum)
		}
	case formats[f.Name()] != "" && f.Kind() == protoreflect.BoolKind && value.Bool():
		schema.set("format", formats[f.Name()])
	case f.Name() == "len":
		schema.set("minLength", value.Uint()).set("maxLength", value.Uint())
	case keywords[f.Name()] == "" || f.Message() != nil:
	case f.IsList():
		var values []any
		for i := range value.List().Len() {
			values = append(values, literal(f, value.List().Get(i)))
		}
		schema.set(keywords[f.Name()], values)
	case schema.values["type"] == "string" && is64(f) && strings.HasSuffix(keywords[f.Name()], "imum"):
		schema.set("x-"+keywords[f.Name()], literal(f, value))
	case f.Kind() == protoreflect.BoolKind && !value.Bool():
	default:
		schema.set(keywords[f.Name()], literal(f, value))
	}
}

// literal is how JSON spells what a rule compares with. Counts, as of items,
// are numbers; 64-bit values of a field are texts.
func literal(f protoreflect.FieldDescriptor, v protoreflect.Value) any {
	counts := f.Kind() == protoreflect.Uint64Kind && slices.Contains([]protoreflect.Name{
		"min_len", "max_len", "max_bytes", "min_items", "max_items", "min_pairs", "max_pairs",
	}, f.Name())
	if is64(f) && !counts {
		return v.String()
	}
	return v.Interface()
}

func is64(f protoreflect.FieldDescriptor) bool {
	switch f.Kind() { //nolint:exhaustive // the rest are not
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return true
	default:
		return false
	}
}

// allowed returns the names of an enum that its rules leave.
func allowed(enum protoreflect.EnumDescriptor, typed protoreflect.Message) []string {
	numbers := func(rule protoreflect.Name) []int64 {
		var out []int64
		f := field(typed, rule)
		switch {
		case !typed.Has(f):
		case f.IsList():
			for i := range typed.Get(f).List().Len() {
				out = append(out, typed.Get(f).List().Get(i).Int())
			}
		default:
			out = append(out, typed.Get(f).Int())
		}
		return out
	}
	only := append(numbers("in"), numbers("const")...)
	names := []string{}
	for i := range enum.Values().Len() {
		v := enum.Values().Get(i)
		n := int64(v.Number())
		if (len(only) == 0 || slices.Contains(only, n)) && !slices.Contains(numbers("not_in"), n) {
			names = append(names, string(v.Name()))
		}
	}
	return names
}

// mustBeSent says whether rules refuse a field that is left out.
func mustBeSent(d protoreflect.FieldDescriptor, rules *validate.FieldRules) (bool, error) {
	if rules == nil || rules.GetIgnore() != validate.Ignore_IGNORE_UNSPECIFIED {
		return rules.GetRequired(), nil
	}
	if rules.GetRequired() {
		return true, nil
	}
	if d.HasPresence() {
		return false, nil
	}
	for _, c := range rules.GetCel() {
		found := matches.FindStringSubmatch(c.GetExpression())
		if found == nil {
			continue
		}
		expression, err := regexp.Compile(found[1])
		if err != nil {
			return false, fmt.Errorf("read the rule %s: %w", c.GetId(), err)
		}
		if !expression.MatchString("") {
			return true, nil
		}
	}
	typed, ok := typedRules(rules)
	return ok && refusesZero(d, typed), nil
}

// refusesZero says whether the rules of a type refuse what a field is that was left out.
func refusesZero(d protoreflect.FieldDescriptor, typed protoreflect.Message) bool {
	if d.Enum() != nil && !d.IsList() {
		return !slices.Contains(allowed(d.Enum(), typed), string(d.Enum().Values().ByNumber(0).Name()))
	}
	fields := typed.Descriptor().Fields()
	positive := func(name protoreflect.Name, least float64) bool {
		f := fields.ByName(name)
		if f == nil || !typed.Has(f) {
			return false
		}
		number, ok := asFloat(typed.Get(f))
		return ok && number >= least
	}
	for _, rule := range []protoreflect.Name{"min_len", "len", "min_bytes", "min_items", "min_pairs", "gte"} {
		if positive(rule, 1) {
			return true
		}
	}
	return positive("gt", 0)
}

// asFloat returns a number as a float, which is exact enough to compare with 0 and 1.
func asFloat(v protoreflect.Value) (float64, bool) {
	switch n := v.Interface().(type) {
	case int32:
		return float64(n), true
	case int64:
		return float64(n), true
	case uint32:
		return float64(n), true
	case uint64:
		return float64(n), true
	case float32:
		return float64(n), true
	case float64:
		return n, true
	default:
		return 0, false
	}
}
