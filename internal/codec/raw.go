package codec

import (
	"encoding/binary"
	"reflect"
	"slices"
	"sync"
	"unsafe"
)

// This is the only file of the package that uses unsafe.
//
// Copying the memory of a value is sound here because
//
//   - the type holds no pointers at any depth (rawMemory proves it by walking
//     the type), so the garbage collector has no interest in the bytes, and no
//     write barrier is skipped;
//   - every bit pattern is a valid value of integers, floats and complex numbers,
//     and the patterns of bools are checked against the mask below, in private
//     memory, before anybody sees the value;
//   - both sides have the same layout: the sender's type fingerprint is compared
//     before Decode, and a process of another word size would send another length;
//   - the view covers exactly unsafe.Sizeof(*v) bytes and does not outlive the
//     call that made it.
//
// Padding and blank fields have no meaning, but in a Go value they hold whatever
// lay there before. They are written as zero, so that nothing of this process's
// memory leaks to others and equal values have equal bytes.

// rawPlan says how a value's memory becomes bytes.
type rawPlan struct {
	// mask has the bits that each byte of the value may carry: all for numbers,
	// the lowest for bools, none for padding and blank fields. It is nil when the
	// type has only numbers, which is the usual case and makes it one memmove.
	mask []byte
}

// newRawPlan returns the plan for a type of which rawMemory is true.
func newRawPlan(t reflect.Type) rawPlan {
	mask := make([]byte, t.Size())
	fillMask(mask, t)
	if !slices.ContainsFunc(mask, func(b byte) bool { return b != 0xff }) {
		mask = nil
	}
	return rawPlan{mask: mask}
}

// fillMask sets the bits that a value of type t may carry; mask is all zero and
// as long as the type.
func fillMask(mask []byte, t reflect.Type) {
	switch t.Kind() {
	case reflect.Bool:
		mask[0] = 1
	case reflect.Array:
		if t.Len() == 0 || len(mask) == 0 {
			return
		}
		one := t.Elem().Size()
		fillMask(mask[:one], t.Elem())
		for at := one; at < t.Size(); at += one {
			copy(mask[at:at+one], mask[:one])
		}
	case reflect.Struct:
		for f := range t.Fields() {
			if f.Name != "_" {
				fillMask(mask[f.Offset:f.Offset+f.Type.Size()], f.Type)
			}
		}
	default:
		for i := range mask {
			mask[i] = 0xff
		}
	}
}

// append writes the value whose memory is mem.
func (p *rawPlan) append(dst, mem []byte) []byte {
	n := len(dst)
	dst = slices.Grow(dst, len(mem))[:n+len(mem)]
	out := dst[n:]
	if p.mask == nil {
		copy(out, mem)
		return dst
	}
	i := 0
	for ; i+8 <= len(mem); i += 8 {
		word := binary.NativeEndian.Uint64(mem[i:]) & binary.NativeEndian.Uint64(p.mask[i:])
		binary.NativeEndian.PutUint64(out[i:], word)
	}
	for ; i < len(mem); i++ {
		out[i] = mem[i] & p.mask[i]
	}
	return dst
}

// decode reads src once into mem, the memory of a value, and checks it there. If
// it is no valid value, mem is zero afterwards.
func (p *rawPlan) decode(mem, src []byte) bool {
	if len(src) != len(mem) {
		clear(mem)
		return false
	}
	copy(mem, src)
	if p.mask == nil {
		return true
	}
	var excess uint64
	i := 0
	for ; i+8 <= len(mem); i += 8 {
		excess |= binary.NativeEndian.Uint64(mem[i:]) &^ binary.NativeEndian.Uint64(p.mask[i:])
	}
	for ; i < len(mem); i++ {
		excess |= uint64(mem[i] &^ p.mask[i])
	}
	if excess != 0 {
		clear(mem)
		return false
	}
	return true
}

// rawMemory reports if a value of type t is nothing but its own memory, so that
// the bytes of that memory are a faithful encoding of it. Not so for
//
//   - pointers in any form, and uintptr, which is an address or a handle;
//   - a type that brings its own encoding: its author says that the memory is
//     not what should travel;
//   - a type that must not be copied, such as sync.Mutex or atomic.Int64: the
//     state of a lock means nothing elsewhere;
//   - a struct with a field that is tagged to stay behind.
func rawMemory(t reflect.Type) bool {
	if bringsOwn(t) || mustNotBeCopied(t) {
		return false
	}
	switch t.Kind() {
	case reflect.Bool, reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	case reflect.Array:
		return t.Len() == 0 || rawMemory(t.Elem())
	case reflect.Struct:
		for f := range t.Fields() {
			if fieldTag(f) == "-" || !rawMemory(f.Type) {
				return false
			}
		}
		return true
	default:
		return false
	}
}

// mustNotBeCopied reports if a pointer to t has Lock and Unlock and t has not,
// which is how go vet's copylocks check knows a lock.
func mustNotBeCopied(t reflect.Type) bool {
	locker := reflect.TypeFor[sync.Locker]()
	return t.Kind() != reflect.Interface && reflect.PointerTo(t).Implements(locker) && !t.Implements(locker)
}

// memoryOf returns the bytes of *v, a value of a type of which rawMemory is true.
func memoryOf[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}

// asBytes returns v as what it is underneath; For has checked that the
// underlying type of T is []byte, and types with the same underlying type have
// the same memory.
func asBytes[T any](v *T) *[]byte { return (*[]byte)(unsafe.Pointer(v)) }

// asString is asBytes for types whose underlying type is string.
func asString[T any](v *T) *string { return (*string)(unsafe.Pointer(v)) }
