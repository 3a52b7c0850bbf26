package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// kindHelpers are what the dispatch functions share. A response that is
// missing must not become an interface that is not nil.
const kindHelpers = `
// decided returns what a command led to; a missing response becomes nil.
func decided[E any, M any, R interface {
	*M
	proto.Message
}](events []E, response R, err error) ([]E, proto.Message, error) {
	if response == nil {
		return events, nil, err
	}
	return events, response, err
}

// answered returns what a read led to; a missing response becomes nil.
func answered[E any, M any, R interface {
	*M
	proto.Message
}](response R, err error) ([]E, proto.Message, error) {
	return decided[E](nil, response, err)
}

// undecided refuses a request that a kind has no method for.
func undecided(kind string, request proto.Message) error {
	return Refuse(marketplacev1.ErrorReason_ERROR_REASON_UNKNOWN_METHOD, "an actor of kind %s does not decide %s",
		kind, proto.MessageName(request))
}
`

// kinds returns the methods that actors decide, by kind. A kind without a
// command is a read model: it has nothing to decide.
func kinds(methods []*method) map[string][]*method {
	all := map[string][]*method{}
	commands := map[string]bool{}
	for _, m := range methods {
		if m.decided() {
			all[m.actor] = append(all[m.actor], m)
			commands[m.actor] = commands[m.actor] || m.command()
		}
	}
	maps.DeleteFunc(all, func(kind string, _ []*method) bool { return !commands[kind] })
	for _, list := range all {
		slices.SortFunc(list, func(a, b *method) int { return strings.Compare(a.rpc.GoName, b.rpc.GoName) })
	}
	return all
}

// printKinds prints what every kind of actor must decide, and who hands it over.
func printKinds(methods []*method) ([]byte, error) {
	var body bytes.Buffer
	imports := map[string]string{}
	all := kinds(methods)
	for _, kind := range slices.Sorted(maps.Keys(all)) {
		printKind(&body, kind, all[kind], imports)
	}
	var b bytes.Buffer
	b.WriteString(generated + "package messages\n\n")
	if len(all) > 0 {
		imports["google.golang.org/protobuf/proto"] = ""
		imports["github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"] = "marketplacev1"
		body.WriteString(kindHelpers)
	}
	printImports(&b, imports)
	b.Write(bytes.TrimSpace(body.Bytes()))
	return gofmt(kindsFile, append(b.Bytes(), '\n'))
}

func printKind(b *bytes.Buffer, kind string, methods []*method, imports map[string]string) {
	name := goCase(kind)
	fmt.Fprintf(b, "\n// %sDecider is what an actor of kind %s must decide: S is its state, E its\n"+
		"// event, C what it may know of the world.\n", name, kind)
	fmt.Fprintf(b, "type %sDecider[S, E, C any] interface {\n", name)
	for _, m := range methods {
		events := "[]E, "
		if m.readOnly {
			events = ""
		}
		b.WriteString(asComment(m.rpc.Comments.Leading, "\t"))
		fmt.Fprintf(b, "\t%s(s S, req *%s, c C) (%s*%s, error)\n",
			m.rpc.GoName, goName(m.rpc.Input, imports), events, goName(m.rpc.Output, imports))
	}
	fmt.Fprintf(b, "}\n\n// Decide%s hands req to the method of d that decides it. An unknown request is\n"+
		"// refused with UNKNOWN_METHOD.\n", name)
	fmt.Fprintf(b, "func Decide%s[S, E, C any](d %sDecider[S, E, C], s S, req proto.Message, c C) ([]E, proto.Message, error) {\n", name, name)
	b.WriteString("\tswitch req := req.(type) {\n")
	for _, m := range methods {
		helper := "decided"
		if m.readOnly {
			helper = "answered[E]"
		}
		fmt.Fprintf(b, "\tcase *%s:\n\t\treturn %s(d.%s(s, req, c))\n", goName(m.rpc.Input, imports), helper, m.rpc.GoName)
	}
	fmt.Fprintf(b, "\tdefault:\n\t\treturn nil, nil, undecided(%q, req)\n\t}\n}\n", kind)
}
