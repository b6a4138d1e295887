package interop_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// api is what a package exports: for each name what a program can rely on, such
// as a signature.
type api map[string]string

// replaced are the packages whose import path a program changes. Of the last two
// it uses no more than the options, and what a type assertion on a drpc.Stream
// can reach.
var replaced = []string{
	"drpcconn", "drpcserver", "drpcmux", "drpcwire", "drpcsignal", "drpcmanager", "drpcstream",
}

// absent is what stock exports and braid does not, on purpose.
var absent = map[string]string{
	// Their type is in a package of stock that is internal to it: no program can
	// set them.
	"drpcmanager: field Options.Internal": "internal to stock",
	"drpcstream: field Options.Internal":  "internal to stock",

	// Stock's manager and streams are exported for its own packages; a program
	// gets them from a connection or a server. They cannot exist as they are:
	// a manager with many streams does not hand out one at a time.
	"drpcmanager: func New":                          "internal in braid",
	"drpcmanager: func NewWithOptions":               "internal in braid",
	"drpcmanager: method (*Manager).NewClientStream": "internal in braid",
	"drpcmanager: method (*Manager).NewServerStream": "internal in braid",
	"drpcstream: func New":                           "streams are made by connections",
	"drpcstream: func NewWithOptions":                "streams are made by connections",
	"drpcstream: method (*Stream).HandlePacket":      "called by connections",
}

// TestEveryNameOfStockIsThere: with the signature, type or value that it has in
// stock, but for the list above.
func TestEveryNameOfStockIsThere(t *testing.T) {
	var paths []string
	for _, name := range replaced {
		paths = append(paths, "storj.io/drpc/"+name, "braid/"+name)
	}
	packages := exported(t, paths...)
	missing := make(map[string]bool)
	for _, name := range replaced {
		want, got := packages["storj.io/drpc/"+name], packages["braid/"+name]
		if len(want) == 0 {
			t.Errorf("%s: nothing found in stock", name)
		}
		for what, as := range want {
			key := name + ": " + what
			switch has, ok := got[what]; {
			case ok && has == as:
			case absent[key] != "":
				missing[key] = true
			case !ok:
				t.Errorf("%s is missing", key)
			default:
				t.Errorf("%s differs:\ngot  %s\nwant %s", key, has, as)
			}
		}
	}
	for key := range absent {
		if !missing[key] {
			t.Errorf("%s is not missing, or stock does not have it", key)
		}
	}
}

// exported reads the API of packages from their source.
func exported(t *testing.T, paths ...string) map[string]api {
	t.Helper()
	args := append([]string{"list", "-f", "{{.ImportPath}}\t{{.Dir}}{{range .GoFiles}}\t{{.}}{{end}}"}, paths...)
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := make(map[string]api)
	for line := range strings.Lines(string(out)) {
		words := strings.Split(strings.TrimSpace(line), "\t")
		found := make(api)
		for _, file := range words[2:] {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(words[1], file), nil, parser.SkipObjectResolution)
			must(t, err)
			found.addFile(f)
		}
		packages[words[0]] = found
	}
	return packages
}

func (a api) addFile(f *ast.File) {
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			a.addFunc(d)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				a.addSpec(d.Tok, spec)
			}
		}
	}
}

func (a api) addFunc(d *ast.FuncDecl) {
	name := "func " + d.Name.Name
	if d.Recv != nil {
		recv := text(d.Recv.List[0].Type)
		if !ast.IsExported(strings.TrimPrefix(recv, "*")) {
			return
		}
		name = fmt.Sprintf("method (%s).%s", recv, d.Name.Name)
	}
	if d.Name.IsExported() {
		a[name] = signature(d.Type)
	}
}

func (a api) addSpec(tok token.Token, spec ast.Spec) {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		if !s.Name.IsExported() {
			return
		}
		fields, ok := s.Type.(*ast.StructType)
		if !ok {
			a["type "+s.Name.Name] = text(s.Type)
			return
		}
		a["type "+s.Name.Name] = "struct"
		for _, field := range fields.Fields.List {
			for _, name := range field.Names {
				if name.IsExported() {
					a["field "+s.Name.Name+"."+name.Name] = text(field.Type)
				}
			}
			if len(field.Names) == 0 {
				a["field "+s.Name.Name+"."+text(field.Type)] = "embedded"
			}
		}
	case *ast.ValueSpec:
		for i, name := range s.Names {
			if !name.IsExported() {
				continue
			}
			as := text(s.Type)
			if i < len(s.Values) {
				as += " = " + text(s.Values[i])
			}
			a[tok.String()+" "+name.Name] = as
		}
	}
}

// signature writes a function's types without the names of its parameters.
func signature(f *ast.FuncType) string {
	return "func(" + strings.Join(types(f.Params), ", ") + ") (" + strings.Join(types(f.Results), ", ") + ")"
}

func types(list *ast.FieldList) (types []string) {
	if list == nil {
		return nil
	}
	for _, field := range list.List {
		n := max(len(field.Names), 1)
		types = append(types, slices.Repeat([]string{text(field.Type)}, n)...)
	}
	return types
}

// text writes an expression as it would stand in a source file.
func text(expr ast.Expr) string {
	switch e := expr.(type) {
	case nil:
		return ""
	case *ast.FuncType:
		return signature(e)
	case *ast.InterfaceType:
		if len(e.Methods.List) == 0 {
			return "any"
		}
	}
	var b strings.Builder
	if err := printer.Fprint(&b, token.NewFileSet(), expr); err != nil {
		return err.Error()
	}
	return b.String()
}
