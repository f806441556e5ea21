package shape

import (
	"fmt"
	"go/ast"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// room says what one package may import. The standard library is free, but for unsafe and "C". Imports of the own module
// are written from its root.
type room struct {
	floor int      // it may import only what is on a lower floor, below itself, or on the ground floor beside it
	may   []string // all that its code may import
	tests []string // all that its tests may import besides; the package itself and internal/testkit are free

	// Who may do what with unsafe: the files that may do anything ("*" for all of them), and the files that may only ask
	// for sizes, alignments and offsets, which are constants.
	unsafe []string
	pins   []string
}

// rooms has a row for every package: it is a statement of policy, not a record of what is. A new import is a decision
// about the layers; do not add a word here to mend a build.
//
// The floors: 5 uses the public API as any program would, 4 runs programs or looks at them, 3 is actors, 2 mailboxes,
// 1 the segment, 0 what knows nothing of the project.
var rooms = map[string]room{
	"bench":                {floor: 5, may: []string{"actor", "bench/floor", "supervisor"}},
	"bench/storm":          {floor: 5, may: []string{"actor", "mailbox", "shm", "supervisor"}, unsafe: []string{"ledger.go"}},
	"examples/accumulator": {floor: 5, may: []string{"actor", "supervisor"}},
	"examples/bytes":       {floor: 5, may: []string{"mailbox", "shm"}},
	"examples/calculator":  {floor: 5, may: []string{"actor", "supervisor"}},
	"examples/quickstart":  {floor: 5, may: []string{"actor", "supervisor"}},

	"cmd/shmtop": {
		floor: 4,
		may: []string{
			"mailbox",
			"shm",
			"charm.land/bubbletea/v2",
			"charm.land/lipgloss/v2",
			"github.com/charmbracelet/x/term",
		},
	},
	"supervisor": {
		floor: 4,
		may:   []string{"actor", "internal/sys", "mailbox", "shm"},
		tests: []string{"internal/points", "internal/word"},
	},

	"actor": {
		floor: 3,
		may:   []string{"internal/codec", "internal/sys", "mailbox", "shm"},
	},
	"mailbox": {
		floor: 2,
		may:   []string{"internal/sys", "internal/word", "shm"},
		tests: []string{"internal/explore", "internal/points", "github.com/anishathalye/porcupine"},
	},
	"shm": {
		floor:  1,
		may:    []string{"internal/sys", "internal/word", "github.com/cespare/xxhash/v2"},
		unsafe: []string{"memory.go"},
		pins:   []string{"frame.go"},
	},

	"bench/floor": { // what calls are compared with: nothing of ours
		unsafe: []string{"shm_linux.go"},
	},
	"internal/codec": {
		may:    []string{"github.com/fxamacker/cbor/v2"},
		unsafe: []string{"*"},
	},
	"internal/sys": {
		may:    []string{"golang.org/x/sys/unix"},
		unsafe: []string{"*"},
	},
	"internal/explore": {
		may:    []string{"internal/word"},
		unsafe: []string{"*"},
	},
	"internal/points": {
		may:    []string{"internal/word"},
		unsafe: []string{"tracer.go"},
	},
	"internal/shape":   {},
	"internal/testkit": {},
	"internal/word": {
		may:    []string{"internal/sys"},
		unsafe: []string{"*"},
	},
}

// only names the one room of each module from elsewhere that has one.
var only = map[string]string{
	"github.com/cespare/xxhash": "shm",
	"github.com/fxamacker/cbor": "internal/codec",
	"golang.org/x/sys":          "internal/sys",
}

// never names what a room and those below it may not import, whatever its row says, and why.
var never = []struct{ room, what, why string }{
	{"bench", "internal", "it measures what a user's program gets"},
	{"examples", "internal", "a user's program cannot"},
	{"cmd/shmtop", "actor", "it looks at programs that know nothing of it, by the bytes alone"},
	{"cmd/shmtop", "supervisor", "it looks at programs that know nothing of it, by the bytes alone"},
}

func TestLayers(t *testing.T) {
	report(t, checkImports(code(t), rooms))
}

func TestRoomsObeyTheFloors(t *testing.T) {
	report(t, checkRooms(rooms))
}

// checkImports compares the imports of a tree with the table: packages without a row, imports without permission, rows
// and permissions without use.
func checkImports(tr *tree, rooms map[string]room) (wrong []string) {
	used := make(map[string]map[string]bool) // by room: what was used, in the words of permissions
	for _, s := range tr.sources {
		r, ok := rooms[s.dir]
		if used[s.dir] == nil {
			used[s.dir] = make(map[string]bool)
			if !ok {
				wrong = append(wrong, fmt.Sprintf("package %s has no row in the table of rooms", s.dir))
			}
		}
		if !ok {
			continue
		}
		for _, spec := range s.file.Imports {
			name, inside := tr.importName(spec)
			if spec.Name != nil && spec.Name.Name == "." {
				wrong = append(wrong, fmt.Sprintf("%s: the names of %s would stand bare", tr.at(spec.Pos()), name))
			}
			var permission string
			switch {
			case name == "unsafe":
				permission = r.unsafePermission(s)
			case !inside && standard(name):
				continue
			default:
				permission = r.permission(s, name)
			}
			if permission == "" {
				wrong = append(wrong, fmt.Sprintf("%s: the room %s may not import %s here", tr.at(spec.Pos()), s.dir, name))
			}
			used[s.dir][permission] = true
			if strings.HasPrefix(permission, "pins ") {
				wrong = append(wrong, tr.checkPins(s)...)
			}
		}
	}
	for dir, r := range rooms {
		if used[dir] == nil {
			wrong = append(wrong, fmt.Sprintf("room %s: there is no such package", dir))
			continue
		}
		for _, p := range r.permissions() {
			if !used[dir][p] {
				wrong = append(wrong, fmt.Sprintf("room %s: the permission %q is not used", dir, p))
			}
		}
	}
	slices.Sort(wrong)
	return wrong
}

// importName returns the path of an import, from the root of the module if it lies inside.
func (t *tree) importName(spec *ast.ImportSpec) (name string, inside bool) {
	name, _ = strconv.Unquote(spec.Path.Value) // the parser has seen it
	if name == t.module {
		return ".", true
	}
	if rest, ok := strings.CutPrefix(name, t.module+"/"); ok {
		return rest, true
	}
	return name, false
}

// standard reports whether an import path is one of the standard library's, which have no dot in their first element.
func standard(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	return name != "C" && !strings.Contains(first, ".")
}

// permissions lists all that a room permits, as permission and unsafePermission name it.
func (r room) permissions() (all []string) {
	for kind, names := range map[string][]string{"may": r.may, "tests": r.tests, "unsafe": r.unsafe, "pins": r.pins} {
		for _, name := range names {
			all = append(all, kind+" "+name)
		}
	}
	return all
}

// permission returns what permits a file an import, "" if nothing does.
func (r room) permission(s source, name string) string {
	switch {
	case !s.test && slices.Contains(r.may, name):
		return "may " + name
	case !s.test:
		return ""
	case name == s.dir, name == "internal/testkit", slices.Contains(r.may, name):
		return "free"
	case slices.Contains(r.tests, name):
		return "tests " + name
	}
	return ""
}

// unsafePermission returns what permits a file to import unsafe, "" if nothing does.
func (r room) unsafePermission(s source) string {
	base := path.Base(s.path)
	switch {
	case s.test && len(r.unsafe) > 0:
		return "free"
	case s.test:
		return r.permission(s, "unsafe")
	case slices.Contains(r.unsafe, "*"):
		return "unsafe *"
	case slices.Contains(r.unsafe, base):
		return "unsafe " + base
	case slices.Contains(r.pins, base):
		return "pins " + base
	}
	return ""
}

// checkPins finds what a file does with unsafe other than ask for constants.
func (t *tree) checkPins(s source) (wrong []string) {
	ast.Inspect(s.file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok || !isIdent(sel.X, "unsafe") {
			return true
		}
		switch sel.Sel.Name {
		case "Sizeof", "Alignof", "Offsetof":
		default:
			wrong = append(wrong, fmt.Sprintf("%s: this file may use unsafe for sizes and offsets only", t.at(sel.Pos())))
		}
		return true
	})
	return wrong
}

