package messages

import (
	"regexp"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// The one JSON setting of all doors: what is sent shows zero values, what is
// taken has no unknown fields and is not nested deeper than 32.
var (
	jsonOut = protojson.MarshalOptions{EmitDefaultValues: true}
	jsonIn  = protojson.UnmarshalOptions{RecursionLimit: 32}
)

// jsonField finds the field that the library's error names.
var jsonField = regexp.MustCompile(`(?:^|[) ])(?:invalid value for \w+ field|unknown field|duplicate field) "?([A-Za-z_][\w.]*)"?`)

// AppendJSON appends m as JSON, without white space.
func AppendJSON(to []byte, m proto.Message) ([]byte, error) {
	return appendMessage(to, m.ProtoReflect())
}

// ParseJSON reads JSON into m. A failure is a refusal with MALFORMED_REQUEST.
func ParseJSON(text []byte, m proto.Message) error {
	if err := jsonIn.Unmarshal(text, m); err != nil {
		e := Refuse(marketplacev1.ErrorReason_ERROR_REASON_MALFORMED_REQUEST, "%s", jsonProblem(err))
		if named := jsonField.FindStringSubmatch(e.Message); named != nil {
			e.Fields = []Violation{{Field: named[1], Description: e.Message}}
		}
		return e
	}
	return nil
}

// jsonProblem takes the library's name off its error, whose white space varies on purpose.
func jsonProblem(err error) string {
	text := err.Error()
	for i, r := range text {
		if r == ':' {
			rest := text[i+1:]
			for len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\t') {
				rest = rest[1:]
			}
			if len(rest) > 2 && rest[:2] == "\u00a0" {
				rest = rest[2:]
			}
			return rest
		}
	}
	return text
}
