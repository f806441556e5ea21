package points

import (
	"bytes"
	"reflect"
	"slices"
	"testing"
)

// The list is made, and no point of it is ambiguous.
func TestList(t *testing.T) {
	l, err := NewList("../..")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	functions := map[string]string{} // by operation: one function that has it
	for i := range l.Points {
		p := &l.Points[i]
		t.Logf("%s:%d\t%s", p.File, p.Line, p.Name)
		if names[p.Name] {
			t.Errorf("%s is there twice", p.Name)
		}
		names[p.Name] = true
		functions[p.Op] = p.Name
	}
	t.Logf("%d points, %d accessors", len(l.Points), len(l.Accessors))
	for _, op := range []string{"Load", "Store", "Swap", "CompareAndSwap", "Add", "Or", "Sleep", "Wake", "Move", "Set", "Owner"} {
		if functions[op] == "" {
			t.Errorf("no point does %s", op)
		}
	}
	for _, a := range []string{"shm.Frame.Move", "shm.Frame.Owner", "mailbox.load"} {
		if !slices.Contains(l.Accessors, a) {
			t.Errorf("%s is no accessor", a)
		}
	}
}

// A list that is written is read as it was.
func TestListIsRead(t *testing.T) {
	l := &List{
		Points: []Point{
			{Name: "shm.Segment.Free:2 Set", File: "shm/pool.go", Line: 7, Op: "Set", Write: true},
			{Name: "mailbox.load:1 Load", File: "mailbox/layout.go", Line: 1, Op: "Load"},
		},
		Accessors: []string{"mailbox.load", "shm.Frame.Set"},
	}
	var b bytes.Buffer
	if err := l.Write(&b); err != nil {
		t.Fatal(err)
	}
	whole := b.String()
	again, err := Read(&b)
	if err != nil || !reflect.DeepEqual(again, l) {
		t.Errorf("%+v, %v", again, err)
	}
	for n := range len(whole) - 1 {
		if _, err := Read(bytes.NewBufferString(whole[:n])); err == nil && n < len(whole)-len("shm.Frame.Set\n") {
			t.Errorf("%d bytes of %d are read", n, len(whole))
		}
	}
}

// Names of functions at run time are those of the list.
func TestPlainName(t *testing.T) {
	for at, want := range map[string]string{
		"example.com/m/mailbox.(*Mailbox).push": "mailbox.Mailbox.push",
		"example.com/m/shm.Frame.Move":          "shm.Frame.Move",
		"example.com/m/mailbox.load":            "mailbox.load",
	} {
		if got := plainName(at); got != want {
			t.Errorf("%s is %s, want %s", at, got, want)
		}
	}
}