func isIdent(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}

// checkRooms finds what the table permits against the floors and the rules of only and never.
func checkRooms(rooms map[string]room) (wrong []string) {
	for _, dir := range slices.Sorted(maps.Keys(rooms)) {
		r := rooms[dir]
		for _, name := range r.may {
			if other, ok := rooms[name]; ok && other.floor >= r.floor && other.floor > 0 && !within(name, dir) {
				wrong = append(wrong, fmt.Sprintf("room %s: %s is not below it", dir, name))
			}
			for module, owner := range only {
				if within(name, module) && dir != owner {
					wrong = append(wrong, fmt.Sprintf("room %s: only %s may import %s", dir, owner, name))
				}
			}
		}
		for _, name := range slices.Concat(r.may, r.tests) {
			if _, ok := rooms[name]; !ok && standard(name) && name != "unsafe" {
				wrong = append(wrong, fmt.Sprintf("room %s: %s is no room, and the standard library needs no permission", dir, name))
			}
			for _, rule := range never {
				if within(dir, rule.room) && within(name, rule.what) {
					wrong = append(wrong, fmt.Sprintf("room %s may never import %s: %s", dir, name, rule.why))
				}
			}
		}
		for _, name := range r.tests {
			if slices.Contains(r.may, name) || name == dir || name == "internal/testkit" {
				wrong = append(wrong, fmt.Sprintf("room %s: its tests may import %s already", dir, name))
			}
		}
		if slices.Contains(r.may, "internal/testkit") || slices.Contains(r.may, "internal/shape") {
			wrong = append(wrong, fmt.Sprintf("room %s: the test helpers are for tests", dir))
		}
	}
	return wrong
}

