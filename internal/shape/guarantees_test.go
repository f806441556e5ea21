package shape

import (
	"fmt"
	"go/ast"
	"go/token"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// guarantees is the page that says what is promised. It names tests as `mailbox.TestClose`, or `mailbox.TestRows/C1:_queued`
// where a part of a subtest's name follows, written as go test prints it; in a table with a column "test" each row names one.
const guarantees = "docs/guarantees.md"

var (
	testName    = regexp.MustCompile("`([a-z][a-z/]*)\\.((?:Test|Fuzz)\\w+)(?:/([^`]+))?`")
	testCommand = regexp.MustCompile(`go test (?:-\S+ )*(?:[a-z]\w* )?\./([a-z/]+) -(?:run|fuzz) '([^']*)'`)
)

func TestGuaranteesNameTests(t *testing.T) { report(t, checkGuarantees(root(t), code(t))) }

// tests finds the tests and fuzz targets of a folder, and the strings in its tests.
type tests struct {
	functions map[string]bool
	texts     []string
}

func (t *tree) tests() map[string]*tests {
	found := map[string]*tests{}
	for _, s := range t.sources {
		if !s.test {
			continue
		}
		of := found[s.dir]
		if of == nil {
			of = &tests{functions: map[string]bool{}}
			found[s.dir] = of
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				of.functions[f.Name.Name] = true
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				text, _ := strconv.Unquote(lit.Value)
				of.texts = append(of.texts, strings.ReplaceAll(text, " ", "_"))
			}
			return true
		})
	}
	return found
}

// checkGuarantees finds rows that name no test, and tests that the page names and nobody has.
func checkGuarantees(fsys fs.FS, tr *tree) (wrong []string) {
	text, err := fs.ReadFile(fsys, guarantees)
	if err != nil {
		return []string{err.Error()}
	}
	found := tr.tests()
	column, rows, n := -1, 0, 0
	for line := range strings.Lines(string(text)) {
		n++
		complain := func(format string, args ...any) {
			wrong = append(wrong, fmt.Sprintf("%s:%d: ", guarantees, n)+fmt.Sprintf(format, args...))
		}
		for _, m := range testName.FindAllStringSubmatch(line, -1) {
			if problem := found[m[1]].missing(m[2], m[3]); problem != "" {
				complain("%s.%s", m[1], problem)
			}
		}
		for _, m := range testCommand.FindAllStringSubmatch(line, -1) {
			if !found[m[1]].matched(strings.ReplaceAll(m[2], `\|`, "|")) {
				complain("no test of %s matches %q", m[1], m[2])
			}
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		switch {
		case !strings.HasPrefix(line, "|"):
			column = -1
		case column < 0:
			column = slices.IndexFunc(cells, func(c string) bool { return strings.TrimSpace(c) == "test" })
			if column < 0 {
				column = len(cells) // of a table without that column
			}
		case column < len(cells) && !strings.HasPrefix(line, "|--"):
			if rows++; !testName.MatchString(cells[column]) {
				complain("the row names no test")
			}
		}
	}
	if rows == 0 {
		wrong = append(wrong, guarantees+": no row of a table has a test")
	}
	return wrong
}

// missing says what there is not: the function, or a text that a subtest could have its name from.
func (of *tests) missing(function, sub string) string {
	switch {
	case of == nil || !of.functions[function]:
		return function + " does not exist"
	case sub != "" && !slices.ContainsFunc(of.texts, func(text string) bool { return strings.Contains(text, sub) }):
		return function + " has no subtest " + sub
	}
	return ""
}

// matched reports whether the pattern of a command finds a test or a fuzz target.
func (of *tests) matched(pattern string) bool {
	p, err := regexp.Compile(pattern)
	return err == nil && of != nil && slices.ContainsFunc(slices.Collect(maps.Keys(of.functions)), func(f string) bool {
		return (strings.HasPrefix(f, "Test") || strings.HasPrefix(f, "Fuzz")) && p.MatchString(f)
	})
}

func TestCheckGuarantees(t *testing.T) {
	const head = "| who | test |\n|---|---|\n"
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"good", head + "| a | `a.TestOne`, `a/b.FuzzTwo` |\n\n| no | tests |\n|---|---|\n| here | |\n", nil},
		{"subtest", head + "| a | `a.TestOne/C1:_x` |\n", nil},
		{"no such subtest", head + "| a | `a.TestOne/C2` |\n", []string{":3: a.TestOne has no subtest C2"}},
		{"no such test", head + "| a | `a.TestOne`, `a.TestTwo` |\n", []string{":3: a.TestTwo does not exist"}},
		{"no such package", head + "| a | `c.TestOne` |\n", []string{":3: c.TestOne does not exist"}},
		{"not a test", head + "| a | `a.TestMethod` |\n", []string{":3: a.TestMethod does not exist"}},
		{"row without", head + "| `a.TestOne` | by hand |\n| b | `a.TestOne` |\n", []string{":3: the row names no test"}},
		{"no rows", head + "\ntext `a.TestOne`\n", []string{"no row of a table"}},
		{"in the text", head + "| a | `a.TestOne` |\n\nsee `a.TestGone`.\n", []string{":5: a.TestGone does not exist"}},
		{"command", head + "| a | `a.TestOne` |\n\n`go test -tags x ./a/b -fuzz 'FuzzTwo' -fuzztime 1m`, `go test ./a -run 'Gone\\|One'`\n", nil},
		{"stale command", head + "| a | `a.TestOne` |\n\n`go test ./a -run 'Gone\\|Two'`\n", []string{`:5: no test of a matches`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := fake(map[string]string{
				guarantees:      c.text,
				"a/a_test.go":   "package a\n\nfunc TestOne(t *testing.T) { t.Run(\"C1: x\", nil) }\n\nfunc (s *s) TestMethod() {}\n",
				"a/b/b_test.go": "package b\n\nfunc FuzzTwo(f *testing.F) {}\n",
				"c/c.go":        "package c\n\nfunc TestOne() {}\n",
			})
			want(t, checkGuarantees(fsys, parsed(t, fsys)), c.want...)
		})
	}
}
