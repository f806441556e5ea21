package shape

import (
	"fmt"
	"go/ast"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// models is the folder of the protocol's models. Its statements name the steps that they are, and so do the statements of the
// code that make the same atomic access: `// step: push.publish` there, `/* step: push.publish */` here.
const models = "docs/model"

var (
	stepNote  = regexp.MustCompile(`(?:^//|;) step: (.*)$`)
	modelNote = regexp.MustCompile(`/\* step: (.*?) \*/`)
	stepName  = regexp.MustCompile(`^[a-z]+\.[a-z]+(-[a-z]+)*$`)
	modelUnit = regexp.MustCompile(`^(?:proctype|inline) (\w+)`)
	stepRow   = regexp.MustCompile("^\\| `([a-z.-]+)` \\|")
)

// modelOnly are the steps of the models that no statement of the code is, and why.
var modelOnly = map[string]string{
	"frame.fill":     "plain stores into a frame that nobody else may touch",
	"handler.run":    "the user's code",
	"kernel.kill":    "what the models are about",
	"letter.publish": "steps 4 to 7 of the dead-letter ring, each of which the code names as push",
	"token.carry":    "a token travels in a message of the user's",
}

func TestStepsOfTheModelAreStepsOfTheCode(t *testing.T) {
	report(t, checkSteps(root(t), code(t), modelOnly))
}

// places are where a step is made: functions of the code, or parts of the models.
type places map[string][]string

func (p places) add(step, where string) {
	if !slices.Contains(p[step], where) {
		p[step] = append(p[step], where)
	}
}

func checkSteps(fsys fs.FS, tr *tree, modelOnly map[string]string) (wrong []string) {
	inCode, wrong := tr.steps()
	inModel, more := modelSteps(fsys)
	wrong = append(wrong, more...)
	if len(inCode) == 0 {
		wrong = append(wrong, "no step is named in the code")
	}
	for _, step := range slices.Sorted(maps.Keys(inCode)) {
		if inModel[step] == nil {
			wrong = append(wrong, fmt.Sprintf("%s: no model has the step %s", inCode[step][0], step))
		}
	}
	for _, step := range slices.Sorted(maps.Keys(inModel)) {
		if inCode[step] == nil && modelOnly[step] == "" {
			wrong = append(wrong, fmt.Sprintf("%s: no code is the step %s", inModel[step][0], step))
		}
	}
	for _, step := range slices.Sorted(maps.Keys(modelOnly)) {
		if inModel[step] == nil || inCode[step] != nil {
			wrong = append(wrong, fmt.Sprintf("the step %s is not one of the models alone", step))
		}
	}
	return append(wrong, checkTable(fsys, inCode, inModel)...)
}

// steps finds the steps that the code names, by the function that makes them.
func (t *tree) steps() (found places, wrong []string) {
	found = places{}
	for _, s := range t.sources {
		if s.test {
			continue
		}
		for _, group := range s.file.Comments {
			for _, c := range group.List {
				note := stepNote.FindStringSubmatch(c.Text)
				if note == nil {
					continue
				}
				switch {
				case !stepName.MatchString(note[1]):
					wrong = append(wrong, fmt.Sprintf("%s: %q names no step, want party.step", t.at(c.Pos()), note[1]))
				case !within(s.dir, shared...):
					wrong = append(wrong, t.at(c.Pos())+": the protocol's steps are made in shm and mailbox only")
				default:
					found.add(note[1], s.dir+" "+s.function(c))
				}
			}
		}
	}
	return found, wrong
}

// function is the name of the function that a comment stands in, or on the line of.
func (s source) function(c *ast.Comment) string {
	name := "?"
	for _, d := range s.file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Pos() > c.Pos() {
			continue
		}
		name = f.Name.Name
		if f.Recv != nil {
			kind := f.Recv.List[0].Type
			if star, ok := kind.(*ast.StarExpr); ok {
				kind = star.X
			}
			name = fmt.Sprint(kind, ".", name)
		}
	}
	return name
}

