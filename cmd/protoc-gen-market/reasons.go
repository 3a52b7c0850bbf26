package main

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/protobuf/compiler/protogen"
)

const reasonsEnum = "marketplace.v1.ErrorReason"

// reason is a value of the error catalogue.
type reason struct {
	name, code, comment string
	http                uint64
	jsonRPC             int
	retry               bool
}

// reasons returns the error catalogue in the order of the schema, or what is
// wrong with it.
func (s *schema) reasons() ([]reason, error) {
	var list []reason
	var faults []error
	for _, value := range s.reasonValues() {
		v, err := s.option(value.Desc, "reason")
		if err != nil {
			return nil, err
		}
		if !v.IsValid() {
			faults = append(faults, fmt.Errorf("%s: enum value %s: (marketplace.options.v1.reason) is missing",
				value.Desc.ParentFile().Path(), value.Desc.Name()))
			continue
		}
		m := v.Message()
		r := reason{
			name: strings.TrimPrefix(string(value.Desc.Name()), "ERROR_REASON_"), code: enum(m, "code"),
			comment: oneLine(value.Comments.Leading),
			http:    m.Get(field(m, "http_status")).Uint(), retry: flag(m, "retry"),
		}
		r.jsonRPC = jsonRPCCode(code.Code(code.Code_value[r.code]))
		if r.code == code.Code_OK.String() || r.http < 400 || r.http > 599 {
			faults = append(faults, fmt.Errorf("%s: enum value %s: (marketplace.options.v1.reason) must have the code and the HTTP status of an error",
				value.Desc.ParentFile().Path(), value.Desc.Name()))
		}
		list = append(list, r)
	}
	return list, errors.Join(faults...)
}

// badReasons returns what is wrong with the error catalogue.
func (s *schema) badReasons() error {
	_, err := s.reasons()
	return err
}

// reasonValues returns the values of the catalogue but for zero, which is never sent.
func (s *schema) reasonValues() []*protogen.EnumValue {
	for _, f := range s.files {
		for _, e := range f.Enums {
			if e.Desc.FullName() == reasonsEnum {
				return e.Values[1:]
			}
		}
	}
	return nil
}

// jsonRPCCode is messages.JSONRPCCode, which this program must not import.
func jsonRPCCode(c code.Code) int {
	switch c { //nolint:exhaustive // the rest follow one rule
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
