package messages

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// Check holds the route table and the error catalogue to the rules that the
// generator holds the schema to, and both to the types that are linked in. A
// server calls it before it listens: nobody is to reach a method that has no
// role, no actor or no key. The error joins everything that is wrong.
func Check() error {
	return errors.Join(checkTable(Methods), checkComplete(Methods), checkReasons())
}

// checkTable returns what is wrong with the rows of a route table.
func checkTable(methods []*Method) error {
	var faults []error
	taken := map[string]string{}
	for _, m := range methods {
		faults = append(faults, m.check())
		for _, name := range []string{m.Name, m.Path} {
			if first, ok := taken[name]; ok && name != "" {
				faults = append(faults, fmt.Errorf("%s: %s is that of %s already", m.Name, name, first))
			}
			taken[name] = m.Name
		}
	}
	return errors.Join(faults...)
}

// check returns what is wrong with one row.
func (m *Method) check() error {
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(m.Name))
	rpc, ok := d.(protoreflect.MethodDescriptor)
	if err != nil || !ok {
		return fmt.Errorf("%s: the schema has no such rpc", m.Name)
	}
	var faults []error
	fault := func(wrong bool, what string) {
		if wrong {
			faults = append(faults, fmt.Errorf("%s: %s", m.Name, what))
		}
	}
	fault(m.Request == nil || messageName(m.Request()) != rpc.Input().FullName(), "the request is not that of the schema")
	fault(m.Response == nil || messageName(m.Response()) != rpc.Output().FullName(), "the response is not that of the schema")
	fault(rpc.IsStreamingClient(), "a stream of requests is not something that the protocol has")
	m.checkWho(fault)
	m.checkKey(fault, rpc.Input())
	if m.Request != nil {
		checkSealed(m, fault)
	}
	m.checkStream(fault, rpc.IsStreamingServer(), rpc.Output())
	if m.Response != nil && !m.Internal && !m.Session && !m.OperatorsOnly() {
		checkAudience(rpc.Output(), fault)
	}
	return errors.Join(faults...)
}

// messageName is the name of m, or nothing for nil.
func messageName(m proto.Message) protoreflect.FullName {
	if m == nil {
		return ""
	}
	return m.ProtoReflect().Descriptor().FullName()
}

// checkWho checks who may call the method and who answers it.
func (m *Method) checkWho(fault func(bool, string)) {
	fault(m.Internal && m.Session, "an internal method cannot be the session's, which answers people")
	fault(m.Internal && (m.Path != "" || len(m.Roles) > 0), "an internal method has no name on the wire and no roles")
	fault(!m.Internal && strings.Count(m.Path, "/") != 1, "the name on the wire is not a path and a method")
	fault(!m.Internal && !m.Session && len(m.Roles) == 0, "nobody may call it: it has no role")
	fault(slices.Contains(m.Roles, optionsv1.Role_ROLE_UNSPECIFIED), "ROLE_UNSPECIFIED is nobody's role")
	fault(!m.Session && m.Actor == "", "nobody answers it: it has no actor")
	fault(m.Session && (m.Actor != "" || m.Key != KeyNone || m.Creates || m.List != ""), "the session answers it, not an actor")
}

// checkKey checks where the id of the actor comes from.
func (m *Method) checkKey(fault func(bool, string), request protoreflect.MessageDescriptor) {
	fault(!m.Session && m.Key == KeyNone, "nobody can tell which actor answers it: it has no key")
	fault(m.Key == KeySingleton && !ValidID(m.KeyName), "the singleton's name is no possible id")
	fault(m.Key == KeyNew && !m.Creates, "an actor under a new key never was, and creates is not set")
	fault(m.Key == KeyNew && !m.Command(), "a new key is derived from a command id, which only a command has")
	if m.Key == KeyField {
		f := request.Fields().ByName(protoreflect.Name(m.KeyName))
		fault(f == nil, fmt.Sprintf("the key %q is not a field of the request", m.KeyName))
		fault(f != nil && (f.Kind() != protoreflect.StringKind || f.IsList()), fmt.Sprintf("the key %q is not a string", m.KeyName))
	}
}

// checkStream checks what a subscription promises and what a list is for.
func (m *Method) checkStream(fault func(bool, string), streaming bool, response protoreflect.MessageDescriptor) {
	declared := m.Streams()
	fault(streaming && !declared, "it is a stream and does not say what it promises")
	fault(declared && !streaming, "it is no stream and promises what one does")
	fault(streaming && m.Session, "the session answers it, and only actors are watched")
	fault(m.Stream == optionsv1.Stream_STREAM_EVENT && m.List == "", "an EVENT stream needs a list that keeps its items")
	fault(m.Stream == optionsv1.Stream_STREAM_STATE && m.List != "", "a STATE stream shows a view, not a list")
	fault(m.List != "" && m.Command(), "a command pages no list")
	if m.List != "" && !streaming && !m.Command() {
		items := response.Fields().ByJSONName(m.List)
		fault(items == nil || !items.IsList() || items.Message() == nil, fmt.Sprintf("the list %q is not a repeated message of the response", m.List))
	}
}

// checkComplete returns which rpcs of the schema have no row.
func checkComplete(methods []*Method) error {
	rows := map[string]bool{}
	for _, m := range methods {
		rows[m.Name] = true
	}
	var faults []error
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		if !strings.HasPrefix(string(file.Package()), "marketplace.") {
			return true
		}
		for i := range file.Services().Len() {
			rpcs := file.Services().Get(i).Methods()
			for j := range rpcs.Len() {
				if name := string(rpcs.Get(j).FullName()); !rows[name] {
					faults = append(faults, fmt.Errorf("%s: the route table has no row for it", name))
				}
			}
		}
		return true
	})
	return errors.Join(faults...)
}

// checkReasons returns which reasons for an error nobody could tell.
func checkReasons() error {
	var faults []error
	values := marketplacev1.ErrorReason(0).Descriptor().Values()
	for i := range values.Len() {
		r := marketplacev1.ErrorReason(values.Get(i).Number())
		if r == marketplacev1.ErrorReason_ERROR_REASON_UNSPECIFIED {
			continue
		}
		if rule := Rule(r); rule.GetCode() == 0 || rule.GetHttpStatus() < 400 || rule.GetHttpStatus() > 599 {
			faults = append(faults, fmt.Errorf("%s: the reason has no code or HTTP status of an error", r))
		}
	}
	return errors.Join(faults...)
}