// modelSteps finds the steps that the models name, by the part of the model that makes them.
func modelSteps(fsys fs.FS) (found places, wrong []string) {
	found = places{}
	files, err := fs.Glob(fsys, path.Join(models, "*.pml"))
	if err != nil || len(files) == 0 {
		return found, []string{fmt.Sprintf("no models in %s: %v", models, err)}
	}
	for _, file := range files {
		text, err := fs.ReadFile(fsys, file)
		if err != nil {
			wrong = append(wrong, err.Error())
		}
		unit, n := "?", 0
		for line := range strings.Lines(string(text)) {
			n++
			if u := modelUnit.FindStringSubmatch(line); u != nil {
				unit = u[1]
			}
			for _, note := range modelNote.FindAllStringSubmatch(line, -1) {
				for step := range strings.SplitSeq(note[1], ", ") {
					if !stepName.MatchString(step) {
						wrong = append(wrong, fmt.Sprintf("%s:%d: %q names no step, want party.step", file, n, step))
						continue
					}
					found.add(step, path.Base(file)+" "+unit)
				}
			}
		}
	}
	return found, wrong
}

// checkTable compares the table of steps in the models' README with what code and models say.
func checkTable(fsys fs.FS, inCode, inModel places) (wrong []string) {
	file := path.Join(models, "README.md")
	text, err := fs.ReadFile(fsys, file)
	if err != nil {
		return []string{err.Error()}
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if row := stepRow.FindStringSubmatch(line); row != nil {
			rows[row[1]] = strings.TrimSpace(line)
		}
	}
	for _, step := range slices.Sorted(maps.Keys(inCode)) {
		row := fmt.Sprintf("| `%s` | %s | %s |", step, strings.Join(inCode[step], ", "), strings.Join(inModel[step], ", "))
		if rows[step] != row {
			wrong = append(wrong, fmt.Sprintf("%s: the row of a step is %q, want\n%s", file, rows[step], row))
		}
		delete(rows, step)
	}
	for _, step := range slices.Sorted(maps.Keys(rows)) {
		if inModel[step] == nil {
			wrong = append(wrong, fmt.Sprintf("%s: the row of %s is for no step", file, step))
		}
	}
	return wrong
}

func TestCheckSteps(t *testing.T) {
	good := map[string]string{
		"shm/a.go":             "package shm\n\nfunc (p *Pool) put() {\n\tw.Store(1) // sync: x; step: a.both\n\tw.Store(1) // step: a.both\n}\n",
		"docs/model/m.pml":     "inline first() {\n\tx = 1; /* C1 */ /* step: a.both, a.alone */\n}\n",
		"docs/model/README.md": "| `a.both` | shm Pool.put | m.pml first |\n| `a.alone` | | m.pml first |\n",
	}
	alone := map[string]string{"a.alone": "for a reason"}
	for _, c := range []struct {
		name, file, text string // a change to the good tree
		want             []string
	}{
		{name: "good"},
		{"in the code only", "mailbox/b.go", "package mailbox\n\nvar v = w.Load() // step: b.gone\n", []string{
			"mailbox ?: no model has the step b.gone", "the row of a step is \"\"",
		}},
		{"in the model only", "docs/model/n.pml", "proctype P() {\n\t/* step: b.gone */\n}\n", []string{"n.pml P: no code is the step b.gone"}},
		{"no name", "docs/model/n.pml", "/* step: Gone */\n", []string{`n.pml:1: "Gone" names no step`}},
		{"no name in the code", "shm/b.go", "package shm\n\nvar v = w.Load() // step: gone\n", []string{`shm/b.go:3: "gone" names no step`}},
		{"elsewhere", "actor/b.go", "package actor\n\nvar v = w.Load() // step: a.both\n", []string{"in shm and mailbox only"}},
		{"not in a test", "actor/b_test.go", "package actor\n\nvar v = w.Load() // step: c.other\n", nil},
		{"another function", "shm/b.go", "package shm\n\nfunc get() {\n\tw.Load() // step: a.both\n}\n", []string{"want\n| `a.both` | shm Pool.put, shm get |"}},
		{"row without step", "docs/model/README.md", good["docs/model/README.md"] + "| `c.old` | shm x | |\n", []string{"the row of c.old is for no step"}},
		{"not alone", "shm/b.go", "package shm\n\nfunc (p *Pool) put() {\n\tw.Load() // step: a.alone\n}\n", []string{
			"the step a.alone is not one of the models alone", "the row of a step",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := maps.Clone(good)
			if c.file != "" {
				files[c.file] = c.text
			}
			fsys := fake(files)
			want(t, checkSteps(fsys, parsed(t, fsys), alone), c.want...)
		})
	}
}
