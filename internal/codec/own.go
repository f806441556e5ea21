package codec

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"

	"github.com/fxamacker/cbor/v2"
)

// msgpMarshaler is the writing half of what github.com/tinylib/msgp generates.
type msgpMarshaler interface {
	MarshalMsg([]byte) ([]byte, error)
	Msgsize() int
}

// msgpUnmarshaler is the reading half of what github.com/tinylib/msgp generates.
type msgpUnmarshaler interface {
	UnmarshalMsg([]byte) ([]byte, error)
}

// vtMarshaler is the writing half of what github.com/planetscale/vtprotobuf
// generates.
type vtMarshaler interface {
	MarshalToSizedBufferVT([]byte) (int, error)
	SizeVT() int
}

// vtUnmarshaler is the reading half of what github.com/planetscale/vtprotobuf
// generates.
type vtUnmarshaler interface {
	UnmarshalVT([]byte) error
}

// ownKind is one set of methods with which a type can encode itself. Its
// functions take the receiver as an any that is known to have those methods.
type ownKind struct {
	id             ID
	writes, reads  reflect.Type
	writer, reader func(reflect.Type) (reflect.Method, bool)

	append func(dst []byte, m any) ([]byte, error)
	decode func(src []byte, m any) error
	size   func(m any) int // nil: learned from what was written
}

// ownKinds are the kinds in order of preference. The method names are constants
// at each call of MethodByName, because anything else makes the linker keep every
// method of the program.
var ownKinds = [...]ownKind{
	{
		id: Appender, append: appendBinary, decode: unmarshalBinary,
		writes: reflect.TypeFor[encoding.BinaryAppender](),
		reads:  reflect.TypeFor[encoding.BinaryUnmarshaler](),
		writer: func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("AppendBinary") },
		reader: func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("UnmarshalBinary") },
	},
	{
		id: Appender, append: marshalBinary, decode: unmarshalBinary,
		writes: reflect.TypeFor[encoding.BinaryMarshaler](),
		reads:  reflect.TypeFor[encoding.BinaryUnmarshaler](),
		writer: func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("MarshalBinary") },
		reader: func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("UnmarshalBinary") },
	},
	{
		id: Msgp, append: marshalMsg, decode: unmarshalMsg,
		writes: reflect.TypeFor[msgpMarshaler](),
		reads:  reflect.TypeFor[msgpUnmarshaler](),
		writer: func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("MarshalMsg") },
		reader: func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("UnmarshalMsg") },
		size:   func(m any) int { return m.(msgpMarshaler).Msgsize() },
	},
	{
		id: VTProto, append: marshalVT, decode: unmarshalVT,
		writes: reflect.TypeFor[vtMarshaler](),
		reads:  reflect.TypeFor[vtUnmarshaler](),
		writer: func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("MarshalToSizedBufferVT") },
		reader: func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("UnmarshalVT") },
		size:   func(m any) int { return m.(vtMarshaler).SizeVT() },
	},
}

// cborKind is what a type brings to be asked for inside CBOR. It has no functions
// because the CBOR package calls the methods itself.
var cborKind = ownKind{
	id:     CBOR,
	writes: reflect.TypeFor[cbor.Marshaler](),
	reads:  reflect.TypeFor[cbor.Unmarshaler](),
	writer: func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("MarshalCBOR") },
	reader: func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("UnmarshalCBOR") },
}

// binaryKind is the kind that the CBOR package asks for inside CBOR.
var binaryKind = &ownKinds[1]

// ownKindOf returns how values of type t encode themselves, or nil if they do
// not. For a pointer type the methods are those of the pointer.
func ownKindOf(t reflect.Type) *ownKind {
	for i := range ownKinds {
		if k := &ownKinds[i]; k.both(t) {
			return k
		}
	}
	return nil
}

// bringsOwn reports if t has both halves of an encoding that is asked for at any
// place inside a value. The methods of msgp and vtproto are asked only when the
// message itself has them.
func bringsOwn(t reflect.Type) bool {
	return ownKinds[0].both(t) || binaryKind.both(t) || cborKind.both(t)
}

// receiver returns the type whose method set holds all methods that can be called
// on a value of type t.
func receiver(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface {
		return t
	}
	return reflect.PointerTo(t)
}

// both reports if t can write and read itself. An interface cannot: it has no
// value to read into.
func (k *ownKind) both(t reflect.Type) bool {
	r := receiver(t)
	return t.Kind() != reflect.Interface && r.Implements(k.writes) && r.Implements(k.reads)
}

// half returns the interface that t lacks when it has only one of the two, or nil.
func (k *ownKind) half(t reflect.Type) reflect.Type {
	r := receiver(t)
	writes, reads := r.Implements(k.writes), r.Implements(k.reads)
	switch {
	case writes && !reads:
		return k.reads
	case reads && !writes:
		return k.writes
	default:
		return nil
	}
}

// leavesOut says why the methods of t would lose data: they belong to an embedded
// field and know nothing of the other fields. This is the trap of
//
//	type Event struct {
//		time.Time
//		Name string
//	}
//
// which has a MarshalBinary that writes the time only.
func (k *ownKind) leavesOut(t reflect.Type) *pathError {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	for _, method := range []func(reflect.Type) (reflect.Method, bool){k.writer, k.reader} {
		name, ok := promoted(t, method)
		if !ok {
			continue
		}
		from, beside := "", ""
		for f := range t.Fields() {
			if _, has := method(receiver(f.Type)); has && f.Anonymous {
				from = f.Name
			} else if f.Name != "_" && f.Type.Size() > 0 && fieldTag(f) != "-" {
				beside = f.Name
			}
		}
		if from != "" && beside != "" {
			return refuse("%s comes from the embedded %s and would leave out %s; "+
				"give the embedded field a name, or write a %s for the whole", name, from, beside, name)
		}
	}
	return nil
}

