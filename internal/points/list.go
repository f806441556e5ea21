package points

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Tag is the build tag of builds that have points.
const Tag = "shmactor_points"

// packages are those that touch shared words; users are those that call their accessors from outside.
var (
	packages = []string{"shm", "mailbox"}
	users    = []string{"actor", "supervisor"}
)

const wordPackage = "internal/word"

// NewList reads the source of the module in directory root. It asks the go command for the files of a build with points,
// and for the types of everything else.
func NewList(root string) (*List, error) {
	b := &builder{
		fset: token.NewFileSet(), units: map[string]*unit{}, exports: map[string]string{}, at: map[place]string{},
		accessors: map[*types.Func]*accessor{}, called: map[*types.Func]bool{},
	}
	b.compiled = importer.ForCompiler(b.fset, "gc", func(name string) (io.ReadCloser, error) { return os.Open(b.exports[name]) })
	if err := b.load(root); err != nil {
		return nil, err
	}
	for _, name := range append(slices.Clone(packages), users...) {
		if err := b.check(name); err != nil {
			return nil, err
		}
	}
	b.findAccessors()
	b.findCalls()
	l := &List{}
	for _, name := range packages {
		for _, f := range b.units[name].functions() {
			l.Points = append(l.Points, b.points(f)...)
		}
	}
	for _, a := range b.accessors {
		l.Accessors = append(l.Accessors, a.f.name)
	}
	slices.Sort(l.Accessors)
	slices.SortStableFunc(l.Points, func(a, b Point) int {
		return cmp.Or(-cmp.Compare(path.Dir(a.File), path.Dir(b.File)), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return l, errors.Join(b.wrong...)
}

// builder makes a list.
type builder struct {
	fset      *token.FileSet
	module    string
	units     map[string]*unit // by path from the root of the module
	compiled  types.Importer
	exports   map[string]string // files with the types of packages, by import path
	accessors map[*types.Func]*accessor
	called    map[*types.Func]bool // accessors that are called from code that has points
	outside   map[*types.Func]bool // functions that packages above use
	at        map[place]string     // names of points
	wrong     []error
}

// unit is a package that is read from its source.
type unit struct {
	name  string
	files []string
	trees []*ast.File
	pkg   *types.Package
	info  *types.Info
}

// function is a declared function, by its package and name: mailbox.Mailbox.push.
type function struct {
	unit *unit
	decl *ast.FuncDecl
	name string
}

// access is a mention of something that touches a shared word.
type access struct {
	op    string // name of what is called
	write bool   // it may change the word, or wakes somebody
	call  bool   // it is called in its place: not deferred as it is, nor handed around as a value
	to    *types.Func
	pos   token.Pos
}

// accessor is a function that is one access.
type accessor struct {
	f     *function
	write bool
}

// load asks the go command what there is.
func (b *builder) load(root string) error {
	args := []string{"list", "-e", "-export", "-deps", "-tags", Tag, "-json=ImportPath,Dir,GoFiles,Export,Module,Error"}
	for _, name := range users {
		args = append(args, "./"+name)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go list: %w\n%s", err, complaints.String())
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath, Dir, Export string
			GoFiles                 []string
			Module                  *struct {
				Path string
				Main bool
			}
			Error *struct{ Err string }
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if p.Error != nil {
			return fmt.Errorf("go list: %s: %s", p.ImportPath, p.Error.Err)
		}
		b.exports[p.ImportPath] = p.Export
		if p.Module == nil || !p.Module.Main {
			continue
		}
		b.module = p.Module.Path
		u := &unit{name: strings.TrimPrefix(p.ImportPath, b.module+"/")}
		for _, f := range p.GoFiles {
			u.files = append(u.files, filepath.Join(p.Dir, f))
		}
		b.units[u.name] = u
	}
}

// check reads a package. What it imports comes from the build's export data, except what is checked here already: a method
// is to be the same object in all packages.
func (b *builder) check(name string) error {
	u := b.units[name]
	for _, f := range u.files {
		tree, err := parser.ParseFile(b.fset, f, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		u.trees = append(u.trees, tree)
	}
	u.info = &types.Info{
		Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{},
	}
	conf := types.Config{Importer: importerFunc(b.imported)}
	var err error
	u.pkg, err = conf.Check(b.module+"/"+name, b.fset, u.trees, u.info)
	return err
}

type importerFunc func(name string) (*types.Package, error)

func (f importerFunc) Import(name string) (*types.Package, error) { return f(name) }

// imported finds a package: one that is checked here, or what the build says about it.
func (b *builder) imported(name string) (*types.Package, error) {
	if u := b.units[strings.TrimPrefix(name, b.module+"/")]; u != nil && u.pkg != nil {
		return u.pkg, nil
	}
	return b.compiled.Import(name)
}

// functions are the declared functions of a unit with a body, in the order of its files.
func (u *unit) functions() (all []*function) {
	for _, tree := range u.trees {
		for _, d := range tree.Decls {
			if d, ok := d.(*ast.FuncDecl); ok && d.Body != nil {
				all = append(all, &function{u, d, u.name + "." + receiver(d) + d.Name.Name})
			}
		}
	}
	return all
}

// receiver is the type of a method with a dot behind it.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	t := d.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	return t.(*ast.Ident).Name + "."
}

// accesses finds what in n touches a shared word: by the package word itself, or by an accessor.
func (b *builder) accesses(u *unit, n ast.Node) (found []access) {
	called := calls(n)
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			f, ok := u.info.Uses[n].(*types.Func)
			if !ok || f.Pkg() == nil {
				break
			}
			a := access{op: f.Name(), to: f.Origin(), pos: n.Pos(), call: called[n]}
			if acc := b.accessors[a.to]; acc != nil {
				a.write = acc.write
			} else if f.Pkg().Path() == b.module+"/"+wordPackage && touches(f) {
				a.write = f.Name() != "Load"
			} else {
				break
			}
			found = append(found, a)
		}
		return true
	})
	return found
}

