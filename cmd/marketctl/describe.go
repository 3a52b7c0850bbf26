package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/threefoldtech/cloud-marketplace/messages"
	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
)

func methodsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "methods [PREFIX]", Short: "List the methods", Args: args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
			for _, m := range messages.Methods {
				if m.Internal || len(args) == 1 && !strings.HasPrefix(m.Path, args[0]) {
					continue
				}
				_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", m.Path, sort(m), roles(m), m.Comment)
			}
			return w.Flush()
		},
	}
}

func describeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "describe METHOD", Short: "Describe a method, what it takes and what it answers", Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			m := messages.ByPath(args[0])
			if m == nil {
				return usageError{fmt.Errorf("there is no method %q; see marketctl methods", args[0])}
			}
			out := cmd.OutOrStdout()
			_, _ = fmt.Fprintf(out, "%s: %s, for %s\n\n%s\n\ntakes\n", m.Path, sort(m), roles(m), m.Comment)
			fields(out, m.Request().ProtoReflect().Descriptor(), "  ", 0)
			_, _ = fmt.Fprintln(out, "\nanswers")
			fields(out, m.Response().ProtoReflect().Descriptor(), "  ", 0)
			return nil
		},
	}
}

// sort says what kind of call a method is.
func sort(m *messages.Method) string {
	switch {
	case m.Stream == optionsv1.Stream_STREAM_STATE:
		return "state stream"
	case m.Stream == optionsv1.Stream_STREAM_EVENT:
		return "event stream"
	case m.Command():
		return "command"
	}
	return "read"
}

func roles(m *messages.Method) string {
	names := make([]string, len(m.Roles))
	for i, r := range m.Roles {
		names[i] = strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(r.String(), "ROLE_")), "_", "-")
	}
	return strings.Join(names, ", ")
}

// maxDepth is how deep nested messages are described.
const maxDepth = 4

// fields prints the fields of a message, nested ones below them.
func fields(w io.Writer, d protoreflect.MessageDescriptor, indent string, depth int) {
	if d.Fields().Len() == 0 {
		_, _ = fmt.Fprintln(w, indent+"nothing")
	}
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		_, _ = fmt.Fprintf(w, "%s%s: %s\n", indent, f.JSONName(), typeName(f))
		inner := f.Message()
		if inner != nil && !f.IsMap() && depth < maxDepth && !strings.HasPrefix(string(inner.FullName()), "google.") {
			fields(w, inner, indent+"  ", depth+1)
		}
	}
}

func typeName(f protoreflect.FieldDescriptor) string {
	name := f.Kind().String()
	switch {
	case f.IsMap():
		return "map"
	case f.Kind() == protoreflect.EnumKind:
		values := f.Enum().Values()
		names := make([]string, values.Len())
		for i := range names {
			names[i] = string(values.Get(i).Name())
		}
		name = strings.Join(names, " | ")
	case f.Message() != nil:
		name = string(f.Message().Name())
	case f.Kind() == protoreflect.Int64Kind || f.Kind() == protoreflect.Uint64Kind:
		name += " as a string"
	}
	if f.IsList() {
		name = "list of " + name
	}
	return name
}
