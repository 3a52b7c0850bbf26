package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/threefoldtech/cloud-marketplace/internal/rig"
)

// TestSoak soaks for a moment. "make soak" does so for minutes, with thousands.
func TestSoak(t *testing.T) {
	if err := rig.LookAtSource("../.."); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	if err := run(t.Context(), options{each: 20 * time.Second, connections: 500, churn: 50, slow: 4, out: &said}); err != nil {
		t.Errorf("%v\n%s", err, said.String())
	}
	t.Log("\n" + said.String())
}