func TestCheckImports(t *testing.T) {
	table := map[string]room{
		"low": {may: []string{"example.com/lib"}, unsafe: []string{"memory.go"}, pins: []string{"layout.go"}},
		"top": {floor: 1, may: []string{"low"}, tests: []string{"example.com/test"}},
	}
	good := map[string]string{
		"low/low.go":         "package low\nimport (\n\"fmt\"\n\"example.com/lib\"\n)\n",
		"low/memory.go":      "package low\nimport \"unsafe\"\nvar p unsafe.Pointer\n",
		"low/layout.go":      "package low\nimport \"unsafe\"\nconst size = unsafe.Sizeof(0)\n",
		"low/low_test.go":    "package low\nimport (\n\"unsafe\"\n\"m/internal/testkit\"\n)\n",
		"top/top_windows.go": "package top\nimport \"m/low\"\n",
		"top/top_test.go":    "package top_test\nimport (\n\"m/top\"\n\"m/low\"\n\"example.com/test\"\n)\n",
	}
	for _, c := range []struct {
		name, file, text string // a change to the good tree
		want             []string
	}{
		{name: "good"},
		{
			"no row", "new/new.go", "package new\nimport \"example.com/any\"\n",
			[]string{"package new has no row"},
		},
		{
			"upwards", "low/up.go", "package low\nimport \"m/top\"\n",
			[]string{"low/up.go:2: the room low may not import top"},
		},
		{
			"foreign", "top/x.go", "package top\nimport \"example.com/lib\"\n",
			[]string{"top/x.go:2: the room top may not import example.com/lib"},
		},
		{
			"test dependency in code", "top/x.go", "package top\nimport \"example.com/test\"\n",
			[]string{"the room top may not import example.com/test"},
		},
		{
			"foreign in test", "low/x_test.go", "package low\nimport \"example.com/test\"\n",
			[]string{"low/x_test.go:2: the room low may not import example.com/test"},
		},
		{
			"unsafe in another file", "low/x.go", "package low\nimport \"unsafe\"\n",
			[]string{"low/x.go:2: the room low may not import unsafe"},
		},
		{
			"unsafe in another room", "top/memory.go", "package top\nimport \"unsafe\"\n",
			[]string{"top/memory.go:2: the room top may not import unsafe"},
		},
		{
			"unsafe in a test", "top/x_test.go", "package top\nimport \"unsafe\"\n",
			[]string{"the room top may not import unsafe"},
		},
		{
			"more than sizes", "low/layout.go", "package low\nimport \"unsafe\"\nvar p unsafe.Pointer\n",
			[]string{"low/layout.go:3: this file may use unsafe for sizes and offsets only"},
		},
		{
			"cgo", "top/c.go", "package top\nimport \"C\"\n",
			[]string{"the room top may not import C"},
		},
		{
			"bare names", "top/x.go", "package top\nimport . \"fmt\"\n",
			[]string{"top/x.go:2: the names of fmt would stand bare"},
		},
		{
			"unused import", "low/low.go", "package low\n",
			[]string{`room low: the permission "may example.com/lib" is not used`},
		},
		{
			"unused unsafe", "low/memory.go", "package low\n",
			[]string{`room low: the permission "unsafe memory.go" is not used`},
		},
		{
			"unused pins", "low/layout.go", "package low\n",
			[]string{`room low: the permission "pins layout.go" is not used`},
		},
		{
			"used by tests only", "top/top_windows.go", "package top\n",
			[]string{`room top: the permission "may low" is not used`},
		},
		{
			"unused by tests", "top/top_test.go", "package top\n",
			[]string{`room top: the permission "tests example.com/test" is not used`},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := maps.Clone(good)
			if c.file != "" {
				files[c.file] = c.text
			}
			want(t, checkImports(parsed(t, fake(files)), table), c.want...)
		})
	}
	t.Run("no package", func(t *testing.T) {
		with := maps.Clone(table)
		with["gone"] = room{}
		want(t, checkImports(parsed(t, fake(good)), with), "room gone: there is no such package")
	})
}

