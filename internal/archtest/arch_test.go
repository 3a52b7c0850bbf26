package archtest

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/threefoldtech/cloud-marketplace"

// layerOf returns the row that holds for a package.
func layerOf(pkg string) (layer, bool) {
	i := slices.IndexFunc(layers, func(l layer) bool { return matches(pkg, l.packages) })
	if i < 0 {
		return layer{}, false
	}
	return layers[i], true
}

// TestLayers fails for an import that the dependency table does not allow.
func TestLayers(t *testing.T) {
	for _, f := range goFiles(t, false) {
		if f.test() {
			continue
		}
		l, ok := layerOf(f.folder())
		if !ok {
			t.Errorf("%s: no row of the dependency table is for %s; add one, and a line in ARCHITECTURE.md", f.path, f.folder())
			continue
		}
		for _, imported := range f.imports() {
			if why := l.refuses(imported); why != "" {
				t.Errorf("%s imports %s: %s", f.path, imported, why)
			}
		}
	}
}

// refuses says why a layer may not import a path, or nothing if it may.
func (l layer) refuses(imported string) string {
	local, isLocal := strings.CutPrefix(imported, module+"/")
	host, _, _ := strings.Cut(imported, "/")
	switch {
	case isLocal && !matches(local, l.own...):
		return l.packages + " may import of this module only " + list(l.own)
	case !isLocal && strings.Contains(host, ".") && !matches(imported, l.outside...):
		return l.packages + " may import from outside only " + list(l.outside)
	default:
		return ""
	}
}

func list(patterns []string) string {
	if len(patterns) == 0 {
		return "nothing"
	}
	return strings.Join(patterns, ", ")
}

// TestRefuses makes sure that the table refuses anything at all.
func TestRefuses(t *testing.T) {
	for _, c := range []struct {
		pkg, imported string
		refused       bool
	}{
		{"actors/deployment", module + "/actors/user", true},
		{"actors/deployment", module + "/actors/ledger", false},
		{"actors/deployment", module + "/persistence", true},
		{"actors/deployment", "github.com/asynkron/protoactor-go/actor", true},
		{"actors/deployment", "slices", false},
		{"gateway", module + "/actors/entity", true},
		{"gateway/identity", "github.com/golang-jwt/jwt/v5", false},
		{"gateway", "github.com/golang-jwt/jwt/v5", true},
		{"integrations/stripe", module + "/integrations/grid", true},
		{"persistence", module + "/persistence/boltstore", true},
		{"cmd/protoc-gen-market", module + "/messages", true},
		{"sandbox/world", module + "/messages/marketplace/v1", false},
	} {
		l, ok := layerOf(c.pkg)
		if why := l.refuses(c.imported); !ok || (why != "") != c.refused {
			t.Errorf("%s importing %s: refused %t, want %t (%s)", c.pkg, c.imported, why != "", c.refused, why)
		}
	}
}

// TestKindsArePure fails for a kind of actor that knows of time passing, of
// the outside, of chance or of goroutines: deciding is pure.
func TestKindsArePure(t *testing.T) {
	for _, f := range goFiles(t, false) {
		if l, ok := layerOf(f.folder()); !ok || l.packages != kinds || f.test() {
			continue
		}
		for _, imported := range f.imports() {
			if matches(imported, impure...) {
				t.Errorf("%s imports %s: deciding is pure", f.path, imported)
			}
		}
		ast.Inspect(f.File, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s starts a goroutine: deciding is pure", f.path)
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clockReaders, n.Sel.Name) {
					t.Errorf("%s reads the clock with time.%s: take the time from the environment", f.path, n.Sel.Name)
				}
			}
			return true
		})
	}
}

// folderRow is a heading, an item, or a row of a table in ARCHITECTURE.md that
// begins with the name of a folder and a slash, as in "### `gateway/`" or
// "| `gateway/identity/` |".
var folderRow = regexp.MustCompile("(?m)^(?:#+|\\||-) +`([a-z]+)/(?:[^` ]*/)?`")

// TestArchitectureNamesFolders fails for a top-level folder that
// ARCHITECTURE.md does not name, and for a name in it that is no folder.
func TestArchitectureNamesFolders(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, m := range folderRow.FindAllStringSubmatch(string(text), -1) {
		named[m[1]] = true
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	skip := ignored(t)
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") || slices.Contains(skip, e.Name()) {
			continue
		}
		if !named[e.Name()] {
			t.Errorf("ARCHITECTURE.md does not name %s/", e.Name())
		}
		delete(named, e.Name())
	}
	for name := range named {
		t.Errorf("ARCHITECTURE.md names %s/, which does not exist", name)
	}
}
