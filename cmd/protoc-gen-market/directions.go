package main

import (
	"fmt"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// direction is who says a message. It matters: what clients send is held to the
// rules and may leave fields out, what they hear shows every field.
type direction int

const (
	heard direction = iota // in answers and pushes
	sent                   // in requests
)

// directions says which messages the public methods send and hear, and names
// them for documents and clients.
type directions struct {
	uses  [2]map[protoreflect.FullName]bool
	order []use // each use once, in the order in which methods mention them
}

// use is a message in one direction.
type use struct {
	message *protogen.Message
	dir     direction
}

// newDirections walks through what methods mention. Two messages that documents
// would call the same are a fault.
func newDirections(methods []*method) (*directions, error) {
	d := &directions{}
	for i := range d.uses {
		d.uses[i] = map[protoreflect.FullName]bool{}
	}
	for _, m := range methods {
		d.walk(m.rpc.Input, sent)
		d.walk(m.rpc.Output, heard)
	}
	owners := map[string]protoreflect.FullName{}
	for _, u := range d.order {
		name := d.name(u.message, u.dir)
		if other, taken := owners[name]; taken && other != u.message.Desc.FullName() {
			return nil, fmt.Errorf("%s: message %s: clients would call it %s, as they do %s",
				u.message.Desc.ParentFile().Path(), u.message.Desc.FullName(), name, other)
		}
		owners[name] = u.message.Desc.FullName()
	}
	return d, nil
}

func (d *directions) walk(m *protogen.Message, dir direction) {
	if _, known := wellKnown[m.Desc.FullName()]; known || d.uses[dir][m.Desc.FullName()] {
		return
	}
	d.uses[dir][m.Desc.FullName()] = true
	if !m.Desc.IsMapEntry() {
		d.order = append(d.order, use{m, dir})
	}
	for _, f := range m.Fields {
		if f.Message != nil {
			d.walk(f.Message, dir)
		}
	}
}

// name is what a message is called in a direction: its own name, and for what
// is sent of a message that is also heard, that with Input behind it.
func (d *directions) name(m *protogen.Message, dir direction) string {
	if dir == sent && d.uses[heard][m.Desc.FullName()] {
		return string(m.Desc.Name()) + "Input"
	}
	return string(m.Desc.Name())
}

// public returns the methods that clients may call.
func public(methods []*method) []*method {
	var list []*method
	for _, m := range methods {
		if !m.internal {
			list = append(list, m)
		}
	}
	return list
}
