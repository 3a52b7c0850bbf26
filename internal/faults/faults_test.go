package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// lookAtSource reads the source of the server, which is built beside this test:
// so the test cache sees every change of it.
func lookAtSource(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" && filepath.Ext(path) != ".lua" {
			return err
		}
		_, err = os.Stat(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestFaults suffers every fault for a moment. "make faults" does it for minutes.
func TestFaults(t *testing.T) {
	lookAtSource(t)
	var table bytes.Buffer
	if err := run(t.Context(), options{each: 2 * time.Second, users: 10, pace: 5 * time.Millisecond, once: 4, out: &table}); err != nil {
		t.Errorf("%v\n%s", err, table.String())
	}
	t.Log("\n" + table.String())
}
