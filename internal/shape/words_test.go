package shape

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// texts are the kinds of files that are read for words, by extension; textFiles are the ones without.
var (
	texts     = []string{".go", ".json", ".md", ".mod", ".pml", ".sh", ".txt", ".yaml", ".yml"}
	textFiles = []string{".ci/run", ".ci/skips.allow", ".gitignore", "Dockerfile", "Makefile"}
)

// words are what no file says, and why. They are put together here so that this file does not say them either.
var words = []struct {
	pattern *regexp.Regexp
	why     string
}{
	{
		regexp.MustCompile(`(^|[^\w./~-])/(` + "wo" + `rk|ro` + `ot)\b`),
		"names a folder of some machine",
	},
	{
		regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`),
		"leaves something to do: do it, or describe the limit",
	},
}

func TestWords(t *testing.T) {
	wrong, read, err := checkWords(root(t))
	if err != nil {
		t.Fatal(err)
	}
	report(t, wrong)
	for _, name := range []string{"go.mod", ".ci/run", "internal/shape/words_test.go"} {
		if !slices.Contains(read, name) {
			t.Errorf("%s was not read", name)
		}
	}
}

// checkWords finds words in the text files of a tree, and tells which files it read.
func checkWords(fsys fs.FS) (wrong, read []string, err error) {
	err = walk(fsys, func(p string) error {
		if !slices.Contains(texts, path.Ext(p)) && !slices.Contains(textFiles, p) || built(p) {
			return nil
		}
		text, err := fs.ReadFile(fsys, p)
		if err != nil {
			return err
		}
		read = append(read, p)
		line := 0
		for s := range strings.Lines(string(text)) {
			line++
			for _, w := range words {
				if found := w.pattern.FindString(s); found != "" {
					wrong = append(wrong, fmt.Sprintf("%s:%d: %q %s", p, line, strings.TrimSpace(found), w.why))
				}
			}
		}
		return nil
	})
	return wrong, read, err
}

// built reports whether a file lies in the folder for output, which is no part of the repository.
func built(p string) bool { return strings.HasPrefix(p, "out/") }

func TestCheckWords(t *testing.T) {
	const w, r = "/wo" + "rk", "/ro" + "ot" // not said here either
	wrong, _, err := checkWords(fake(map[string]string{
		"a/a.go":            "package a\n\n// See " + w + "/notes.\n",
		"b.md":              "cd " + r + "\n",
		".ci/run":           "echo \"" + r + "/go\"\n",
		"c.sh":              "# TO" + "DO: more\n",
		"d.pml":             "/* FIX" + "ME */ /* HA" + "CK */\n",
		"e.yml":             "x: XX" + "X\n",
		"fine.md":           "workers, at" + w + ", ." + w + ", https://example.com" + r + "/x, " + r + "s, mktemp XX" + "XXXX, hacks\n",
		"out/b.md":          w + "/\n",
		"picture.png":       w + "/\n",
		"nested/go.mod":     "module nested\n",
		"nested/a.md":       w + "/\n",
		"sub/testdata/t.md": w + "/golden\n",
	}))
	if err != nil {
		t.Fatal(err)
	}
	want(
		t, wrong,
		"a/a.go:3: ", "b.md:1: ", ".ci/run:1: ", "c.sh:1: ", "d.pml:1: ", "e.yml:1: ", "sub/testdata/t.md:1: ",
	)
}
