package shape

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	functionLinesMax = 70
	fileLinesMax     = 600
)

// libraries are the rooms whose code runs inside users' programs: it logs to the logger it was given and prints nothing.
var libraries = []string{"actor", "internal", "mailbox", "shm", "supervisor"}

func TestExportedIsDocumented(t *testing.T) { report(t, checkExported(code(t))) }

func TestPackageComments(t *testing.T) { report(t, checkPackageComments(code(t))) }

func TestLengths(t *testing.T) { report(t, checkLengths(code(t))) }

func TestTestsDoNotSleep(t *testing.T) { report(t, checkSleeps(code(t))) }

func TestLibrariesDoNotPrint(t *testing.T) { report(t, checkPrints(code(t))) }

// checkExported finds exported identifiers without a comment: functions, types, methods of exported types and interfaces,
// constants and variables. Those of a group may share the comment of the group.
func checkExported(tr *tree) (wrong []string) {
	missing := func(pos token.Pos, what string) {
		wrong = append(wrong, fmt.Sprintf("%s: exported %s has no comment", tr.at(pos), what))
	}
	for _, s := range tr.sources {
		if s.test || s.file.Name.Name == "main" {
			continue
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				name := d.Name.Name
				if d.Recv != nil {
					name = receiver(d) + "." + name
				}
				if d.Name.IsExported() && token.IsExported(name) && d.Doc.Text() == "" {
					missing(d.Pos(), name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					checkSpec(d, spec, missing)
				}
			}
		}
	}
	return wrong
}

// receiver returns the name of the type that a method belongs to.
func receiver(d *ast.FuncDecl) (name string) {
	ast.Inspect(d.Recv.List[0].Type, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && name == "" {
			name = id.Name // the first one: what follows are type parameters
		}
		return name == ""
	})
	return name
}

func checkSpec(d *ast.GenDecl, spec ast.Spec, missing func(token.Pos, string)) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		if !spec.Name.IsExported() {
			return
		}
		// The comment of a group of types says nothing about one of them.
		if spec.Doc.Text() == "" && (d.Lparen.IsValid() || d.Doc.Text() == "") {
			missing(spec.Pos(), spec.Name.Name)
		}
		face, ok := spec.Type.(*ast.InterfaceType)
		if !ok {
			return
		}
		for _, m := range face.Methods.List {
			if len(m.Names) > 0 && m.Names[0].IsExported() && m.Doc.Text() == "" && m.Comment.Text() == "" {
				missing(m.Pos(), spec.Name.Name+"."+m.Names[0].Name)
			}
		}
	case *ast.ValueSpec:
		if d.Doc.Text() != "" || spec.Doc.Text() != "" || spec.Comment.Text() != "" {
			return
		}
		for _, name := range spec.Names {
			if name.IsExported() {
				missing(name.Pos(), name.Name)
			}
		}
	}
}

// checkPackageComments finds packages with no or more than one comment, and comments that begin otherwise than "Package x"
// or, for a program, "Command x" or "X".
func checkPackageComments(tr *tree) (wrong []string) {
	comments := make(map[string][]string) // by folder: where
	for _, s := range tr.sources {
		if s.test {
			if s.file.Doc.Text() != "" {
				wrong = append(wrong, fmt.Sprintf("%s: the comment of a package does not belong into a test", s.path))
			}
			continue
		}
		if _, known := comments[s.dir]; !known {
			comments[s.dir] = nil // perhaps it stays without one
		}
		if s.file.Doc.Text() == "" {
			continue
		}
		comments[s.dir] = append(comments[s.dir], s.path)
		if !introduces(s.file.Doc.Text(), s.file.Name.Name, path.Base(s.dir)) {
			wrong = append(wrong, fmt.Sprintf("%s: the package comment does not begin with the name of the package", s.path))
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(comments)) {
		if where := comments[dir]; len(where) != 1 {
			wrong = append(wrong, fmt.Sprintf("package %s has %d package comments, want one: %q", dir, len(where), where))
		}
	}
	return wrong
}

// introduces reports whether a package comment begins as it should.
func introduces(text, name, folder string) bool {
	first, rest, _ := strings.Cut(strings.ReplaceAll(text, "\n", " "), " ")
	second, _, _ := strings.Cut(rest, " ")
	if name != "main" {
		return first == "Package" && second == name
	}
	return first == "Command" && second == folder || strings.EqualFold(first, folder)
}

// checkLengths finds functions and files that are too long. Functions of tests are free.
func checkLengths(tr *tree) (wrong []string) {
	for _, s := range tr.sources {
		if ast.IsGenerated(s.file) {
			continue
		}
		if s.lines > fileLinesMax {
			wrong = append(wrong, fmt.Sprintf("%s has %d lines, at most %d", s.path, s.lines, fileLinesMax))
		}
		if s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n.(type) {
			case *ast.FuncDecl, *ast.FuncLit:
			default:
				return true
			}
			lines := tr.fset.Position(n.End()).Line - tr.fset.Position(n.Pos()).Line + 1
			if lines > functionLinesMax {
				wrong = append(wrong, fmt.Sprintf("%s: this function has %d lines, at most %d", tr.at(n.Pos()), lines, functionLinesMax))
			}
			return false // what lies in it is shorter
		})
	}
	return wrong
}

