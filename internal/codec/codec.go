package codec

import (
	"fmt"
	"reflect"
)

// Codec encodes and decodes the values of one type T. It is made once by [For]
// and safe for use by many goroutines at the same time.
type Codec[T any] struct {
	id       ID
	root     string // T as errors call it
	typeName string
	raw      rawPlan   // for Raw
	format   format[T] // for the codecs after Raw
	sized    bool      // format knows the size of a value beforehand

	// learned is written by every encoder whose messages vary in size; the fields
	// above are only read. They lie apart, so that they stay in the readers' caches.
	_       [cacheLineBytes]byte
	learned hint
}

// format encodes values with code that may keep or pass on its arguments, which
// is why it works on a copy of the value: see Codec.appendCopy.
type format[T any] interface {
	// append writes *v after dst, with the semantics of the built-in append.
	append(dst []byte, v *T) ([]byte, error)
	// decode reads src, private memory until decode returns, into the zero value v.
	decode(src []byte, v *T) error
	// size returns the bytes that append will need at most, if it can say.
	size(v *T) (int, bool)
}

// For chooses the codec for T. The error for a type that cannot be encoded wraps
// [ErrNotEncodable] and names the part of the type that is at fault.
func For[T any]() (*Codec[T], error) {
	t := reflect.TypeFor[T]()
	c := &Codec[T]{root: t.String()}
	own := ownKindOf(t)
	switch {
	case t.Size() == 0:
		c.id = None
	case t.Kind() == reflect.Slice && t.Elem() == reflect.TypeFor[byte]():
		c.id = Bytes
	case t.Kind() == reflect.String:
		c.id = String
	case own != nil:
		if err := own.leavesOut(t); err != nil {
			return nil, notEncodable(c.root, err)
		}
		c.id, c.format, c.sized = own.id, newOwnFormat[T](own), own.size != nil
	case rawMemory(t):
		c.id, c.raw = Raw, newRawPlan(t)
	default:
		f, err := newCBORFormat[T]()
		if err != nil {
			return nil, notEncodable(c.root, err)
		}
		c.id, c.format = CBOR, f
	}
	c.typeName = describe(t, c.id == Raw)
	c.learned.start(t.Size())
	return c, nil
}

// ID returns what to write into the frame header beside the payload.
func (c *Codec[T]) ID() ID { return c.id }

// Accepts reports if c can decode a payload that was written by the codec id.
func (c *Codec[T]) Accepts(id ID) bool { return id == c.id }

// TypeName describes the type T down to its last field: names, types and tags, in
// the same words in every process and every build of the same source. The
// fingerprint of a type is made from it.
func (c *Codec[T]) TypeName() string { return c.typeName }

// SizeHint returns the number of bytes to have ready for *v. It is exact for
// Bytes, String, Raw and VTProto, never too small for Msgp, and for the others the
// largest size seen lately.
func (c *Codec[T]) SizeHint(v *T) int {
	switch c.id {
	case None:
		return 0
	case Bytes:
		return len(*asBytes(v))
	case String:
		return len(*asString(v))
	case Raw:
		return len(memoryOf(v))
	}
	if c.sized {
		p := new(T)
		*p = *v
		if n, ok := c.format.size(p); ok {
			return n
		}
	}
	return c.learned.size()
}

// Append writes *v after dst[:len(dst)] and returns the longer slice. If it does
// not fit into the capacity of dst, the result lies in new memory, as with the
// built-in append; nothing is written beyond the capacity. After an error, what
// follows dst[:len(dst)] is undefined, and dst is returned as it was.
//
// The error for a value that cannot be encoded wraps [ErrNotEncodable]. A panic
// of a method of T is the caller's to handle.
func (c *Codec[T]) Append(dst []byte, v *T) ([]byte, error) {
	switch c.id {
	case None:
		return dst, nil
	case Bytes:
		return append(dst, *asBytes(v)...), nil
	case String:
		return append(dst, *asString(v)...), nil
	case Raw:
		return c.raw.append(dst, memoryOf(v)), nil
	}
	return c.appendCopy(dst, v)
}

// appendCopy encodes with methods that the compiler cannot see into. It hands
// them a copy of *v: if v itself went there, every caller of Append would have to
// put its value on the heap, and raw messages could not be sent without an
// allocation.
func (c *Codec[T]) appendCopy(dst []byte, v *T) ([]byte, error) {
	p := new(T)
	*p = *v
	out, err := c.format.append(dst, p)
	if err != nil {
		return dst, notEncodable(c.root, err)
	}
	if !c.sized {
		c.learned.saw(len(out) - len(dst))
	}
	return out, nil
}

// Decode reads a value from src into *v. Whatever *v held is gone, also after an
// error, when *v is the zero value; nothing in it shares memory with src.
//
// Other processes may change src at any time, also while Decode runs: the result
// is then some value of T or an error, never a panic. Errors wrap [ErrMalformed].
func (c *Codec[T]) Decode(src []byte, v *T) error {
	switch c.id {
	case None:
		if len(src) > 0 {
			return malformed(c.root, fmt.Errorf("%d bytes for a type that has none", len(src)))
		}
		return nil
	case Bytes:
		*asBytes(v) = append([]byte(nil), src...)
		return nil
	case String:
		*asString(v) = string(src)
		return nil
	case Raw:
		if !c.raw.decode(memoryOf(v), src) {
			return malformed(c.root, fmt.Errorf("its %d bytes are not those of a value", len(src)))
		}
		return nil
	}
	p, err := c.decodeCopy(src)
	if err != nil {
		var zero T
		*v = zero
		return err
	}
	*v = *p
	return nil
}

// decodeCopy decodes with methods that the compiler cannot see into, from a
// private copy of src. A panic in them is an error: the bytes came from somebody
// else, and what they lead to is not the receiver's fault.
func (c *Codec[T]) decodeCopy(src []byte) (v *T, err error) {
	s := privateCopy(src)
	defer s.release()
	defer func() {
		if r := recover(); r != nil {
			err = malformed(c.root, fmt.Errorf("panic: %v", r))
		}
	}()
	v = new(T)
	if err := c.format.decode(s.buf, v); err != nil {
		return nil, malformed(c.root, err)
	}
	return v, nil
}
