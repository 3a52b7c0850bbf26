// Command protoc-gen-market turns the schema below messages/ into everything
// that follows from it: the Go types, the route table, the interfaces that
// kinds of actors implement, docs/PROTOCOL.md, the descriptions of the API in
// OpenAPI and AsyncAPI, and the types of the TypeScript client.
//
// It needs nothing but Go. It reads the options of the schema from the
// descriptors it has just compiled and never from their generated Go code, so
// that it also runs where that code is missing or broken.
//
// # Failure
//
// A schema that breaks a rule of the house is refused with one sentence for
// each fault, and nothing is written.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	schemaDir   = "messages"
	methodsFile = "messages/methods.gen.go"
	kindsFile   = "messages/kinds.gen.go"
	prefaceFile = "docs/protocol-preface.md"
	manualFile  = "docs/PROTOCOL.md"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run generates into the module that the working directory is part of.
func run(ctx context.Context) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	files, err := generate(ctx, os.DirFS(root))
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := write(filepath.Join(root, name), files[name]); err != nil {
			return err
		}
	}
	return removeStale(root, files)
}

// generate returns the content of every generated file of the module in fsys,
// by its path from the module's root.
func generate(ctx context.Context, fsys fs.FS) (map[string][]byte, error) {
	s, err := compile(ctx, fsys)
	if err != nil {
		return nil, err
	}
	methods, err := s.methods()
	if err := errors.Join(err, s.uncommented(), s.badReasons()); err != nil {
		return nil, err
	}
	files, err := s.goTypes(ctx)
	if err != nil {
		return nil, err
	}
	if files[methodsFile], err = printMethods(methods); err != nil {
		return nil, err
	}
	if files[kindsFile], err = printKinds(methods); err != nil {
		return nil, err
	}
	preface, err := fs.ReadFile(fsys, prefaceFile)
	if err != nil {
		return nil, fmt.Errorf("read the preface of the manual: %w", err)
	}
	return files, s.documents(files, preface, methods)
}

// moduleRoot returns the closest folder upwards that holds a go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find the module: no go.mod here or above")
		}
		dir = parent
	}
}

// write leaves a file alone that is as it should be, so that builds stay cached.
func write(name string, content []byte) error {
	if old, err := os.ReadFile(name); err == nil && bytes.Equal(old, content) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil { //nolint:gosec // source is for everyone to read
		return fmt.Errorf("write what was generated: %w", err)
	}
	if err := os.WriteFile(name, content, 0o644); err != nil { //nolint:gosec // source is for everyone to read
		return fmt.Errorf("write what was generated: %w", err)
	}
	fmt.Println(name)
	return nil
}

// removeStale removes Go types whose part of the schema is gone.
func removeStale(root string, files map[string][]byte) error {
	stale, err := staleTypes(os.DirFS(root), files)
	if err != nil {
		return err
	}
	for _, name := range stale {
		if err := os.Remove(filepath.Join(root, name)); err != nil {
			return fmt.Errorf("remove what is no longer generated: %w", err)
		}
		fmt.Println(name, "removed")
	}
	return nil
}

// staleTypes returns the generated Go types in fsys that files does not hold.
func staleTypes(fsys fs.FS, files map[string][]byte) ([]string, error) {
	var stale []string
	err := fs.WalkDir(fsys, schemaDir, func(name string, _ fs.DirEntry, err error) error {
		if _, current := files[name]; err == nil && strings.HasSuffix(name, ".pb.go") && !current {
			stale = append(stale, name)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for what is no longer generated: %w", err)
	}
	return stale, nil
}