// promoted reports if the method is not written for t itself. The compiler makes
// the wrappers of promoted methods and says so in place of a file name; a method
// written for t has a file in its own method set or, with a pointer receiver, in
// that of *t. Reflection has no better way to tell the two apart.
func promoted(t reflect.Type, method func(reflect.Type) (reflect.Method, bool)) (name string, ok bool) {
	for _, r := range []reflect.Type{t, reflect.PointerTo(t)} {
		m, has := method(r)
		if !has {
			continue
		}
		name = m.Name
		fn := runtime.FuncForPC(m.Func.Pointer())
		if fn == nil {
			return name, false
		}
		if file, _ := fn.FileLine(fn.Entry()); file != "<autogenerated>" {
			return name, false
		}
	}
	return name, name != ""
}

// appended checks that out, what a type's own method returned, goes on from dst.
func appended(dst, out []byte, err error) ([]byte, error) {
	if err == nil && len(out) < len(dst) {
		err = errors.New("its method dropped bytes that were there before")
	}
	return out, err
}

// appendBinary writes with encoding.BinaryAppender.
func appendBinary(dst []byte, m any) ([]byte, error) {
	out, err := m.(encoding.BinaryAppender).AppendBinary(dst)
	return appended(dst, out, err)
}

// marshalBinary writes with encoding.BinaryMarshaler, which needs one more copy.
func marshalBinary(dst []byte, m any) ([]byte, error) {
	data, err := m.(encoding.BinaryMarshaler).MarshalBinary()
	return append(dst, data...), err
}

// unmarshalBinary reads with encoding.BinaryUnmarshaler, whose contract is to
// copy what it keeps.
func unmarshalBinary(src []byte, m any) error {
	return m.(encoding.BinaryUnmarshaler).UnmarshalBinary(src)
}

// marshalMsg writes with msgp's methods.
func marshalMsg(dst []byte, m any) ([]byte, error) {
	out, err := m.(msgpMarshaler).MarshalMsg(dst)
	return appended(dst, out, err)
}

// unmarshalMsg reads with msgp's methods. They return what they did not need.
func unmarshalMsg(src []byte, m any) error {
	rest, err := m.(msgpUnmarshaler).UnmarshalMsg(src)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes after its end", len(rest))
	}
	return err
}

// marshalVT writes with vtproto's methods. They fill a buffer of the right size
// from its end, so the size comes first.
func marshalVT(dst []byte, m any) ([]byte, error) {
	vt := m.(vtMarshaler)
	n, size := len(dst), vt.SizeVT()
	out := slices.Grow(dst, size)[:n+size]
	wrote, err := vt.MarshalToSizedBufferVT(out[n : n+size : n+size])
	if err == nil && wrote != size {
		err = fmt.Errorf("it wrote %d bytes and not the %d of its SizeVT", wrote, size)
	}
	return out, err
}

// unmarshalVT reads with vtproto's methods.
func unmarshalVT(src []byte, m any) error {
	return m.(vtUnmarshaler).UnmarshalVT(src)
}

// A pointer type that encodes itself carries one byte before its value, because
// an encoding of no bytes is a value for some of them, and nil must stay nil.
const (
	pointerNil   = 0
	pointerValue = 1
	pointerBytes = 1
)

// ownFormat encodes values of T with the methods of T or *T.
type ownFormat[T any] struct {
	kind *ownKind
	elem reflect.Type // what T points to, if T is the pointer with the methods
}

// newOwnFormat returns the format for a type that encodes itself.
func newOwnFormat[T any](kind *ownKind) *ownFormat[T] {
	f := &ownFormat[T]{kind: kind}
	if t := reflect.TypeFor[T](); t.Kind() == reflect.Pointer {
		f.elem = t.Elem()
	}
	return f
}

// isNil reports if v is a nil pointer.
func (f *ownFormat[T]) isNil(v *T) bool {
	return f.elem != nil && reflect.ValueOf(*v).IsNil()
}

// methods returns the receiver of v's methods.
func (f *ownFormat[T]) methods(v *T) any {
	if f.elem != nil {
		return *v
	}
	return v
}

func (f *ownFormat[T]) append(dst []byte, v *T) ([]byte, error) {
	if f.elem != nil {
		if f.isNil(v) {
			return append(dst, pointerNil), nil
		}
		dst = append(dst, pointerValue)
	}
	return f.kind.append(dst, f.methods(v))
}

func (f *ownFormat[T]) decode(src []byte, v *T) error {
	if f.elem == nil {
		return f.kind.decode(src, v)
	}
	switch {
	case len(src) == pointerBytes && src[0] == pointerNil:
		return nil
	case len(src) == 0 || src[0] != pointerValue:
		return errors.New("neither nil nor a value")
	}
	*v = reflect.New(f.elem).Interface().(T)
	return f.kind.decode(src[pointerBytes:], f.methods(v))
}

// size returns the bytes that v needs, if its methods can say.
func (f *ownFormat[T]) size(v *T) (int, bool) {
	switch {
	case f.kind.size == nil:
		return 0, false
	case f.isNil(v):
		return pointerBytes, true
	case f.elem != nil:
		return pointerBytes + max(0, f.kind.size(f.methods(v))), true
	default:
		return max(0, f.kind.size(f.methods(v))), true
	}
}
