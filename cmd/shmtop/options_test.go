package main

import (
	"errors"
	"flag"
	"strings"
	"testing"
	"time"
)

func TestOptions(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	o, err := parseOptions(nil)
	if err != nil || o.program != "" || o.interval != time.Second || o.sort != defaultSorting || o.noColor || o.once {
		t.Errorf("%+v, %v", o, err)
	}
	for _, args := range []string{
		"orders --once --interval 250ms --filter depth>1 --sort name:desc --ascii --no-mouse --no-color",
		"--once --interval=250ms -filter depth>1 -sort=name:desc orders --ascii -no-mouse -no-color",
	} {
		o, err := parseOptions(strings.Fields(args))
		if err != nil || o.program != "orders" || !o.once || o.interval != 250*time.Millisecond || o.filter.text != "depth>1" ||
			o.sort != (sorting{field: "name"}) || !o.ascii || !o.noMouse || !o.noColor || o.json || o.list {
			t.Errorf("%s: %+v, %v", args, o, err)
		}
	}
	if o, err := parseOptions([]string{"--list", "--json"}); err != nil || !o.list || !o.json {
		t.Errorf("%+v, %v", o, err)
	}
	t.Setenv("NO_COLOR", "yes")
	if o, err := parseOptions(nil); err != nil || !o.noColor {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestWrongOptions(t *testing.T) {
	for args, want := range map[string]string{
		"one two":        "one program at a time",
		"--nonsense":     "nonsense",
		"--interval 9ms": "want 100ms",
		"--interval x":   "interval",
		"--filter depth": "",
		"--filter ~(":    "missing closing )",
		"--sort size":    `no column "size"`,
	} {
		_, err := parseOptions(strings.Fields(args))
		if want == "" && err == nil {
			continue
		}
		if err == nil || want == "" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
	if _, err := parseOptions([]string{"--help"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("--help: %v", err)
	}
}

// The usage fits a terminal and names every flag.
func TestUsage(t *testing.T) {
	for line := range strings.Lines(usage) {
		if len(line) > 80 {
			t.Errorf("too long: %q", line)
		}
	}
	for _, name := range []string{"list", "once", "json", "interval", "filter", "sort", "no-color", "ascii", "no-mouse"} {
		if !strings.Contains(usage, "--"+name) {
			t.Errorf("no --%s", name)
		}
	}
}
