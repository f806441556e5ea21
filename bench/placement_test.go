package main

import (
	"errors"
	"slices"
	"testing"
)

func TestParseCPUs(t *testing.T) {
	for _, c := range []struct {
		list string
		want []int
	}{
		{"0", []int{0}},
		{"0-1", []int{0, 1}},
		{"0-2,5,8-9", []int{0, 1, 2, 5, 8, 9}},
		{"1023", []int{1023}},
		{"1024", nil},
		{"", nil},
		{"a", nil},
		{"3-1", nil},
		{"-1", nil},
		{"0,,1", nil},
	} {
		if got := parseCPUs(c.list); !slices.Equal(got, c.want) {
			t.Errorf("%q: got %v, want %v", c.list, got, c.want)
		}
	}
}

func TestPossible(t *testing.T) {
	for _, c := range []struct {
		cpus  []int
		where string
		want  bool
	}{
		{nil, placedByDefault, true},
		{nil, placedSame, false},
		{nil, placedCross, false},
		{[]int{3}, placedSame, true},
		{[]int{3}, placedCross, false},
		{[]int{3, 5}, placedCross, true},
	} {
		p := &placer{cpus: c.cpus}
		if err := p.possible(c.where); (err == nil) != c.want {
			t.Errorf("%s with CPUs %v: %v", c.where, c.cpus, err)
		}
	}
	if err := (&placer{}).possible(placedSame); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v, want errors.ErrUnsupported", err)
	}
}

func TestDescribePlacements(t *testing.T) {
	for _, c := range []struct {
		p    placer
		want string
	}{
		{placer{}, "not available"},
		{placer{cpus: []int{2}}, "same: both on CPU 2; cross: impossible with one CPU"},
		{placer{cpus: []int{2, 3}, other: 3}, "same: both on CPU 2; cross: program on CPU 2, the other process on CPU 3"},
	} {
		if got := c.p.describe(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
