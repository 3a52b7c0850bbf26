package messages

import (
	"errors"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// Validate holds a request to the rules that its schema declares. A failure is
// a refusal with INVALID_FIELD that names every field at fault.
func Validate(m proto.Message) error {
	if m.ProtoReflect().Descriptor().Fields().Len() == 0 {
		return nil // there is nothing to be wrong
	}
	err := protovalidate.Validate(m)
	if err == nil {
		return nil
	}
	var invalid *protovalidate.ValidationError
	if !errors.As(err, &invalid) {
		return err
	}
	e := Refuse(marketplacev1.ErrorReason_ERROR_REASON_INVALID_FIELD, "")
	said := make([]string, 0, len(invalid.Violations))
	for _, v := range invalid.Violations {
		f := Violation{Field: jsonPath(v.Proto.GetField()), Description: v.Proto.GetMessage()}
		e.Fields = append(e.Fields, f)
		said = append(said, strings.TrimSpace(f.Field+" "+f.Description))
	}
	e.Message = strings.Join(said, "; ")
	return e
}

// jsonPath spells a path of fields as JSON does.
func jsonPath(p *validate.FieldPath) string {
	names := make([]string, 0, len(p.GetElements()))
	for _, e := range p.GetElements() {
		names = append(names, lowerCamel(e.GetFieldName()))
	}
	return strings.Join(names, ".")
}

// lowerCamel turns a field's name in the schema into its name in JSON.
func lowerCamel(name string) string {
	var b strings.Builder
	up := false
	for _, r := range name {
		switch {
		case r == '_':
			up = true
		case up:
			b.WriteString(strings.ToUpper(string(r)))
			up = false
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
