package boltstore_test

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// opKind is what an operation does.
type opKind int

// The kinds of operations.
const (
	opCreate opKind = iota // the file appears in its folder
	opKeep                 // a sync of the folder: the file stays there
	opWrite
	opResize
	opSync
	opName // the file gets its name
	opAck  // somebody was told that a commit is durable
)

// opKinds are the system calls that matter, and what they are made to.
var opKinds = map[string]opKind{
	"openat " + powerStore + powerNew:    opCreate,
	"pwrite64 " + powerStore + powerNew:  opWrite,
	"ftruncate " + powerStore + powerNew: opResize,
	"fsync " + powerStore + powerNew:     opSync,
	"fdatasync " + powerStore + powerNew: opSync,
	"renameat " + powerStore + powerNew:  opName,
	"fsync folder":                       opKeep,
	"pwrite64 " + powerStore:             opWrite,
	"ftruncate " + powerStore:            opResize,
	"fsync " + powerStore:                opSync,
	"fdatasync " + powerStore:            opSync,
	"write " + powerAcks:                 opAck,
}

// op is one operation. Times are lines of the trace.
type op struct {
	kind       opKind
	begin, end int
	offset     int64 // where a write begins, or the new size
	data       []byte
	entity     int
	version    uint64
}

// tracer makes operations of lines.
type tracer struct {
	folder string
	lines  int
	begun  map[string]*op // by thread: what others have interrupted in the trace
	texts  map[string]string
	ops    history
}

// readTrace reads what strace wrote of the files in a folder.
func readTrace(folder string) (history, error) {
	text, err := os.ReadFile(filepath.Join(folder, powerTrace))
	if err != nil {
		return nil, err
	}
	r := tracer{folder: folder, begun: make(map[string]*op), texts: make(map[string]string)}
	for line := range strings.Lines(string(text)) {
		r.lines++
		if err := r.line(strings.TrimSpace(line)); err != nil {
			return nil, fmt.Errorf("line %d of the trace: %w: %.300s", r.lines, err, line)
		}
	}
	if len(r.begun) > 0 {
		return nil, fmt.Errorf("the trace ends within %d system calls", len(r.begun))
	}
	slices.SortStableFunc(r.ops, func(a, b *op) int { return cmp.Compare(a.begin, b.begin) })
	return r.ops, nil
}

// line reads a line: a system call, or one half of one.
func (r *tracer) line(line string) error {
	thread, text, found := strings.Cut(line, " ")
	if !found {
		return errors.New("no thread")
	}
	text = strings.TrimSpace(text)
	if begun, ok := strings.CutSuffix(text, "<unfinished ...>"); ok {
		r.begun[thread], r.texts[thread] = &op{begin: r.lines}, strings.TrimSpace(begun)
		return nil
	}
	o := &op{begin: r.lines}
	if strings.HasPrefix(text, "<... ") {
		_, rest, resumed := strings.Cut(text, " resumed>")
		begun, ok := r.begun[thread]
		if !ok || !resumed {
			return errors.New("the end of nothing")
		}
		o, text = begun, r.texts[thread]+rest
		delete(r.begun, thread)
	}
	o.end = r.lines
	return r.call(o, text)
}

// call notes a system call. One that it does not know is an error: the file
// might have changed by it.
func (r *tracer) call(o *op, text string) error {
	name, rest, opened := strings.Cut(text, "(")
	end := strings.LastIndex(rest, " = ")
	if !opened || end < 0 {
		return errors.New("no system call")
	}
	args := strings.Split(strings.TrimSuffix(strings.TrimSpace(rest[:end]), ")"), ", ")
	kind, known := opKinds[name+" "+r.file(args)]
	if !known {
		return harmless(name, rest)
	}
	o.kind = kind
	err := o.parse(args, rest[end+len(" = "):])
	r.ops = append(r.ops, o)
	return err
}

// harmless fails unless a system call leaves files as they are.
func harmless(name, rest string) error {
	switch name {
	case "close", "epoll_ctl", "fcntl", "flock", "fstat", "getdents64", "lseek", "newfstatat", "openat", "pread64", "read":
		return nil
	case "mmap":
		if !strings.Contains(rest, "PROT_WRITE") {
			return nil
		}
	}
	return fmt.Errorf("%s is not expected", name)
}

// file says which file arguments speak of.
func (r *tracer) file(args []string) string {
	names := map[string]string{r.folder: "folder"}
	for _, name := range []string{powerStore, powerStore + powerNew, powerAcks} {
		names[filepath.Join(r.folder, name)] = name
	}
	for _, arg := range args[:min(2, len(args))] { // A file that is opened comes second.
		_, path, _ := strings.Cut(strings.TrimSuffix(arg, ">"), "<")
		if data, err := unquote(arg); path == "" && err == nil {
			return names[string(data)]
		}
		if data, err := unhex(path); err == nil && names[string(data)] != "" {
			return names[string(data)]
		}
	}
	return ""
}

// parse reads the arguments and the result. Whatever failed is an error.
func (o *op) parse(args []string, result string) (err error) {
	want := 0
	switch o.kind {
	case opCreate:
		return nil
	case opKeep, opSync, opName:
	case opResize:
		o.offset, err = strconv.ParseInt(args[len(args)-1], 10, 64)
	case opWrite:
		o.data, err = unquote(args[1])
		want = len(o.data)
		if err == nil {
			o.offset, err = strconv.ParseInt(args[len(args)-1], 10, 64)
		}
	case opAck:
		var line []byte
		line, err = unquote(args[1])
		want = len(line)
		if err == nil {
			_, err = fmt.Sscanf(string(line), "ack %d %d\n", &o.entity, &o.version)
		}
	}
	if err == nil && result != strconv.Itoa(want) {
		err = fmt.Errorf("the result is not %d", want)
	}
	return err
}

// unquote reads a string argument, which strace may not have cut off.
func unquote(arg string) ([]byte, error) {
	text, begun := strings.CutPrefix(arg, `"`)
	text, ended := strings.CutSuffix(text, `"`)
	if !begun || !ended {
		return nil, errors.New("not a whole string")
	}
	return unhex(text)
}

// unhex reads bytes as strace -xx writes them.
func unhex(text string) ([]byte, error) {
	return hex.DecodeString(strings.ReplaceAll(text, `\x`, ""))
}
