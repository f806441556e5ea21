package main

import (
	"errors"
	"flag"
	"io"
	"reflect"
	"strings"
	"testing"
)

func TestParseOptions(t *testing.T) {
	all := options{scenarios: scenarios, contexts: contexts, placements: placements, effort: fullEffort}
	with := func(change func(*options)) options { o := all; change(&o); return o }
	for _, c := range []struct {
		args  string
		want  options
		wrong string // in what is written, for a command line that is refused
	}{
		{args: "", want: all},
		{args: "-quick", want: with(func(o *options) { o.quick, o.effort = true, quickEffort })},
		{args: "-json out.json", want: with(func(o *options) { o.json = "out.json" })},
		{args: "-n 50", want: with(func(o *options) { o.effort.calls = 50 })},
		{args: "-n 50 -quick", want: with(func(o *options) { o.quick, o.effort = true, quickEffort; o.effort.calls = 50 })},
		{args: "-rounds 3", want: with(func(o *options) { o.effort.rounds = 3 })},
		{args: "-scenario small", want: with(func(o *options) { o.scenarios = []string{small} })},
		{args: "-scenario large-bytes,small,small", want: with(func(o *options) { o.scenarios = []string{small, largeBytes} })},
		{args: "-context worker,direct", want: with(func(o *options) { o.contexts = []string{direct, worker} })},
		{args: "-placement=cross,same", want: with(func(o *options) { o.placements = []string{placedSame, placedCross} })},
		{args: "-scenario tiny", wrong: `unknown word "tiny", want any of small, large, large-bytes`},
		{args: "-scenario small,", wrong: `unknown word ""`},
		{args: "-context thread", wrong: `unknown word "thread", want any of direct, mutex, channel,`},
		{args: "-placement default,near", wrong: `unknown word "near", want any of default, same, cross`},
		{args: "-placement Same", wrong: `unknown word "Same"`},
		{args: "-n 0", wrong: "invalid value 0 for flag -n"},
		{args: "-n -1", wrong: "invalid value -1 for flag -n"},
		{args: "-rounds 0", wrong: "invalid value 0 for flag -rounds"},
		{args: "-n many", wrong: `invalid value "many" for flag -n`},
		{args: "-fast", wrong: "flag provided but not defined: -fast"},
		{args: "small", wrong: `unexpected argument "small"`},
	} {
		t.Run(c.args, func(t *testing.T) {
			var said strings.Builder
			got, err := parseOptions(strings.Fields(c.args), &said)
			switch {
			case c.wrong == "" && err != nil:
				t.Fatal(err)
			case c.wrong == "" && !reflect.DeepEqual(got, c.want):
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			case c.wrong != "" && err == nil:
				t.Error("it was accepted")
			case c.wrong != "" && (!strings.Contains(said.String(), c.wrong) || !strings.Contains(said.String(), "usage:")):
				t.Errorf("it says\n%s\nwant %q and the usage", &said, c.wrong)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	var said strings.Builder
	if _, err := parseOptions([]string{"-h"}, &said); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("got %v, want flag.ErrHelp", err)
	}
	for _, name := range []string{"-quick", "-json", "-n", "-rounds", "-placement", "-scenario", "-context"} {
		if !strings.Contains(said.String(), "\n  "+name+" ") && !strings.Contains(said.String(), "\n  "+name+"\n") {
			t.Errorf("the help does not name %s:\n%s", name, &said)
		}
	}
}

func TestExitStatus(t *testing.T) {
	for _, c := range []struct {
		args string
		want int
	}{
		{"-h", 0},
		{"-context moon", exitMisuse},
		{"-n 0", exitMisuse},
		{"-json no/such/folder/out.json", exitFailed},
	} {
		if got := execute(strings.Fields(c.args), io.Discard, io.Discard); got != c.want {
			t.Errorf("%s: exit status %d, want %d", c.args, got, c.want)
		}
	}
}
