package main

import (
	"bytes"
	"testing"
	"time"
)

// TestFaults suffers every fault for a moment. "make faults" does it for minutes.
func TestFaults(t *testing.T) {
	var table bytes.Buffer
	if err := run(t.Context(), options{each: 2 * time.Second, users: 10, pace: 5 * time.Millisecond, once: 4, out: &table}); err != nil {
		t.Errorf("%v\n%s", err, table.String())
	}
	t.Log("\n" + table.String())
}
