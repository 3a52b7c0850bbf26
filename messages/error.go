package messages

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// Domain is the domain of every ErrorInfo.
const Domain = "marketplace.threefold.io"

const reasonPrefix = "ERROR_REASON_"

// Error is a refusal: a reason from the catalogue and one sentence for people.
// Nothing was changed by what it answers.
type Error struct {
	Reason   marketplacev1.ErrorReason
	Message  string
	Metadata map[string]string // what a program may want to know, for example required and available
	Fields   []Violation       // the fields at fault, for INVALID_FIELD
	Retry    time.Duration     // when asking again may help; zero: not said
}

// Violation is one field that does not hold what it must.
type Violation struct {
	Field       string // path in the request, in the spelling of JSON
	Description string
}

// Refuse returns an Error.
func Refuse(reason marketplacev1.ErrorReason, format string, args ...any) *Error {
	return &Error{Reason: reason, Message: strings.ToValidUTF8(fmt.Sprintf(format, args...), "\uFFFD")}
}

// RefuseField returns the refusal of one field, spelled as in JSON, with
// INVALID_FIELD. The sentence names the field first.
func RefuseField(field, format string, args ...any) *Error {
	what := fmt.Sprintf(format, args...)
	e := Refuse(marketplacev1.ErrorReason_ERROR_REASON_INVALID_FIELD, "%s: %s", field, what)
	e.Fields = []Violation{{Field: field, Description: what}}
	return e
}

// With adds a key and a value to the metadata and returns e.
func (e *Error) With(key, value string) *Error {
	if e.Metadata == nil {
		e.Metadata = map[string]string{}
	}
	e.Metadata[key] = value
	return e
}

// Error returns the reason and the sentence.
func (e *Error) Error() string { return ReasonName(e.Reason) + ": " + e.Message }

// Is lets errors.Is find a refusal by its reason, whatever its sentence.
func (e *Error) Is(target error) bool {
	t, ok := errors.AsType[*Error](target)
	return ok && t.Reason == e.Reason
}

// ReasonName returns how a reason is spelled on the wire.
func ReasonName(r marketplacev1.ErrorReason) string {
	return strings.TrimPrefix(r.String(), reasonPrefix)
}

var reasonRules = rules()

func rules() map[marketplacev1.ErrorReason]*optionsv1.ReasonRule {
	out := map[marketplacev1.ErrorReason]*optionsv1.ReasonRule{}
	values := marketplacev1.ErrorReason(0).Descriptor().Values()
	for i := range values.Len() {
		v := values.Get(i)
		if rule, ok := proto.GetExtension(v.Options(), optionsv1.E_Reason).(*optionsv1.ReasonRule); ok {
			out[marketplacev1.ErrorReason(v.Number())] = rule
		}
	}
	return out
}

// Rule returns how a reason is told.
func Rule(r marketplacev1.ErrorReason) *optionsv1.ReasonRule { return reasonRules[r] }

// Status returns the error as it crosses processes and the wire.
func (e *Error) Status() *status.Status {
	s := &status.Status{Code: int32(Rule(e.Reason).GetCode()), Message: e.Message}
	s.Details = appendDetail(s.GetDetails(), &errdetails.ErrorInfo{Reason: ReasonName(e.Reason), Domain: Domain, Metadata: e.Metadata})
	if len(e.Fields) > 0 {
		bad := &errdetails.BadRequest{}
		for _, f := range e.Fields {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: f.Field, Description: f.Description})
		}
		s.Details = appendDetail(s.GetDetails(), bad)
	}
	if e.Retry > 0 {
		s.Details = appendDetail(s.GetDetails(), &errdetails.RetryInfo{RetryDelay: durationpb.New(e.Retry)})
	}
	return s
}

// appendDetail adds a message of ours, which always encodes.
func appendDetail(to []*anypb.Any, m proto.Message) []*anypb.Any {
	if d, err := anypb.New(m); err == nil {
		to = append(to, d)
	}
	return to
}

// FromStatus returns the error that a status tells. A status without a reason
// of the catalogue is INTERNAL.
func FromStatus(s *status.Status) *Error {
	e := &Error{Reason: marketplacev1.ErrorReason_ERROR_REASON_INTERNAL, Message: s.GetMessage()}
	for _, d := range s.GetDetails() {
		m, err := d.UnmarshalNew()
		if err != nil {
			continue
		}
		switch m := m.(type) {
		case *errdetails.ErrorInfo:
			if n, ok := marketplacev1.ErrorReason_value[reasonPrefix+m.GetReason()]; ok {
				e.Reason = marketplacev1.ErrorReason(n)
			}
			e.Metadata = m.GetMetadata()
		case *errdetails.BadRequest:
			for _, v := range m.GetFieldViolations() {
				e.Fields = append(e.Fields, Violation{Field: v.GetField(), Description: v.GetDescription()})
			}
		case *errdetails.RetryInfo:
			e.Retry = m.GetRetryDelay().AsDuration()
		}
	}
	return e
}

// AsError returns err as a refusal. What is none is INTERNAL, and its text
// stays out of the answer.
func AsError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return Refuse(marketplacev1.ErrorReason_ERROR_REASON_INTERNAL, "something went wrong here")
}

// JSONRPCCode returns the code of a JSON-RPC error object for a reason:
// the codes of the specification where they fit, else -32000 minus the
// canonical code.
func JSONRPCCode(r marketplacev1.ErrorReason) int {
	switch c := Rule(r).GetCode(); c { //nolint:exhaustive // the rest follow one rule
	case code.Code_UNIMPLEMENTED:
		return -32601
	case code.Code_INVALID_ARGUMENT:
		return -32602
	case code.Code_INTERNAL:
		return -32603
	default:
		return -32000 - int(c)
	}
}
