// Package layers checks which packages may import which.
package layers

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// allowed has, for each package of the library, what its code may import of
// braid. Arrows point down only: no package is above one that it imports. Tests
// may import what they like.
var allowed = map[string][]string{
	"drpcsignal":  {},
	"drpcwire":    {},
	"drpcstream":  {"drpcsignal", "drpcwire"},
	"drpcmanager": {"drpcsignal", "drpcstream", "drpcwire"},
	"drpcconn":    {"drpcmanager", "drpcstream"},
	"drpcserver":  {"drpcmanager", "drpcstream", "drpcwire"},
	"drpcmux":     {},
	"interop":     {}, // tests only
	"faults":      {}, // tests only
	"hostile":     {}, // tests only

	"internal/drpctest":   {"drpcwire"}, // for tests
	"internal/faultproxy": {},           // for tests
	"internal/simnet":     {},           // for tests
	"internal/layers":     {},           // tests only
	"internal/promises":   {},           // tests only
	"internal/simulation": {},           // tests only
}

// modules are what the library may depend on besides the standard library.
var modules = []string{"storj.io/drpc", "github.com/zeebo/errs", "golang.org/x/sync"}

// stock are packages of storj.io/drpc that braid takes the place of.
var stock = map[string]bool{
	"storj.io/drpc/drpcconn": true, "storj.io/drpc/drpcmanager": true, "storj.io/drpc/drpcmux": true,
	"storj.io/drpc/drpcserver": true, "storj.io/drpc/drpcsignal": true, "storj.io/drpc/drpcstream": true,
	"storj.io/drpc/drpcwire": true,
}

func TestImportsPointDown(t *testing.T) {
	root := filepath.Join("..", "..")
	files, err := filepath.Glob(filepath.Join(root, "*", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	inner, err := filepath.Glob(filepath.Join(root, "internal", "*", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, file := range append(files, inner...) {
		pkg, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			t.Fatal(err)
		}
		pkg = filepath.ToSlash(pkg)
		if _, err := os.Stat(filepath.Join(root, pkg, "go.mod")); err == nil {
			continue // a module of its own
		}
		seen[pkg] = true
		if _, ok := allowed[pkg]; !ok {
			t.Errorf("%s has no place among the layers", pkg)
		}
		if !strings.HasSuffix(file, "_test.go") {
			checkImports(t, pkg, file)
		}
	}
	for pkg := range allowed {
		if !seen[pkg] {
			t.Errorf("there is no package %s", pkg)
		}
	}
}

func checkImports(t *testing.T, pkg, file string) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range parsed.Imports {
		path := strings.Trim(spec.Path.Value, `"`)
		own, isOwn := strings.CutPrefix(path, "braid/")
		first, _, _ := strings.Cut(path, "/")
		switch {
		case isOwn:
			if !contains(allowed[pkg], own) {
				t.Errorf("%s imports %s", file, path)
			}
		case stock[path]:
			t.Errorf("%s imports %s, which braid replaces", file, path)
		case strings.Contains(first, ".") && !ofModules(path):
			t.Errorf("%s imports %s, which is of no module the library depends on", file, path)
		}
	}
}

func contains(list []string, s string) bool {
	for _, other := range list {
		if other == s {
			return true
		}
	}
	return false
}

func ofModules(path string) bool {
	for _, module := range modules {
		if path == module || strings.HasPrefix(path, module+"/") {
			return true
		}
	}
	return false
}

// The library's users inherit what its go.mod requires.
func TestTheModuleRequiresNothingElse(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		fields := strings.Fields(strings.TrimPrefix(line, "require "))
		if len(fields) < 2 || !strings.HasPrefix(fields[1], "v") {
			continue
		}
		if !contains(append(modules, "github.com/zeebo/assert"), fields[0]) && !strings.HasPrefix(fields[0], "google.golang.org/protobuf") {
			t.Errorf("go.mod requires %s", fields[0])
		}
	}
}
