package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/threefoldtech/cloud-marketplace/internal/rig"
)

// TestAttacks does everything that takes seconds. "make attacks" does the rest, too.
func TestAttacks(t *testing.T) {
	if err := rig.LookAtSource("../.."); err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	if err := run(t.Context(), options{flood: 500 * time.Millisecond, out: &table}); err != nil {
		t.Errorf("%v\n%s", err, table.String())
	} else {
		t.Log("\n" + table.String())
	}
}

// TestDocument holds docs/attacks.md to the attacks there are.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/attacks.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range attacks() {
		if line := "\n| " + a.name + " | " + a.want + " |"; !strings.Contains(string(text), line) || !strings.Contains(string(text), a.known) {
			t.Errorf("docs/attacks.md does not have %s: paste what make attacks prints", a.name)
		}
	}
}
