package codec

import (
	"math/big"
	"reflect"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// plan is what is known of a type that goes as CBOR before any value of it is
// seen.
type plan struct {
	// look leads to the parts of a value that only a look at the value can judge.
	// It is nil when the type alone says that every value is fine.
	look *node
	// bigInts is set when a value can hold integers beyond 64 bits.
	bigInts bool
	// opaque is set when parts write their own CBOR, nested as deep as they like.
	opaque bool
}

// node is a part of a type below which values have to be looked at. Parts that
// are fine by their type have no node.
type node struct {
	kind nodeKind
	elem *node     // of a nodePointer, nodeList or nodeMap
	sub  []subNode // of a nodeStruct
}

// nodeKind says how to look at a part of a value.
type nodeKind uint8

const (
	nodeTime    nodeKind = iota // a time.Time: not all fit the text form
	nodeAny                     // an interface: may hold anything
	nodePointer                 // a pointer that leads on, or to what may be written as nil
	nodeList                    // an array or slice of parts to look at
	nodeMap                     // a map with elements to look at
	nodeStruct                  // a struct with fields to look at
)

// subNode is a field of a struct that has to be looked at.
type subNode struct {
	index []int
	path  string
	node  *node
}

// planner makes the plan of one type.
type planner struct {
	plan
	// untyped is set for what an interface holds: it is decoded without a type to
	// guide it, so a map must have strings as its keys.
	untyped bool
	// done has the node of each type that was planned, nil for none.
	done map[reflect.Type]*node
	// open has the types that are being planned further up. Meeting one again
	// means that its values can be nested without end.
	open map[reflect.Type]*node
}

// newPlan checks that values of t can be encoded as CBOR and says what to look at
// in each.
func newPlan(t reflect.Type, untyped bool) (*plan, *pathError) {
	p := planner{untyped: untyped, done: map[reflect.Type]*node{}, open: map[reflect.Type]*node{}}
	look, err := p.part(t)
	if err != nil {
		return nil, err
	}
	p.look = look
	return &p.plan, nil
}

// part plans t, which is the whole type or a part of it.
func (p *planner) part(t reflect.Type) (*node, *pathError) {
	if n, ok := p.done[t]; ok {
		return n, nil
	}
	if n, ok := p.open[t]; ok {
		return n, nil
	}
	n := new(node)
	p.open[t] = n
	needed, err := p.fill(n, t)
	delete(p.open, t)
	if err != nil {
		return nil, err
	}
	if !needed {
		n = nil
	}
	p.done[t] = n
	return n, nil
}

// fill makes n the node for t and reports if it is needed.
func (p *planner) fill(n *node, t reflect.Type) (needed bool, err *pathError) {
	switch t {
	case reflect.TypeFor[time.Time]():
		n.kind = nodeTime
		return true, nil
	case reflect.TypeFor[big.Int]():
		p.bigInts = true
		return false, nil
	case reflect.TypeFor[cbor.Tag]():
		return false, refuse("cbor.Tag cannot be encoded: tags other than of times and integers are dropped")
	}
	if own, err := p.own(t); own || err != nil {
		return false, err
	}
	switch t.Kind() {
	case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return false, nil
	case reflect.Interface:
		if t.NumMethod() > 0 {
			return false, refuse("%s cannot be decoded: nothing says which type to make; use a concrete type or any", t)
		}
		n.kind, p.bigInts = nodeAny, true
		return true, nil
	case reflect.Pointer:
		return p.fillPointer(n, t)
	case reflect.Slice, reflect.Array:
		n.kind = nodeList
		n.elem, err = p.part(t.Elem())
		return n.elem != nil, err.under("[]")
	case reflect.Map:
		return p.fillMap(n, t)
	case reflect.Struct:
		return p.fillStruct(n, t)
	case reflect.Complex64, reflect.Complex128:
		return false, refuse("%s cannot be encoded beside pointers, strings, slices or maps; use two floats", t)
	case reflect.Uintptr, reflect.UnsafePointer:
		return false, refuse("%s cannot be encoded: an address means nothing in another process", t)
	default:
		return false, refuse("%s cannot be encoded", t)
	}
}

// own reports if values of t write themselves inside CBOR, and refuses a type
// that can do so only one way.
func (p *planner) own(t reflect.Type) (bool, *pathError) {
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface {
		return false, nil // the CBOR package asks what it points to, or holds
	}
	for _, k := range []*ownKind{&cborKind, binaryKind} {
		if k.both(t) {
			p.opaque = p.opaque || k == &cborKind
			p.bigInts = p.bigInts || k == &cborKind
			return true, k.leavesOut(t)
		}
		if lacks := k.half(t); lacks != nil {
			return false, refuse("%s does not implement %s, only its counterpart", t, lacks)
		}
	}
	return false, nil
}

// fillPointer plans a pointer type.
func (p *planner) fillPointer(n *node, t reflect.Type) (bool, *pathError) {
	to := t.Elem()
	if k := to.Kind(); k == reflect.Pointer || k == reflect.Interface {
		return false, refuse("%s cannot be encoded: a nil at its end and a nil at its start would become the same", t)
	}
	var err *pathError
	n.kind = nodePointer
	n.elem, err = p.part(to)
	writtenAsNil := to.Kind() == reflect.Slice || to.Kind() == reflect.Map
	return n.elem != nil || writtenAsNil, err
}

// fillMap plans a map type.
func (p *planner) fillMap(n *node, t reflect.Type) (bool, *pathError) {
	key := t.Key()
	if key.Kind() == reflect.Pointer {
		return false, refuse("%s cannot be encoded: as a key, an address means nothing in another process",
			key).under("[key]")
	}
	if p.untyped && (key.Kind() != reflect.String || bringsOwn(key)) {
		return false, refuse("%s cannot be encoded in an interface: it is decoded as map[string]any, "+
			"so its keys must be strings", t)
	}
	look, err := p.part(key)
	if err == nil && look != nil {
		err = refuse("%s cannot be encoded as a key: it has an interface or a time in it, "+
			"and would not be equal to itself when it arrives", key)
	}
	if err != nil {
		return false, err.under("[key]")
	}
	n.kind = nodeMap
	n.elem, err = p.part(t.Elem())
	return n.elem != nil, err.under("[]")
}

// fillStruct plans a struct type.
func (p *planner) fillStruct(n *node, t reflect.Type) (bool, *pathError) {
	fields, integers, err := cborFields(t)
	if err != nil {
		return false, err
	}
	if integers && p.untyped {
		return false, refuse("%s cannot be encoded in an interface: it is decoded as map[string]any, "+
			"and has fields tagged keyasint", t)
	}
	n.kind = nodeStruct
	for _, f := range fields {
		child, err := p.part(f.typ)
		if err != nil {
			return false, err.under(f.path)
		}
		if child != nil {
			n.sub = append(n.sub, subNode{index: f.index, path: f.path, node: child})
		}
	}
	return len(n.sub) > 0, nil
}

// heldPlans has the *heldPlan of each type that was met in an interface.
var heldPlans sync.Map

// heldPlan is the plan of a type that an interface holds, or why there is none.
type heldPlan struct {
	*plan
	err *pathError
}

// planHeld returns the plan for a type that an interface holds. The types of a
// program are few, so none is ever dropped.
func planHeld(t reflect.Type) *heldPlan {
	if h, ok := heldPlans.Load(t); ok {
		return h.(*heldPlan)
	}
	p, err := newPlan(t, true)
	h, _ := heldPlans.LoadOrStore(t, &heldPlan{plan: p, err: err})
	return h.(*heldPlan)
}
