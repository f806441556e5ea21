package points

import (
	"bufio"
	"fmt"
	"io"
	"path"
	"runtime"
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

// Resolver finds points by the stack of their access.
type Resolver struct {
	list      *List
	at        map[place]int
	accessors map[string]bool
	known     map[stack]site
}

// stackDepth is how many frames tell a point: it, the accessors between it and the word, and those of package word.
const stackDepth = 8

type stack [stackDepth]uintptr

// site is where an access is made: a point, or if there is none, what is known of it.
type site struct {
	point   int // index, -1 for none
	outside bool
	where   string
}

// NewResolver makes a resolver. One goroutine at a time uses it.
func NewResolver(l *List) *Resolver {
	r := &Resolver{l, map[place]int{}, map[string]bool{}, map[stack]site{}}
	for i := range l.Points {
		r.at[l.Points[i].place()] = i
	}
	for _, a := range l.Accessors {
		r.accessors[a] = true
	}
	return r
}

// find resolves a stack whose first frames are in package word.
func (r *Resolver) find(pcs stack, n int) site {
	s, ok := r.known[pcs]
	if !ok {
		s = r.resolve(pcs[:n])
		r.known[pcs] = s
	}
	return s
}

// resolve walks from the word's method up through accessors to the outermost point. An accessor that is called from a
// package without points, a test for example, is one itself only if the list says so.
func (r *Resolver) resolve(pcs []uintptr) site {
	frames := runtime.CallersFrames(pcs)
	found, op := site{point: -1}, ""
	for more := true; more; {
		var frame runtime.Frame
		frame, more = frames.Next()
		name := plainName(frame.Function)
		if strings.HasPrefix(name, "word.") {
			op = name // the outermost of them is what was called
			continue
		}
		file := path.Base(path.Dir(frame.File)) + "/" + path.Base(frame.File)
		i, isPoint := r.at[place{file, frame.Line, op[strings.LastIndexByte(op, '.')+1:]}]
		switch {
		case isPoint:
			found = site{point: i}
		case found.point < 0:
			found.where = fmt.Sprintf("%s:%d %s, %s", file, frame.Line, frame.Function, op)
			found.outside = !r.inside(name) || strings.HasSuffix(file, "_test.go")
		}
		if !r.accessors[name] {
			break
		}
		op = name
	}
	return found
}

// inside reports whether a function is of a package that has points.
func (r *Resolver) inside(name string) bool {
	for _, p := range packages {
		if strings.HasPrefix(name, p+".") {
			return true
		}
	}
	return false
}

// plainName turns the name of a function at run time into the name in the list: without the path of its package, the
// marks of a pointer, and what the compiler puts behind the name.
func plainName(f string) string {
	f = f[strings.LastIndexByte(f, '/')+1:]
	return strings.NewReplacer("(*", "", ")", "").Replace(f)
}
