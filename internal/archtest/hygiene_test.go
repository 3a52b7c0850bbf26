package archtest

import (
	"go/ast"
	"strings"
	"testing"
)

// maxLines is how long a hand-written file of Go may be.
const maxLines = 400

// TestPackageComments fails for a package that does not say what it is.
// Packages that hold only generated files are excused.
func TestPackageComments(t *testing.T) {
	said := map[string]bool{}
	for _, f := range goFiles(t, true) {
		if !f.test() {
			said[f.folder()] = said[f.folder()] || f.Doc != nil || ast.IsGenerated(f.File)
		}
	}
	for folder, ok := range said {
		if !ok {
			t.Errorf("%s has no package comment", folder)
		}
	}
}

// TestFilesAreShort fails for a hand-written file that should be two.
func TestFilesAreShort(t *testing.T) {
	for _, f := range goFiles(t, true) {
		if lines := strings.Count(f.text, "\n"); lines > maxLines && !ast.IsGenerated(f.File) {
			t.Errorf("%s has %d lines; it may have %d", f.path, lines, maxLines)
		}
	}
}

// TestGeneratedFilesSaySo fails for a generated file that somebody might edit.
func TestGeneratedFilesSaySo(t *testing.T) {
	for _, f := range files(t, ".pb.go", ".gen.go", ".gen.ts", "docs/PROTOCOL.md") {
		if first, _, _ := strings.Cut(f.text, "\n"); !strings.Contains(first, "DO NOT EDIT") {
			t.Errorf("%s is generated and does not say DO NOT EDIT in its first line", f.path)
		}
	}
}

// TestNoLocalPaths fails for a file that names a folder of somebody's machine.
func TestNoLocalPaths(t *testing.T) {
	local := []string{"/" + "tmp/", "/" + "work/", "/" + "root/", "/" + "home/", "../" + "shared"}
	for _, f := range files(t) {
		if strings.HasPrefix(f.path, "web/dist/") || strings.ContainsRune(f.text, 0) {
			continue // bundled or not text
		}
		for _, p := range local {
			if before, _, found := strings.Cut(f.text, p); found {
				t.Errorf("%s:%d holds %s, a path of one machine", f.path, strings.Count(before, "\n")+1, p)
			}
		}
	}
}
