package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRules finds every rule's place in the code, once.
func TestRules(t *testing.T) {
	named := map[string]bool{}
	for _, m := range mutants {
		text, err := os.ReadFile(filepath.Join("..", "..", m.file))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), m.was); n != 1 || m.was == m.is || named[m.rule] {
			t.Errorf("%s: what is to change occurs %d times in %s", m.rule, n, m.file)
		}
		named[m.rule] = true
	}
}
