package shape

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// source is one Go file.
type source struct {
	path, dir string // from the root of the module, with slashes
	test      bool   // a _test.go file
	lines     int
	file      *ast.File
}

// tree is the Go code of one module.
type tree struct {
	module  string // its path
	fset    *token.FileSet
	sources []source // by path
}

// load parses the module at the root of fsys, for all systems and build tags. It leaves out nested modules, testdata and
// folders that begin with a dot or an underscore, as the go command does.
func load(fsys fs.FS) (*tree, error) {
	mod, err := fs.ReadFile(fsys, "go.mod")
	if err != nil {
		return nil, err
	}
	t := &tree{fset: token.NewFileSet()}
	first, _, _ := strings.Cut(string(mod), "\n")
	name, ok := strings.CutPrefix(first, "module ")
	if !ok {
		return nil, fmt.Errorf("go.mod begins with %q, want its module line", first)
	}
	t.module = strings.TrimSpace(name)
	err = walk(fsys, func(p string) error {
		if path.Ext(p) != ".go" || hidden(p) {
			return nil
		}
		text, err := fs.ReadFile(fsys, p)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(t.fset, p, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		t.sources = append(t.sources, source{
			path:  p,
			dir:   path.Dir(p),
			test:  strings.HasSuffix(p, "_test.go"),
			lines: bytes.Count(text, []byte("\n")),
			file:  file,
		})
		return nil
	})
	return t, err
}

// walk calls visit for each file of the module at the root of fsys, but for nested modules and the repository's own folder.
func walk(fsys fs.FS, visit func(p string) error) error {
	return fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case !d.IsDir():
			return visit(p)
		case p == ".":
			return nil
		case path.Base(p) == ".git":
			return fs.SkipDir
		}
		if _, err := fs.Stat(fsys, path.Join(p, "go.mod")); err == nil {
			return fs.SkipDir
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

// hidden reports whether the go command leaves the file out of every package.
func hidden(p string) bool {
	for elem := range strings.SplitSeq(p, "/") {
		if elem == "testdata" || elem == "vendor" || strings.HasPrefix(elem, ".") || strings.HasPrefix(elem, "_") {
			return true
		}
	}
	return false
}

// at describes a place.
func (t *tree) at(pos token.Pos) string {
	p := t.fset.Position(pos)
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

// within reports whether dir is one of the rooms or below one.
func within(dir string, rooms ...string) bool {
	for _, room := range rooms {
		if dir == room || strings.HasPrefix(dir, room+"/") {
			return true
		}
	}
	return false
}

// root returns the module that this package lies in.
func root(t *testing.T) fs.FS {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return os.DirFS(dir)
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the working directory")
		}
		dir = up
	}
}

// code returns the parsed module that this package lies in.
func code(t *testing.T) *tree {
	t.Helper()
	return parsed(t, root(t))
}

func parsed(t *testing.T, fsys fs.FS) *tree {
	t.Helper()
	tr, err := load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// report fails the test with all that is wrong.
func report(t *testing.T, wrong []string) {
	t.Helper()
	for _, w := range wrong {
		t.Error(w)
	}
}

// fake makes a tree of a module named "m" from the text of its files.
func fake(files map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{"go.mod": {Data: []byte("module m\n")}}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

// want fails the test unless the complaints are exactly these, each found by a part of its text, in any order.
func want(t *testing.T, got []string, parts ...string) {
	t.Helper()
	left := append([]string(nil), got...)
next:
	for _, part := range parts {
		for i, g := range left {
			if strings.Contains(g, part) {
				left = append(left[:i], left[i+1:]...)
				continue next
			}
		}
		t.Errorf("no complaint %q in %q", part, got)
	}
	for _, g := range left {
		t.Errorf("unexpected complaint %q", g)
	}
}

func TestLoad(t *testing.T) {
	tr := parsed(t, fake(map[string]string{
		"a/a.go":           "package a\n",
		"a/a_darwin.go":    "package a\n",
		"a/a_test.go":      "package a_test\n",
		"a/testdata/t.go":  "not Go",
		"a/_old/o.go":      "not Go",
		".ci/c.go":         "not Go",
		"nested/go.mod":    "module nested\n",
		"nested/n.go":      "not Go",
		"nested/sub/n.go":  "not Go",
		"notes/a.go.draft": "not Go",
	}))
	var got []string
	for _, s := range tr.sources {
		got = append(got, fmt.Sprintf("%s %s %v %d", s.path, s.dir, s.test, s.lines))
	}
	const all = "a/a.go a false 1, a/a_darwin.go a false 1, a/a_test.go a true 1"
	if strings.Join(got, ", ") != all || tr.module != "m" {
		t.Errorf("module %q: %q, want %q", tr.module, got, all)
	}
	if _, err := load(fake(map[string]string{"a/a.go": "not Go"})); err == nil {
		t.Error("a file that is not Go was taken")
	}
}

func TestRootHasTheCode(t *testing.T) {
	tr := code(t)
	dirs := make(map[string]bool)
	for _, s := range tr.sources {
		dirs[s.dir] = true
	}
	for _, dir := range []string{"shm", "mailbox", "internal/shape"} {
		if !dirs[dir] {
			t.Errorf("no %s among the %d files of %s: the checks look at the wrong place", dir, len(tr.sources), tr.module)
		}
	}
}
