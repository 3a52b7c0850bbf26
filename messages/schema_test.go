package messages

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/journal as the schema is now")

// journalText tells everything that a journal can hold, a line each.
func journalText() string {
	lines := map[string]bool{}
	var add func(m protoreflect.MessageDescriptor)
	add = func(m protoreflect.MessageDescriptor) {
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			line := fmt.Sprintf("%s = %d %s %s", f.FullName(), f.Number(), f.Cardinality(), f.Kind())
			if lines[line] {
				continue
			}
			lines[line] = true
			if f.Message() != nil {
				add(f.Message())
			}
			if f.Enum() != nil {
				for v := range f.Enum().Values().Len() {
					lines[fmt.Sprintf("%s %d", f.Enum().Values().Get(v).FullName(), f.Enum().Values().Get(v).Number())] = true
				}
			}
		}
	}
	protoregistry.GlobalFiles.RangeFilesByPackage("marketplace.journal.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Messages().Len() {
			add(f.Messages().Get(i))
		}
		return true
	})
	sorted := make([]string, 0, len(lines))
	for l := range lines {
		sorted = append(sorted, l)
	}
	slices.Sort(sorted)
	return fmt.Sprintf("schema %d\n%s\n", Schema, strings.Join(sorted, "\n"))
}

// TestSchema holds what a journal can hold to the number that it is written
// under: whoever adds to it raises Schema, for an earlier version would misread it.
func TestSchema(t *testing.T) {
	const file = "testdata/journal"
	now := journalText()
	if *rewrite {
		if err := os.WriteFile(file, []byte(now), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	was, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(was) != now {
		t.Errorf("what a journal can hold is not what %s says. Raise Schema if what is there was released, and run this test with -rewrite", file)
	}
}

// TestUnknown finds what this version does not know, wherever it is.
func TestUnknown(t *testing.T) {
	if path := Unknown(&journalv1.Batch{Schema: 4, Records: []*journalv1.Record{{Events: [][]byte{{1}}}}}); path != "" {
		t.Errorf("%s is known", path)
	}
	field := protowire.AppendVarint(protowire.AppendTag(nil, 4000, protowire.VarintType), 1)
	for want, m := range map[string]proto.Message{
		"marketplace.journal.v1.Batch":          with(&journalv1.Batch{}, field),
		"marketplace.journal.v1.Attempt":        &journalv1.Batch{Records: []*journalv1.Record{{}, {Attempt: with(&journalv1.Attempt{}, field)}}},
		"marketplace.v1.Account.runway_level":   &marketplacev1.Account{RunwayLevel: 77},
		"marketplace.journal.v1.LedgerHold":     &journalv1.Book{Holds: map[string]*journalv1.LedgerHold{"x": with(&journalv1.LedgerHold{}, field)}},
		"marketplace.journal.v1.UserDeployment": &journalv1.UserState{Deployments: map[string]*journalv1.UserDeployment{"x": with(&journalv1.UserDeployment{}, field)}},
	} {
		if got := Unknown(m); !strings.HasPrefix(got, want) {
			t.Errorf("%q is told, not %q", got, want)
		}
	}
}

// with adds what nobody knows to a message.
func with[M proto.Message](m M, unknown []byte) M {
	m.ProtoReflect().SetUnknown(unknown)
	return m
}
