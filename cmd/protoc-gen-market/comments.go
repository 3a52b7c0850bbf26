package main

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// uncommented returns which elements of the schema say nothing about themselves.
// Their comments are printed in the manual and in the Go types.
func (s *schema) uncommented() error {
	var c commentCheck
	for _, f := range s.files {
		c.enums(f.Enums)
		c.messages(f.Messages)
		c.extensions(f.Extensions)
		for _, service := range f.Services {
			c.need("service", service.Desc, service.Comments)
			for _, rpc := range service.Methods {
				c.need("rpc", rpc.Desc, rpc.Comments)
			}
		}
	}
	return errors.Join(c.faults...)
}

type commentCheck struct{ faults []error }

func (c *commentCheck) need(what string, d protoreflect.Descriptor, comments protogen.CommentSet) {
	if oneLine(comments.Leading) == "" {
		c.faults = append(c.faults, fmt.Errorf("%s: %s %s has no comment", d.ParentFile().Path(), what, d.FullName()))
	}
}

func (c *commentCheck) enums(enums []*protogen.Enum) {
	for _, e := range enums {
		c.need("enum", e.Desc, e.Comments)
		for _, v := range e.Values {
			c.need("enum value", v.Desc, v.Comments)
		}
	}
}

func (c *commentCheck) messages(messages []*protogen.Message) {
	for _, m := range messages {
		if m.Desc.IsMapEntry() {
			continue
		}
		c.need("message", m.Desc, m.Comments)
		for _, f := range m.Fields {
			c.need("field", f.Desc, f.Comments)
		}
		for _, o := range m.Oneofs {
			if !o.Desc.IsSynthetic() {
				c.need("oneof", o.Desc, o.Comments)
			}
		}
		c.enums(m.Enums)
		c.messages(m.Messages)
		c.extensions(m.Extensions)
	}
}

func (c *commentCheck) extensions(extensions []*protogen.Extension) {
	for _, x := range extensions {
		c.need("extension", x.Desc, x.Comments)
	}
}
