package messages

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// appendKnown appends a message that JSON spells in a way of its own.
func appendKnown(to []byte, m protoreflect.Message) ([]byte, error) {
	switch m := m.Interface().(type) {
	case *timestamppb.Timestamp:
		if err := m.CheckValid(); err != nil {
			return to, err
		}
		to = m.AsTime().AppendFormat(append(to, '"'), "2006-01-02T15:04:05")
		return append(appendFraction(to, m.GetNanos()), `Z"`...), nil
	case *durationpb.Duration:
		if err := m.CheckValid(); err != nil {
			return to, err
		}
		seconds, nanos := m.GetSeconds(), m.GetNanos()
		to = append(to, '"')
		if seconds < 0 || nanos < 0 {
			to, seconds, nanos = append(to, '-'), -seconds, -nanos
		}
		return append(appendFraction(strconv.AppendInt(to, seconds, 10), nanos), `s"`...), nil
	default:
		return jsonOut.MarshalAppend(to, m)
	}
}

// appendFraction appends what is beyond a second, in three, six or nine digits; nothing if there is none.
func appendFraction(to []byte, nanos int32) []byte {
	if nanos == 0 {
		return to
	}
	at := len(to)
	to = strconv.AppendInt(to, int64(nanos)+1e9, 10) // ten digits, of which the first gives way to the point
	to[at] = '.'
	return bytes.TrimSuffix(bytes.TrimSuffix(to, zeros), zeros)
}

var zeros = []byte("000")

// appendMap appends a map in the order of its keys.
func appendMap(to []byte, f protoreflect.FieldDescriptor, values protoreflect.Map) (_ []byte, err error) {
	keys := make([]protoreflect.MapKey, 0, values.Len())
	values.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, k)
		return true
	})
	slices.SortFunc(keys, func(a, b protoreflect.MapKey) int { return strings.Compare(a.String(), b.String()) })
	to = append(to, '{')
	for i, k := range keys {
		if i > 0 {
			to = append(to, ',')
		}
		if to, err = appendText(to, k.String()); err != nil {
			return to, err
		}
		if to, err = appendValue(append(to, ':'), f.MapValue(), values.Get(k)); err != nil {
			return to, err
		}
	}
	return append(to, '}'), nil
}

var errText = errors.New("a string is not UTF-8")

const hex = "0123456789abcdef"

// appendText appends a string as JSON.
func appendText(to []byte, text string) ([]byte, error) {
	if !utf8.ValidString(text) {
		return to, errText
	}
	to = append(to, '"')
	from := 0
	for i := range len(text) {
		c := text[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		to = append(to, text[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			to = append(to, '\\', c)
		case '\b':
			to = append(to, '\\', 'b')
		case '\f':
			to = append(to, '\\', 'f')
		case '\n':
			to = append(to, '\\', 'n')
		case '\r':
			to = append(to, '\\', 'r')
		case '\t':
			to = append(to, '\\', 't')
		default:
			to = append(to, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		}
	}
	return append(append(to, text[from:]...), '"'), nil
}
