package main

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestArchiveByItself has a server archive all the time, and a person ask for it:
// what is young stays.
func TestArchiveByItself(t *testing.T) {
	c := testConfig(t)
	c.Store.ArchiveEvery = 20 * time.Millisecond
	r := run(t, c)
	if got := credit(t, r, 5); got != 5 {
		t.Fatalf("credit %d", got)
	}
	var said bytes.Buffer
	if err := askServer(t.Context(), c, http.MethodPost, "/archive", &said); err != nil || !strings.Contains(said.String(), "no list is long and old enough") {
		t.Errorf("the server says %q, %v", said.String(), err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		if _, err := os.Stat(filepath.Join(c.Data, archiveFolder)); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the server never archived")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if got := credit(t, r, 0); got != 5 {
		t.Errorf("credit %d", got)
	}
}