func TestCheckRooms(t *testing.T) {
	want(t, checkRooms(map[string]room{
		"shm":               {floor: 1, may: []string{"internal/sys", "github.com/cespare/xxhash/v2"}},
		"internal/sys":      {may: []string{"golang.org/x/sys/unix", "internal/other"}},
		"internal/other":    {tests: []string{"unsafe"}},
		"internal/testkit":  {},
		"cmd/shmtop":        {floor: 4, may: []string{"shm", "cmd/shmtop/screen"}},
		"cmd/shmtop/screen": {floor: 4},
	}))
	for _, c := range []struct {
		name string
		room string
		row  room
		want string
	}{
		{"upwards", "mailbox", room{floor: 2, may: []string{"actor"}}, "actor is not below it"},
		{"sideways", "mailbox", room{floor: 3, may: []string{"actor"}}, "actor is not below it"},
		{"second room", "mailbox", room{floor: 2, may: []string{"golang.org/x/sys/unix"}}, "only internal/sys may import"},
		{"inside", "examples/x", room{floor: 5, may: []string{"internal/sys"}}, "may never import internal/sys"},
		{"inside, in tests", "bench", room{floor: 5, tests: []string{"internal/sys"}}, "may never import internal/sys"},
		{"monitor", "cmd/shmtop/screen", room{floor: 4, may: []string{"actor"}}, "may never import actor"},
		{"standard library", "mailbox", room{floor: 2, may: []string{"fmt"}}, "fmt is no room"},
		{"no such room", "mailbox", room{floor: 2, may: []string{"shn"}}, "shn is no room"},
		{"twice", "mailbox", room{floor: 4, may: []string{"actor"}, tests: []string{"actor"}}, "its tests may import actor already"},
		{"test helpers", "mailbox", room{floor: 2, may: []string{"internal/testkit"}}, "the test helpers are for tests"},
	} {
		t.Run(c.name, func(t *testing.T) {
			want(t, checkRooms(map[string]room{
				"actor": {floor: 3}, "internal/sys": {}, "internal/testkit": {}, c.room: c.row,
			}), c.want)
		})
	}
}
