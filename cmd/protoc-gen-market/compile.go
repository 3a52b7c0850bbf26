package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"strings"

	_ "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate" // registers what the schema imports
	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"github.com/bufbuild/protocompile/protoutil"
	_ "google.golang.org/genproto/googleapis/rpc/code"       // registers what the schema imports
	_ "google.golang.org/genproto/googleapis/rpc/errdetails" // registers what the schema imports
	_ "google.golang.org/genproto/googleapis/rpc/status"     // registers what the schema imports
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/pluginpb"
)

// schema is what was compiled.
type schema struct {
	request *pluginpb.CodeGeneratorRequest
	files   []*protogen.File // our own, sorted by path
	types   linker.Resolver  // knows our options
}

// compile compiles every .proto below messages/ in fsys. A failure of the
// compiler names file, line and column.
func compile(ctx context.Context, fsys fs.FS) (*schema, error) {
	names, err := protoFiles(fsys)
	if err != nil {
		return nil, err
	}
	compiler := protocompile.Compiler{
		SourceInfoMode: protocompile.SourceInfoStandard,
		Resolver: protocompile.WithStandardImports(protocompile.CompositeResolver{
			&protocompile.SourceResolver{Accessor: func(name string) (io.ReadCloser, error) {
				return fsys.Open(path.Join(schemaDir, name))
			}},
			protocompile.ResolverFunc(registered),
		}),
	}
	linked, err := compiler.Compile(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("compile the schema: %w", err)
	}
	s := &schema{request: request(names, linked), types: linked.AsResolver()}
	plugin, err := protogen.Options{}.New(s.request)
	if err != nil {
		return nil, fmt.Errorf("name the schema in Go: %w", err)
	}
	for _, name := range names {
		s.files = append(s.files, plugin.FilesByPath[name])
	}
	return s, nil
}

// protoFiles returns the schema's files in order, as they import each other.
func protoFiles(fsys fs.FS) ([]string, error) {
	var names []string
	err := fs.WalkDir(fsys, schemaDir, func(name string, _ fs.DirEntry, err error) error {
		if err == nil && path.Ext(name) == ".proto" {
			names = append(names, strings.TrimPrefix(name, schemaDir+"/"))
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for the schema: %w", err)
	}
	return names, nil
}

// registered finds an imported file in a Go package that this program imports.
func registered(name string) (protocompile.SearchResult, error) {
	file, err := protoregistry.GlobalFiles.FindFileByPath(name)
	if err != nil {
		return protocompile.SearchResult{}, err //nolint:wrapcheck // the compiler compares it
	}
	return protocompile.SearchResult{Proto: protodesc.ToFileDescriptorProto(file)}, nil
}

// request asks a plugin for what follows from the files of these names. It
// keeps comments, and names every file after those that it imports.
func request(names []string, linked linker.Files) *pluginpb.CodeGeneratorRequest {
	req := &pluginpb.CodeGeneratorRequest{FileToGenerate: names, Parameter: new("paths=source_relative")}
	seen := map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		req.ProtoFile = append(req.ProtoFile, protoutil.ProtoFromFileDescriptor(f))
	}
	for _, f := range linked {
		add(f)
	}
	return req
}

// goTypes lets protoc-gen-go make the Go types, in the version of go.mod.
func (s *schema) goTypes(ctx context.Context) (map[string][]byte, error) {
	in, err := proto.MarshalOptions{Deterministic: true}.Marshal(s.request)
	if err != nil {
		return nil, fmt.Errorf("ask protoc-gen-go: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "tool", "protoc-gen-go")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("run protoc-gen-go: %w", err)
	}
	var resp pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &resp); err != nil {
		return nil, fmt.Errorf("read the answer of protoc-gen-go: %w", err)
	}
	if resp.GetError() != "" {
		return nil, errors.New("protoc-gen-go: " + resp.GetError())
	}
	files := map[string][]byte{}
	for _, f := range resp.GetFile() {
		files[path.Join(schemaDir, f.GetName())] = []byte(f.GetContent())
	}
	return files, nil
}
