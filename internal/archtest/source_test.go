package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// file is a file of the repository.
type file struct {
	path string // from the root, with slashes
	text string
}

// goFile is a file of Go, parsed.
type goFile struct {
	file
	*ast.File
}

// folder is the package that f is part of.
func (f *goFile) folder() string { return path.Dir(f.path) }

func (f *goFile) test() bool { return strings.HasSuffix(f.path, "_test.go") }

// imports returns the paths that f imports.
func (f *goFile) imports() []string {
	var paths []string
	for _, spec := range f.Imports {
		paths = append(paths, strings.Trim(spec.Path.Value, `"`))
	}
	return paths
}

const root = "../.."

// ignored returns the folders that .gitignore names from the root.
func ignored(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, ".gitignore"))
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "/") && strings.HasSuffix(line, "/") {
			folders = append(folders, strings.Trim(line, "/"))
		}
	}
	return folders
}

// files returns every file of the repository whose name ends like one of
// these, or every file. What git does not keep is left out.
func files(t *testing.T, endings ...string) []file {
	t.Helper()
	var all []file
	skip := ignored(t)
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if d.Name() == ".git" || d.Name() == "node_modules" || slices.Contains(skip, rel) {
				return filepath.SkipDir
			}
			return nil
		}
		wanted := len(endings) == 0 || slices.ContainsFunc(endings, func(e string) bool { return strings.HasSuffix(rel, e) })
		if !d.Type().IsRegular() || !wanted {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		all = append(all, file{rel, string(text)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// goFiles returns every file of Go. Modules of their own are left out unless
// nested is set.
func goFiles(t *testing.T, nested bool) []*goFile {
	t.Helper()
	var modules []string
	for _, f := range files(t, "/go.mod") {
		modules = append(modules, path.Dir(f.path)+"/")
	}
	var all []*goFile
	for _, f := range files(t, ".go") {
		own := slices.ContainsFunc(modules, func(m string) bool { return strings.HasPrefix(f.path, m) })
		if own && !nested || strings.Contains(f.path, "testdata/") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f.path, f.text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, &goFile{f, parsed})
	}
	if len(all) == 0 {
		t.Fatal("found no Go at all: the tests look in the wrong folder")
	}
	return all
}

// matches says whether an import path or a package matches one of patterns.
func matches(name string, patterns ...string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		tree, isTree := strings.CutSuffix(p, "/...")
		return p == "*" || name == p || isTree && (name == tree || strings.HasPrefix(name, tree+"/"))
	})
}