// checkSleeps finds tests that sleep. Inside the bubble of a synctest they may: its clock is not the real one.
func checkSleeps(tr *tree) (wrong []string) {
	for _, s := range tr.sources {
		if !s.test {
			continue
		}
		uses(s.file, "time", func(sel *ast.SelectorExpr) {
			if sel.Sel.Name == "Sleep" && !inBubble(s.file, sel.Pos()) {
				wrong = append(wrong, tr.at(sel.Pos())+": a test does not sleep, it waits for what it waits for")
			}
		})
	}
	return wrong
}

// inBubble reports whether a position lies in a function literal given to synctest.Test.
func inBubble(file *ast.File, pos token.Pos) bool {
	found := false
	uses(file, "testing/synctest", func(sel *ast.SelectorExpr) {
		if sel.Sel.Name != "Test" {
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if ok && call.Fun == sel && call.Lparen < pos && pos < call.Rparen {
				found = true
			}
			return !found
		})
	})
	return found
}

// checkPrints finds code of the libraries that writes to the standard output or to the standard logger.
func checkPrints(tr *tree) (wrong []string) {
	for _, s := range tr.sources {
		if s.test || !within(s.dir, libraries...) {
			continue
		}
		complain := func(pos token.Pos, what string) {
			wrong = append(wrong, fmt.Sprintf("%s: a library does not use %s", tr.at(pos), what))
		}
		uses(s.file, "fmt", func(sel *ast.SelectorExpr) {
			if strings.HasPrefix(sel.Sel.Name, "Print") {
				complain(sel.Pos(), "fmt."+sel.Sel.Name)
			}
		})
		uses(s.file, "log", func(sel *ast.SelectorExpr) { complain(sel.Pos(), "log."+sel.Sel.Name) })
		ast.Inspect(s.file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && (isIdent(call.Fun, "print") || isIdent(call.Fun, "println")) {
				complain(call.Pos(), "print")
			}
			return true
		})
	}
	return wrong
}

// uses calls visit for each mention of something of an imported package, by whatever name it was imported. Nothing is
// imported so that its names stand bare: checkImports sees to that.
func uses(file *ast.File, pkg string, visit func(*ast.SelectorExpr)) {
	for _, spec := range file.Imports {
		if name, _ := strconv.Unquote(spec.Path.Value); name != pkg {
			continue
		}
		local := path.Base(pkg)
		if spec.Name != nil {
			local = spec.Name.Name
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && isIdent(sel.X, local) {
				visit(sel)
			}
			return true
		})
	}
}

func TestCheckExported(t *testing.T) {
	want(t, checkExported(parsed(t, fake(map[string]string{
		"a/a.go": `package a

// F is documented.
func F() {}

func G() {}

//go:noinline
func Directive() {}

func unexported() {}

// T is documented.
type T[P any] struct{}

func (t *T[P]) M() {}

// N is documented.
func (t T[P]) N() {}

func (t T[P]) unexported() {}

type hidden struct{}

func (h hidden) String() string { return "" }

type U struct{}

// Types of a kind.
type (
	V struct{}
	// W is documented.
	W struct{}
)

// I is documented.
type I interface {
	// A is documented.
	A()
	B()
	C() // is documented
	fmt.Stringer
}

// All of one kind.
const (
	C1 = iota
	C2
)

var (
	V1 = 1 // documented
	// V2 is documented.
	V2 = 2
	V3, v4 = 3, 4
)

var E1 = 1
`,
		"a/a_test.go":   "package a\n\nfunc Helper() {}\n",
		"cmd/main.go":   "package main\n\nfunc Exported() {}\n",
		"internal/b.go": "package b\n\nfunc B() {}\n",
	}))),
		"a/a.go:6: exported G ",
		"a/a.go:9: exported Directive ",
		"a/a.go:16: exported T.M ",
		"a/a.go:27: exported U ",
		"a/a.go:31: exported V ",
		"a/a.go:40: exported I.B ",
		"a/a.go:55: exported V3 ",
		"a/a.go:58: exported E1 ",
		"internal/b.go:3: exported B ",
	)
}

