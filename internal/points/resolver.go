//go:build shmactor_points

package points

import (
	"fmt"
	"path"
	"runtime"
	"strings"
)

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
