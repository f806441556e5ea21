package codec

import (
	"math/big"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// describer writes the structure of a type as text.
type describer struct {
	strings.Builder
	// memory is set when the memory of a value is its encoding, so that every
	// field counts.
	memory bool
	// seen has what a named type is called after its first, full description.
	seen map[reflect.Type]string
	// called counts the types of one name: functions can each declare their own.
	called map[string]int
}

// describe returns the structural description of t. memory tells that the memory
// of a value is its encoding.
func describe(t reflect.Type, memory bool) string {
	d := describer{memory: memory, seen: map[reflect.Type]string{}, called: map[string]int{}}
	d.typ(t)
	return d.String()
}

// typ describes t. A named type is described where it first occurs and is only
// called by its name from then on, which also ends recursion.
func (d *describer) typ(t reflect.Type) {
	if t.Name() == "" {
		d.underlying(t)
		return
	}
	if t.PkgPath() == "" {
		d.WriteString(t.Name())
		return
	}
	if name, ok := d.seen[t]; ok {
		d.WriteString(name)
		return
	}
	name := t.PkgPath() + "." + t.Name()
	d.called[name]++
	if n := d.called[name]; n > 1 {
		name += "#" + strconv.Itoa(n)
	}
	d.seen[t] = name
	d.WriteString(name)
	switch t {
	case reflect.TypeFor[time.Time](), reflect.TypeFor[big.Int]():
		return // their encoding does not depend on what they are made of
	}
	d.WriteByte(' ')
	d.underlying(t)
}

// underlying describes what t is, apart from its name.
func (d *describer) underlying(t reflect.Type) {
	switch t.Kind() {
	case reflect.Pointer:
		d.WriteByte('*')
		d.typ(t.Elem())
	case reflect.Slice:
		d.WriteString("[]")
		d.typ(t.Elem())
	case reflect.Array:
		d.WriteString("[" + strconv.Itoa(t.Len()) + "]")
		d.typ(t.Elem())
	case reflect.Map:
		d.WriteString("map[")
		d.typ(t.Key())
		d.WriteByte(']')
		d.typ(t.Elem())
	case reflect.Struct:
		d.fields(t)
	case reflect.Interface:
		// Its methods only matter where it has no name, beside what a type encodes
		// itself. Asking for them one by one would keep every method of the program.
		if t.Name() == "" {
			d.WriteString(t.String())
			return
		}
		d.WriteString("interface")
	default: // also chan and func, which only a type that encodes itself may have
		d.WriteString(t.Kind().String())
	}
}

// fields describes the fields of a struct. Unexported ones count in full only
// where memory is the encoding; elsewhere they belong to a type that encodes
// itself, and what they are made of is that package's business.
func (d *describer) fields(t reflect.Type) {
	ownEncoding := bringsOwn(t) || ownKindOf(t) != nil
	d.WriteString("struct{")
	for f := range t.Fields() {
		if fieldTag(f) == "-" && !ownEncoding {
			continue // it stays behind
		}
		d.WriteString(f.Name + " ")
		if f.Anonymous {
			d.WriteString("embedded ")
		}
		_, embedded := embeddedStruct(f)
		if d.memory || f.IsExported() || embedded && !ownEncoding {
			d.typ(f.Type)
		} else {
			d.WriteString(f.Type.String())
		}
		for _, key := range []string{"cbor", "json"} {
			if tag, ok := f.Tag.Lookup(key); ok {
				d.WriteString(" " + key + ":" + strconv.Quote(tag))
			}
		}
		d.WriteByte(';')
	}
	d.WriteByte('}')
}
