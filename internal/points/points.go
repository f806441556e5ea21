package points

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Point is one access to shared words in the source.
type Point struct {
	Name  string // package, function, number in the function, operation: mailbox.Mailbox.push:4 CompareAndSwap
	File  string // mailbox/send.go
	Line  int
	Op    string // the method of a word, or the accessor
	Write bool   // it may change the word or wake somebody; the others only read
}

// place is how a point is found at run time: no two accesses by one operation stand on one line.
type place struct {
	file string
	line int
	op   string
}

func (p *Point) place() place { return place{p.File, p.Line, p.Op} }

// List is every point, and the accessors through which points reach the word.
type List struct {
	Points    []Point
	Accessors []string // mailbox.Mailbox.state
}

// Write writes the list, for a process that cannot make it.
func (l *List) Write(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprintln(out, len(l.Points), len(l.Accessors))
	for _, p := range l.Points {
		fmt.Fprintln(out, p.File, p.Line, p.Write, p.Name)
	}
	for _, a := range l.Accessors {
		fmt.Fprintln(out, a)
	}
	return out.Flush()
}

// Read reads what Write wrote.
func Read(r io.Reader) (*List, error) {
	in := bufio.NewReader(r)
	var points, accessors int
	if _, err := fmt.Fscanln(in, &points, &accessors); err != nil {
		return nil, fmt.Errorf("points: %w", err)
	}
	l := &List{Points: make([]Point, points), Accessors: make([]string, accessors)}
	for i := range l.Points {
		p, where := &l.Points[i], ""
		if _, err := fmt.Fscanln(in, &p.File, &p.Line, &p.Write, &where, &p.Op); err != nil {
			return nil, fmt.Errorf("points: point %d: %w", i, err)
		}
		p.Name = where + " " + p.Op
	}
	for i := range l.Accessors {
		if _, err := fmt.Fscanln(in, &l.Accessors[i]); err != nil {
			return nil, fmt.Errorf("points: accessor %d: %w", i, err)
		}
	}
	return l, nil
}

// plainName turns the name of a function at run time into the name in the list: without the path of its package, the
// marks of a pointer, and what the compiler puts behind the name.
func plainName(f string) string {
	f = f[strings.LastIndexByte(f, '/')+1:]
	return strings.NewReplacer("(*", "", ")", "").Replace(f)
}
