package codec

import (
	"fmt"
	"reflect"
	"strconv"
	"time"
)

// inspector looks at one value before it is encoded, at the parts that its type
// cannot vouch for.
type inspector struct {
	// deep is set when the nesting came near its limit. What lies below the last
	// part looked at is not counted, so the encoding has to be checked.
	deep bool
	// opaque is set when an interface holds something that writes its own CBOR.
	opaque bool
}

// at looks at v by the node n. level is the number of arrays and maps around it.
func (in *inspector) at(n *node, v reflect.Value, level int) *pathError {
	switch n.kind {
	case nodeTime:
		if v.CanAddr() {
			return inspectTime(v.Addr().Interface().(*time.Time))
		}
		t := v.Interface().(time.Time)
		return inspectTime(&t)
	case nodeAny:
		return in.held(v.Interface(), level)
	case nodePointer:
		return in.pointer(n, v, level)
	}
	if k := v.Kind(); (k == reflect.Slice || k == reflect.Map) && v.IsNil() {
		return nil
	}
	level++
	if err := in.nest(level); err != nil {
		return err
	}
	switch n.kind {
	case nodeList:
		for i := range v.Len() {
			if err := in.at(n.elem, v.Index(i), level); err != nil {
				return err.under("[" + strconv.Itoa(i) + "]")
			}
		}
	case nodeMap:
		for it := v.MapRange(); it.Next(); {
			if err := in.at(n.elem, it.Value(), level); err != nil {
				return err.under(fmt.Sprintf("[%v]", it.Key()))
			}
		}
	case nodeStruct:
		for i := range n.sub {
			s := &n.sub[i]
			f, err := v.FieldByIndexErr(s.index)
			if err != nil {
				continue // behind an embedded pointer that is nil
			}
			if err := in.at(s.node, f, level); err != nil {
				return err.under(s.path)
			}
		}
	}
	return nil
}

// nest checks the number of arrays and maps around a part. This is also what ends
// the walk over a value that holds itself, and must do so here: the CBOR package
// would follow it until the stack overflows, which no recover can catch.
func (in *inspector) nest(level int) *pathError {
	if level > maxNestedLevels {
		return refuse("nested deeper than %d levels, or holds itself", maxNestedLevels)
	}
	in.deep = in.deep || level > maxNestedLevels/2
	return nil
}

// pointer looks at a pointer. One that is not nil must not be written as nil.
func (in *inspector) pointer(n *node, v reflect.Value, level int) *pathError {
	if v.IsNil() {
		return nil
	}
	to := v.Elem()
	switch to.Kind() {
	case reflect.Slice, reflect.Map:
		if to.IsNil() {
			return refuse("a pointer to a nil %s would arrive as a nil pointer", to.Kind())
		}
	}
	if n.elem == nil {
		return nil
	}
	if n.elem.kind == nodeTime && to.Addr().Interface().(*time.Time).IsZero() {
		return refuse("a pointer to the zero time would arrive as a nil pointer")
	}
	return in.at(n.elem, to, level)
}

// held looks at what an interface holds. The usual contents of a document without
// a type are told apart without reflection.
func (in *inspector) held(x any, level int) *pathError {
	switch x := x.(type) {
	case nil, bool, string, []byte, int, int8, int16, int32, int64,
		uint, uint8, uint16, uint32, uint64, float32, float64:
		return nil
	case time.Time:
		if x.IsZero() {
			return refuse("the zero time in an interface would arrive as nil")
		}
		return inspectTime(&x)
	case []any:
		if err := in.nest(level + 1); err != nil {
			return err
		}
		for i, e := range x {
			if err := in.held(e, level+1); err != nil {
				return err.under("[" + strconv.Itoa(i) + "]")
			}
		}
		return nil
	case map[string]any:
		if err := in.nest(level + 1); err != nil {
			return err
		}
		for k, e := range x {
			if err := in.held(e, level+1); err != nil {
				return err.under("[" + strconv.Quote(k) + "]")
			}
		}
		return nil
	}
	v := reflect.ValueOf(x)
	p := planHeld(v.Type())
	if p.err != nil {
		e := *p.err // shared by all values of this type
		return e.under("(" + v.Type().String() + ")")
	}
	in.opaque = in.opaque || p.opaque
	if p.look == nil {
		return nil
	}
	return in.at(p.look, v, level).under("(" + v.Type().String() + ")")
}

// inspectTime refuses a time that its text form would shift.
func inspectTime(t *time.Time) *pathError {
	if t.Location() == time.UTC {
		return nil
	}
	if _, offset := t.Zone(); offset%60 != 0 {
		return refuse("the offset of %v from UTC has seconds, which its text form would lose; use its UTC method", t)
	}
	return nil
}