// calls finds the names of what is called in n, where the call is made on the line that says so: that of a defer or go
// statement is made elsewhere.
func calls(n ast.Node) map[*ast.Ident]bool {
	found, elsewhere := map[*ast.Ident]bool{}, map[*ast.CallExpr]bool{}
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.DeferStmt:
			elsewhere[n.Call] = true
		case *ast.GoStmt:
			elsewhere[n.Call] = true
		case *ast.CallExpr:
			if elsewhere[n] {
				break
			}
			switch f := ast.Unparen(n.Fun).(type) {
			case *ast.SelectorExpr:
				found[f.Sel] = true
			case *ast.Ident:
				found[f] = true
			}
		}
		return true
	})
	return found
}

// touches reports whether a function of package word touches a word: its mutex does not.
func touches(f *types.Func) bool {
	recv := f.Signature().Recv()
	if recv == nil {
		return f.Name() == "Sleep" || f.Name() == "Wake"
	}
	t := recv.Type()
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	named, ok := t.(*types.Named)
	return ok && (named.Obj().Name() == "Word" || named.Obj().Name() == "Half")
}

// findAccessors finds the functions that are one access, then those that are one call of such a function, and so on.
func (b *builder) findAccessors() {
	for again := true; again; {
		again = false
		for _, name := range packages {
			u := b.units[name]
			for _, f := range u.functions() {
				def, _ := u.info.Defs[f.decl.Name].(*types.Func)
				if b.accessors[def] != nil || !oneStatement(f.decl) || b.usedAsValue(def) {
					continue
				}
				if all := b.accesses(u, f.decl.Body); len(all) == 1 && all[0].call {
					b.accessors[def] = &accessor{f, all[0].write}
					again = true
				}
			}
		}
	}
}

// oneStatement reports whether a function is one expression, whatever is done with its value.
func oneStatement(d *ast.FuncDecl) bool {
	if len(d.Body.List) != 1 {
		return false
	}
	switch d.Body.List[0].(type) {
	case *ast.ReturnStmt, *ast.ExprStmt, *ast.AssignStmt:
	default:
		return false
	}
	plain := true
	ast.Inspect(d.Body, func(n ast.Node) bool {
		_, literal := n.(*ast.FuncLit)
		plain = plain && !literal
		return plain
	})
	return plain
}

// usedAsValue reports whether a function is handed around, and so called from nobody knows where.
func (b *builder) usedAsValue(def *types.Func) bool {
	for _, name := range packages {
		u := b.units[name]
		for _, tree := range u.trees {
			called, value := calls(tree), false
			ast.Inspect(tree, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok {
					value = value || u.info.Uses[id] == def && !called[id]
				}
				return !value
			})
			if value {
				return true
			}
		}
	}
	return false
}

// findCalls finds which accessors are called from code that has points, and which from the packages above.
func (b *builder) findCalls() {
	for _, name := range packages {
		for _, f := range b.units[name].functions() {
			for _, a := range b.accesses(b.units[name], f.decl.Body) {
				b.called[a.to] = true
			}
		}
	}
	b.outside = map[*types.Func]bool{}
	for _, name := range users {
		for _, used := range b.units[name].info.Uses {
			if f, ok := used.(*types.Func); ok {
				b.outside[f.Origin()] = true
			}
		}
	}
}

// points are the points in a function. An accessor has one only where nobody with points calls it, or somebody without.
func (b *builder) points(f *function) (found []Point) {
	def, _ := f.unit.info.Defs[f.decl.Name].(*types.Func)
	if b.accessors[def] != nil && b.called[def] && !b.outside[def] {
		return nil
	}
	for i, a := range b.accesses(f.unit, f.decl.Body) {
		pos := b.fset.Position(a.pos)
		p := Point{
			Name: fmt.Sprintf("%s:%d %s", f.name, i+1, a.op), Write: a.write, Line: pos.Line,
			File: f.unit.name + "/" + filepath.Base(pos.Filename), Op: a.op,
		}
		if !a.call {
			b.wrong = append(b.wrong, fmt.Errorf("%s:%d: %s is deferred or handed around: where it is called cannot be told, make it a function", p.File, p.Line, p.Op))
		}
		if other := b.at[p.place()]; other != "" {
			b.wrong = append(b.wrong, fmt.Errorf("%s:%d: %s and %s are on one line and cannot be told apart: make it two lines",
				p.File, p.Line, other, p.Name))
		}
		b.at[p.place()] = p.Name
		found = append(found, p)
	}
	return found
}
