package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// keyKinds says which keys there are, by the fields of the option's oneof,
// and how the route table calls them.
var keyKinds = map[string]string{
	"": "KeyNone", "caller": "KeyCaller", "field": "KeyField", "new": "KeyNew", "singleton": "KeySingleton",
}

// kebab is how paths, methods and kinds of actors are spelled.
var kebab = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

const streamless = "STREAM_UNSPECIFIED"

// checkService returns what is wrong with the options of a service.
func checkService(f *protogen.File, s *protogen.Service, r serviceRule) error {
	var faults []error
	fault := func(option, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: service %s: (marketplace.options.v1.service)%s %s",
			f.Desc.Path(), s.Desc.Name(), option, fmt.Sprintf(format, args...)))
	}
	switch {
	case r.internal && r.session:
		fault(".internal", "contradicts session: a session answers people")
	case r.internal && r.path != "":
		fault(".path", "must not be set on an internal service, which has no name on the wire")
	case !r.internal && !kebab.MatchString(r.path):
		fault(".path", "must be a name in kebab case, not %q", r.path)
	}
	if r.internal && len(r.roles) > 0 {
		fault(".roles", "must not be set on an internal service, which nobody has a role for")
	}
	if r.session && r.actor != "" {
		fault(".actor", "must not be set where the session answers")
	}
	if slices.Contains(r.roles, "ROLE_UNSPECIFIED") {
		fault(".roles", "must not hold ROLE_UNSPECIFIED")
	}
	return errors.Join(faults...)
}

// check returns what is wrong with the options of a method.
func (m *method) check() error {
	var faults []error
	fault := func(option, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: rpc %s.%s: %s %s",
			m.file.Desc.Path(), m.service.Desc.Name(), m.rpc.Desc.Name(), option, fmt.Sprintf(format, args...)))
	}
	if m.rpc.Desc.IsStreamingClient() {
		fault("stream", "of requests is not something that the protocol has")
	}
	m.checkWho(fault)
	m.checkKey(fault)
	m.checkStream(fault)
	return errors.Join(faults...)
}

// fault notes what is wrong with an option.
type fault func(option, format string, args ...any)

func (m *method) checkWho(fault fault) {
	switch {
	case m.internal && len(m.rule.roles) > 0:
		fault("(marketplace.options.v1.method).roles", "must not be set in an internal service, which nobody has a role for")
	case !m.internal && !m.session && len(m.roles) == 0:
		fault("(marketplace.options.v1.method).roles", "must say who may call it, here or for the whole service")
	case slices.Contains(m.rule.roles, "ROLE_UNSPECIFIED"):
		fault("(marketplace.options.v1.method).roles", "must not hold ROLE_UNSPECIFIED")
	}
	switch {
	case m.internal && m.rule.name != "":
		fault("(marketplace.options.v1.method).name", "must not be set in an internal service, which has no names on the wire")
	case m.rule.name != "" && !kebab.MatchString(m.rule.name):
		fault("(marketplace.options.v1.method).name", "must be a name in kebab case, not %q", m.rule.name)
	}
	switch {
	case m.session && m.rule.actor != "":
		fault("(marketplace.options.v1.method).actor", "must not be set where the session answers")
	case !m.session && m.actor == "":
		fault("(marketplace.options.v1.method).actor", "must say which kind of actor answers, here or for the whole service")
	case !m.session && !kebab.MatchString(m.actor):
		fault("(marketplace.options.v1.method).actor", "must be a name in kebab case, not %q", m.actor)
	}
}

func (m *method) checkKey(fault fault) {
	switch {
	case m.session && m.rule.key != "":
		fault("(marketplace.options.v1.method)."+m.rule.key, "must not be set where the session answers")
	case m.session && m.rule.creates:
		fault("(marketplace.options.v1.method).creates", "must not be set where the session answers")
	case !m.session && m.rule.key == "":
		fault("(marketplace.options.v1.method).key", "must say which actor answers: caller, field, new or singleton")
	case m.rule.key == "field":
		f := m.rpc.Desc.Input().Fields().ByName(protoreflect.Name(m.rule.keyName))
		if f == nil {
			fault("(marketplace.options.v1.method).field", "names %q, which %s does not have", m.rule.keyName, m.rpc.Desc.Input().Name())
		} else if f.Kind() != protoreflect.StringKind || f.IsList() {
			fault("(marketplace.options.v1.method).field", "names %s.%s, which is not a string", m.rpc.Desc.Input().Name(), f.Name())
		}
	case m.rule.key == "new" && !m.rule.creates:
		fault("(marketplace.options.v1.method).new", "names an actor that never was, and so needs creates")
	case m.rule.key == "new" && !m.command():
		fault("(marketplace.options.v1.method).new", "is derived from a command id, which only a command has")
	case m.rule.key == "singleton" && m.rule.keyName == "":
		fault("(marketplace.options.v1.method).singleton", "must be the name of the actor")
	}
}

func (m *method) checkStream(fault fault) {
	streaming := m.rpc.Desc.IsStreamingServer()
	switch {
	case streaming && m.rule.stream == streamless:
		fault("(marketplace.options.v1.method).stream", "must be STREAM_STATE or STREAM_EVENT, for the rpc returns a stream")
	case !streaming && m.rule.stream != streamless:
		fault("(marketplace.options.v1.method).stream", "must not be set, for the rpc returns no stream")
	case m.session && streaming:
		fault("(marketplace.options.v1.method).stream", "must not be set where the session answers, for only actors are watched")
	}
	switch {
	case m.rule.stream == "STREAM_EVENT" && m.rule.list == "":
		fault("(marketplace.options.v1.method).list", "must name the list that keeps the items of an EVENT stream")
	case m.rule.stream == "STREAM_STATE" && m.rule.list != "":
		fault("(marketplace.options.v1.method).list", "must not be set on a STATE stream, which shows a view")
	case m.rule.list != "" && m.session:
		fault("(marketplace.options.v1.method).list", "must not be set where the session answers, which keeps no lists")
	case m.rule.list != "" && m.command():
		fault("(marketplace.options.v1.method).list", "must not be set on a command; a read that pages a list is NO_SIDE_EFFECTS")
	}
}

// unique returns which methods share what each must have for itself: a name
// on the wire, a request, a response, and a name among its kind's.
func unique(methods []*method) error {
	var faults []error
	owners := map[string]*method{}
	take := func(m *method, what, whose string) {
		if first := owners[what]; first != nil {
			faults = append(faults, fmt.Errorf("%s: rpc %s.%s: %s %s is that of %s already",
				m.file.Desc.Path(), m.service.Desc.Name(), m.rpc.Desc.Name(), whose, what, first.rpc.Desc.FullName()))
		}
		owners[what] = m
	}
	for _, m := range methods {
		if m.path != "" {
			take(m, m.path, "(marketplace.options.v1.method).name")
		}
		if m.decided() {
			take(m, m.actor+"."+m.rpc.GoName, "(marketplace.options.v1.method).actor")
		}
		take(m, string(m.rpc.Desc.Input().FullName()), "request")
		take(m, string(m.rpc.Desc.Output().FullName()), "response")
	}
	return errors.Join(faults...)
}
