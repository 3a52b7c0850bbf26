package boltstore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// powerInspect is set in a process that looks at files.
const powerInspect = "BOLTSTORE_POWER_INSPECT"

// inspection asks an inspector for a look at a file.
type inspection struct {
	Path  string   `json:"path"`
	Acked []uint64 `json:"acked"`
}

// verdict is what it says.
type verdict struct {
	Wrong string `json:"wrong"` // empty if nothing is
}

// inspector is a process that looks at files: what is damaged can take the
// process with it that opens it, for bbolt panics on goroutines of its own.
type inspector struct {
	child     *exec.Cmd
	in        *json.Encoder
	out       *json.Decoder
	stdin     io.Closer
	complaint *bytes.Buffer
}

// inspectTimeout is when a look is taken to have no end.
const inspectTimeout = 20 * time.Second

// inspectForPower answers what is asked on the standard input until it ends.
func inspectForPower(string) error {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var i inspection
		if err := in.Decode(&i); err != nil {
			return nil //nolint:nilerr // It is the end.
		}
		var v verdict
		ctx, cancel := context.WithTimeout(context.Background(), inspectTimeout/2)
		if err := checkRemains(ctx, i.Path, i.Acked); err != nil {
			v = verdict{Wrong: err.Error()}
		}
		cancel()
		if err := out.Encode(v); err != nil {
			return err
		}
	}
}

// start starts the process if there is none.
func (i *inspector) start(t *testing.T) error {
	if i.child != nil {
		return nil
	}
	i.child = exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	i.child.Env = append(os.Environ(), powerInspect+"=1")
	i.complaint = &bytes.Buffer{}
	i.child.Stderr = i.complaint
	stdin, err := i.child.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := i.child.StdoutPipe()
	if err != nil {
		return err
	}
	i.stdin, i.in, i.out = stdin, json.NewEncoder(stdin), json.NewDecoder(stdout)
	return i.child.Start()
}

// inspect looks at a file; nil is none. A process that dies of it is what is wrong.
func (i *inspector) inspect(t *testing.T, path string, file []byte, acked []uint64) (verdict, error) {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil && file != nil {
		err = os.WriteFile(path, file, 0o600)
	}
	if err == nil {
		err = i.start(t)
	}
	if err != nil {
		return verdict{}, err
	}
	timer := time.AfterFunc(inspectTimeout, func() { _ = i.child.Process.Signal(syscall.SIGQUIT) }) // It says where it was.
	defer timer.Stop()
	var v verdict
	err = errors.Join(i.in.Encode(inspection{Path: path, Acked: acked}), i.out.Decode(&v))
	if err != nil {
		v = verdict{Wrong: fmt.Sprintf("the process that looked ended: %v: %.1000s", i.stop(), i.complaint)}
	}
	return v, nil
}

// stop ends the process.
func (i *inspector) stop() error {
	if i.child == nil {
		return nil
	}
	_ = i.stdin.Close()
	err := i.child.Wait()
	i.child = nil
	return err
}