func TestCheckPackageComments(t *testing.T) {
	want(t, checkPackageComments(parsed(t, fake(map[string]string{
		"good/a.go":           "// Package good is.\npackage good\n",
		"good/b.go":           "// A remark about the file.\n\npackage good\n",
		"none/a.go":           "//go:build linux\n\npackage none\n",
		"two/a.go":            "// Package two is.\npackage two\n",
		"two/b.go":            "// Package two is also.\npackage two\n",
		"wrong/a.go":          "// package wrong is.\npackage wrong\n",
		"other/a.go":          "// Package another is.\npackage other\n",
		"intest/a.go":         "// Package intest is.\npackage intest\n",
		"intest/a_test.go":    "// Package intest_test is.\npackage intest_test\n",
		"cmd/tool/main.go":    "// Command tool does.\npackage main\n",
		"cmd/show/main.go":    "// Show does.\npackage main\n",
		"cmd/odd/main.go":     "// Package main does.\npackage main\n",
		"onlytests/a_test.go": "package onlytests\n",
	}))),
		"package none has 0 package comments",
		"package two has 2 package comments",
		"wrong/a.go: the package comment does not begin",
		"other/a.go: the package comment does not begin",
		"intest/a_test.go: the comment of a package",
		"cmd/odd/main.go: the package comment does not begin",
	)
}

func TestCheckLengths(t *testing.T) {
	function := func(head string, lines int) string {
		return head + strings.Repeat("\n", lines-1) + "}\n"
	}
	want(t, checkLengths(parsed(t, fake(map[string]string{
		"a/a.go":      "package a\n\n// F has a comment, which does not count.\n" + function("func F() {", functionLinesMax),
		"a/b.go":      "package a\n\n" + function("func G() {", functionLinesMax+1),
		"a/c.go":      "package a\n\n" + function("var h = func() {", functionLinesMax+1),
		"a/a_test.go": "package a\n\n" + function("func T() {", functionLinesMax+1),
		"a/d.go":      "package a\n" + strings.Repeat("\n", fileLinesMax-1),
		"a/e.go":      "package a\n" + strings.Repeat("\n", fileLinesMax),
		"a/e_test.go": "package a\n" + strings.Repeat("\n", fileLinesMax),
		"a/z.go":      "// Code generated by x. DO NOT EDIT.\n\npackage a\n" + function("func Z() {", fileLinesMax),
	}))),
		"a/b.go:3: this function has 71 lines",
		"a/c.go:3: this function has 71 lines",
		"a/e.go has 601 lines",
		"a/e_test.go has 601 lines",
	)
}

func TestCheckSleeps(t *testing.T) {
	want(t, checkSleeps(parsed(t, fake(map[string]string{
		"a/a.go":      "package a\nimport \"time\"\nfunc f() { time.Sleep(1) }\n",
		"a/a_test.go": "package a\nimport \"time\"\nfunc f() { time.Sleep(1) }\n",
		"a/b_test.go": "package a\nimport clock \"time\"\nvar f = clock.Sleep\n",
		"a/c_test.go": "package a\nimport \"time\"\nfunc f() { time.Now(); other.Sleep(1) }\n",
		"a/d_test.go": `package a
import ("time"; "testing/synctest")
func f() {
	synctest.Test(t, func(t *testing.T) { time.Sleep(1) })
	time.Sleep(1)
}
`,
	}))),
		"a/a_test.go:3: a test does not sleep",
		"a/b_test.go:3: a test does not sleep",
		"a/d_test.go:5: a test does not sleep",
	)
}

func TestCheckPrints(t *testing.T) {
	const text = "package a\nimport (\n\"fmt\"\nl \"log\"\n\"log/slog\"\n)\n" +
		"func f(s *slog.Logger) {\nfmt.Println()\nfmt.Printf(\"\")\nfmt.Sprint()\nl.Fatal()\nprintln()\ns.Info(\"\")\n}\n"
	want(t, checkPrints(parsed(t, fake(map[string]string{
		"internal/a/a.go":      text,
		"internal/a/a_test.go": text,
		"cmd/a/a.go":           text,
		"actors/a.go":          text,
		"actor/a.go":           "package a\nimport \"fmt\"\nvar p = fmt.Print\n",
	}))),
		"internal/a/a.go:8: a library does not use fmt.Println",
		"internal/a/a.go:9: a library does not use fmt.Printf",
		"internal/a/a.go:11: a library does not use log.Fatal",
		"internal/a/a.go:12: a library does not use print",
		"actor/a.go:3: a library does not use fmt.Print",
	)
}
