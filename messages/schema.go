package messages

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Schema numbers what this program can read of a journal. Whatever adds an
// event, a field or a value that the program before does not know raises it:
// every batch and every snapshot says under which it was written, and a program
// that meets something it does not know says which it needs.
const Schema = 3

// Unknown returns the path of something in m that this program does not know, a
// field or the value of an enum, or "".
func Unknown(m proto.Message) string { return unknown(m.ProtoReflect()) }

func unknown(m protoreflect.Message) (path string) {
	if len(m.GetUnknown()) > 0 {
		return string(m.Descriptor().FullName())
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
			v.Map().Range(func(_ protoreflect.MapKey, one protoreflect.Value) bool {
				path = unknownValue(f.MapValue(), one)
				return path == ""
			})
		case f.IsList():
			for i := range v.List().Len() {
				if path = unknownValue(f, v.List().Get(i)); path != "" {
					break
				}
			}
		default:
			path = unknownValue(f, v)
		}
		return path == ""
	})
	return path
}

func unknownValue(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch {
	case f.Message() != nil:
		return unknown(v.Message())
	case f.Enum() != nil && f.Enum().Values().ByNumber(v.Enum()) == nil:
		return fmt.Sprintf("%s = %d", f.FullName(), v.Enum())
	}
	return ""
}
