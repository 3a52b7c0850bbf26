package boltstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// recorded runs the load under strace and returns what it did to its file.
func recorded(t *testing.T) history {
	t.Helper()
	folder := *powerFrom
	if folder == "" {
		folder = record(t)
	}
	h, err := readTrace(folder)
	if err == nil {
		err = complete(h, filepath.Join(folder, powerStore))
	}
	if err != nil {
		t.Fatalf("the trace is not what was done: %v", err)
	}
	return h
}

// record runs the load under strace in a new folder, which stays if the test
// fails. Every system call that names a file or uses one is looked at, so that
// no way to change ours is missed.
func record(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "powerloss") //nolint:usetesting // It has to stay.
	if err == nil {
		folder, err = filepath.EvalSymlinks(folder) // as strace will call it
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the trace stays, for -power-trace %s", folder)
		} else if err := os.RemoveAll(folder); err != nil {
			t.Error(err)
		}
	})
	child := exec.CommandContext(t.Context(), "strace", "-f", "-qq", "-y", "-xx", "-s", "16777216", "--seccomp-bpf",
		"-e", "trace=%file,%desc", "-e", "signal=none", "-o", filepath.Join(folder, powerTrace),
		"-P", folder, "-P", filepath.Join(folder, powerStore), "-P", filepath.Join(folder, powerStore+powerNew), "-P", filepath.Join(folder, powerAcks),
		os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), powerLoad+"="+folder)
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("commit under strace, which has to be installed: %v\n%s", err, out)
	}
	return folder
}

// complete fails unless a history leads to the file that is there and to the end
// of the load.
func complete(h history, path string) error {
	want, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	made := 0
	for _, o := range h {
		if o.kind == opCreate {
			made++
		}
	}
	if made != 1 || h[0].kind != opCreate {
		return errors.New("the file is not made first, and once")
	}
	var file []byte
	for _, o := range h {
		file = o.whole(file)
	}
	if !bytes.Equal(file, want) {
		return errors.New("it leads to another file")
	}
	for entity, version := range h.acked(h[len(h)-1].begin + 1) {
		if version != powerVersions(entity) {
			return fmt.Errorf("%s ends at version %d", powerEntity(entity), version)
		}
	}
	return nil
}
