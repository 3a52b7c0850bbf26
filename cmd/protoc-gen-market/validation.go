package main

import (
	"fmt"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// ruleWords says each rule in words; %s stands for its value. A rule that is
// not here is refused: what nobody can read about is written as a cel rule
// with a message.
var ruleWords = map[protoreflect.Name]string{
	"const": "exactly %s", "gt": "more than %s", "gte": "at least %s", "lt": "less than %s", "lte": "at most %s",
	"in": "one of %s", "not_in": "not %s", "finite": "finite", "defined_only": "a value of the list",
	"len": "exactly %s characters", "min_len": "at least %s characters", "max_len": "at most %s characters",
	"len_bytes": "exactly %s bytes", "min_bytes": "at least %s bytes", "max_bytes": "at most %s bytes",
	"prefix": "begins with %s", "suffix": "ends with %s", "contains": "contains %s", "not_contains": "does not contain %s",
	"email": "an e-mail address", "hostname": "a host name", "ip": "an IP address", "ipv4": "an IPv4 address",
	"ipv6": "an IPv6 address", "uri": "a URI", "uuid": "a UUID", "host_and_port": "a host and a port",
	"min_items": "at least %s", "max_items": "at most %s", "unique": "none twice",
	"min_pairs": "at least %s", "max_pairs": "at most %s",
	"lt_now": "in the past", "gt_now": "in the future", "within": "within %s of now",
}

// ranges are pairs of rules that read better as one, and what they count
// unless that goes without saying.
var ranges = []struct{ lower, upper, unit protoreflect.Name }{
	{"gte", "lte", ""},
	{"min_len", "max_len", " characters"},
	{"min_bytes", "max_bytes", " bytes"},
	{"min_items", "max_items", ""},
	{"min_pairs", "max_pairs", ""},
}

// fieldRules returns the rules of a field in words.
func fieldRules(d protoreflect.FieldDescriptor) (string, error) {
	options, err := known(d)
	if err != nil {
		return "", err
	}
	rules, ok := proto.GetExtension(options, validate.E_Field).(*validate.FieldRules)
	if !ok || rules == nil {
		return "", nil
	}
	return rulesInWords(rules, d.Enum())
}

// messageRules returns the rules of a message in words.
func messageRules(d protoreflect.MessageDescriptor) ([]string, error) {
	options, err := known(d)
	if err != nil {
		return nil, err
	}
	rules, ok := proto.GetExtension(options, validate.E_Message).(*validate.MessageRules)
	if !ok || rules == nil {
		return nil, nil
	}
	words, err := celWords(rules.GetCel(), rules.GetCelExpression())
	for _, o := range rules.GetOneof() {
		amount := "at most one"
		if o.GetRequired() {
			amount = "exactly one"
		}
		words = append(words, amount+" of "+strings.Join(o.GetFields(), ", ")+" is set")
	}
	return words, err
}

// known returns the options of d with validate's among them.
func known(d protoreflect.Descriptor) (proto.Message, error) {
	raw, err := proto.Marshal(d.Options())
	if err != nil {
		return nil, fmt.Errorf("read the rules: %w", err)
	}
	options := d.Options().ProtoReflect().New().Interface()
	if err := proto.Unmarshal(raw, options); err != nil {
		return nil, fmt.Errorf("read the rules: %w", err)
	}
	return options, nil
}

func rulesInWords(rules *validate.FieldRules, enum protoreflect.EnumDescriptor) (string, error) {
	var words []string
	if rules.GetRequired() {
		words = append(words, "required")
	}
	cel, err := celWords(rules.GetCel(), rules.GetCelExpression())
	if err != nil {
		return "", err
	}
	words = append(words, cel...)
	r := rules.ProtoReflect()
	if typed := r.WhichOneof(r.Descriptor().Oneofs().ByName("type")); typed != nil {
		typedWords, err := typeWords(r.Get(typed).Message(), enum)
		if err != nil {
			return "", err
		}
		words = append(words, typedWords...)
	}
	return strings.Join(words, ", "), nil
}

// celWords returns the messages of cel rules; one without a message cannot be told.
func celWords(rules []*validate.Rule, bare []string) ([]string, error) {
	words := make([]string, 0, len(rules))
	for _, r := range rules {
		if r.GetMessage() == "" {
			return nil, fmt.Errorf("(buf.validate.field).cel %q must have a message for people", r.GetId())
		}
		words = append(words, strings.TrimSuffix(r.GetMessage(), "."))
	}
	if len(bare) > 0 {
		return nil, fmt.Errorf("(buf.validate.field).cel_expression %q must be a cel rule with a message for people", bare[0])
	}
	return words, nil
}

// typeWords returns the rules of one type, as of StringRules, in the order of
// validate.proto. Numbers of an enum are called by their names.
func typeWords(m protoreflect.Message, enum protoreflect.EnumDescriptor) ([]string, error) {
	var words []string
	fields := m.Descriptor().Fields()
	inRange := map[protoreflect.Name]bool{}
	for _, r := range ranges {
		if l, u := fields.ByName(r.lower), fields.ByName(r.upper); l != nil && u != nil && m.Has(l) && m.Has(u) {
			inRange[r.lower], inRange[r.upper] = true, true
			words = append(words, value(m, l, nil)+" to "+value(m, u, nil)+string(r.unit))
		}
	}
	for i := range fields.Len() {
		f := fields.Get(i)
		if !m.Has(f) || inRange[f.Name()] || f.Name() == "example" {
			continue
		}
		text, err := ruleInWords(m, f, enum)
		if err != nil {
			return nil, err
		}
		if text != "" {
			words = append(words, text)
		}
	}
	return words, nil
}

// ruleInWords returns one rule of a type, or nothing for a rule that is switched off.
func ruleInWords(m protoreflect.Message, f protoreflect.FieldDescriptor, enum protoreflect.EnumDescriptor) (string, error) {
	if whose := map[protoreflect.Name]string{"items": "each: ", "keys": "keys: ", "values": "values: "}[f.Name()]; whose != "" {
		rules, ok := m.Get(f).Message().Interface().(*validate.FieldRules)
		if !ok {
			return "", fmt.Errorf("the rule %s holds no rules", f.FullName())
		}
		text, err := rulesInWords(rules, enum)
		return whose + text, err
	}
	if f.Kind() == protoreflect.BoolKind && f.Name() != "const" && !m.Get(f).Bool() {
		return "", nil
	}
	text, ok := ruleWords[f.Name()]
	if !ok {
		return "", fmt.Errorf("the rule %s has no words for people; use a cel rule with a message", f.FullName())
	}
	if strings.Contains(text, "%s") {
		text = fmt.Sprintf(text, value(m, f, enum))
	}
	return text, nil
}

// value prints what a rule compares with.
func value(m protoreflect.Message, f protoreflect.FieldDescriptor, enum protoreflect.EnumDescriptor) string {
	if !f.IsList() {
		return scalar(f, m.Get(f), enum)
	}
	list := m.Get(f).List()
	values := make([]string, 0, list.Len())
	for i := range list.Len() {
		values = append(values, scalar(f, list.Get(i), enum))
	}
	return strings.Join(values, ", ")
}

func scalar(f protoreflect.FieldDescriptor, v protoreflect.Value, enum protoreflect.EnumDescriptor) string {
	switch {
	case f.Message() != nil: // a Duration or a Timestamp
		return fmt.Sprintf("%d s", v.Message().Get(field(v.Message(), "seconds")).Int())
	case f.Kind() == protoreflect.StringKind:
		return "`" + v.String() + "`"
	case enum != nil && f.Kind() == protoreflect.Int32Kind:
		if named := enum.Values().ByNumber(protoreflect.EnumNumber(v.Int())); named != nil { //nolint:gosec // it is an int32
			return "`" + string(named.Name()) + "`"
		}
	}
	return thousands(v.String())
}
