package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/threefoldtech/cloud-marketplace/internal/rig"
)

// TestFaults suffers every fault for a moment. "make faults" does it for minutes.
func TestFaults(t *testing.T) {
	if err := rig.LookAtSource("../.."); err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	if err := run(t.Context(), options{each: 2 * time.Second, users: 10, pace: 5 * time.Millisecond, once: 4, out: &table}); err != nil {
		t.Errorf("%v\n%s", err, table.String())
	}
	t.Log("\n" + table.String())
}
