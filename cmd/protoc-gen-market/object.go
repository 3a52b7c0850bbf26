package main

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// object is a JSON object whose members stay in the order in which they were
// set, so that documents read well and are the same every time.
type object struct {
	names  []string
	values map[string]any
}

// obj returns an object of names and values in turn.
func obj(pairs ...any) *object {
	o := &object{values: map[string]any{}}
	for i := 0; i+1 < len(pairs); i += 2 {
		o.set(fmt.Sprint(pairs[i]), pairs[i+1])
	}
	return o
}

// set adds a member, or replaces its value where it stands, and returns o.
func (o *object) set(name string, value any) *object {
	if _, there := o.values[name]; !there {
		o.names = append(o.names, name)
	}
	o.values[name] = value
	return o
}

// setSome is set for values that say something: empty texts, lists and objects
// are left out.
func (o *object) setSome(name string, value any) *object {
	switch v := value.(type) {
	case string:
		if v == "" {
			return o
		}
	case []string:
		if len(v) == 0 {
			return o
		}
	case *object:
		if v == nil || len(v.names) == 0 {
			return o
		}
	}
	return o.set(name, value)
}

// MarshalJSON writes the members in their order.
func (o *object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, name := range o.names {
		if i > 0 {
			b.WriteByte(',')
		}
		value, err := plainJSON(o.values[name])
		if err != nil {
			return nil, err
		}
		b.WriteString(quote(name) + ":")
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// plainJSON encodes without escaping what only pages of HTML fear.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// document prints a whole file.
func document(o *object) ([]byte, error) {
	text, err := plainJSON(o)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, text, "", "  "); err != nil {
		return nil, fmt.Errorf("indent: %w", err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}
