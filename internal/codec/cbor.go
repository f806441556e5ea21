package codec

import (
	"bytes"
	"reflect"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

// The modes are made once; each choice is for a value that arrives as it was
// sent, or against bytes that only a broken or hostile sender would write.
var (
	encodeMode = must(cbor.EncOptions{
		Sort:          cbor.SortNone,          // nobody compares or signs the bytes
		ShortestFloat: cbor.ShortestFloatNone, // a conversion costs time at both ends
		NaNConvert:    cbor.NaNConvertNone,    // keep the payload
		InfConvert:    cbor.InfConvertNone,
		// RFC 3339 text is the only form of the package that is exact. The tag makes
		// a time in an interface arrive as a time.
		Time:          cbor.TimeRFC3339Nano,
		TimeTag:       cbor.EncTagRequired,
		IndefLength:   cbor.IndefLengthForbidden,
		NilContainers: cbor.NilContainerAsNull, // keep nil and empty apart
	}.UserBufferEncMode())

	decodeMode        = must(decodeOptions(cbor.BignumTagForbidden).DecMode())
	decodeBigIntsMode = must(decodeOptions(cbor.BignumTagAllowed).DecMode())
)

// decodeOptions returns the options for types with or without integers beyond 64
// bits. Where none can be, the package would still read one and print it into an
// error, which for a megabyte of digits takes minutes.
func decodeOptions(bigInts cbor.BignumTagMode) cbor.DecOptions {
	return cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		TimeTag:           cbor.DecTagRequired,
		MaxNestedLevels:   maxNestedLevels,
		MaxArrayElements:  maxArrayElements,
		MaxMapPairs:       maxMapPairs,
		IndefLength:       cbor.IndefLengthForbidden,
		IntDec:            cbor.IntDecConvertSignedOrBigInt,
		BigIntDec:         cbor.BigIntDecodePointer,
		BignumTag:         bigInts,
		MapKeyByteString:  cbor.MapKeyByteStringForbidden,
		DefaultMapType:    reflect.TypeFor[map[string]any](),
		UTF8:              cbor.UTF8DecodeInvalid, // a Go string is any bytes
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		// The content without its tag: no type of the package is to turn up in an
		// interface.
		UnrecognizedTagToAny: cbor.UnrecognizedTagContentToAny,
	}
}

// must returns a mode. Its options are constants, so a test run finds an error.
func must[M any](mode M, err error) M {
	if err != nil {
		panic(err)
	}
	return mode
}

// bufferPool has the buffers through which the CBOR package takes memory to write
// into. They are only the frame around that memory; none of them owns any.
var bufferPool = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// cborFormat encodes values of T as CBOR.
type cborFormat[T any] struct {
	*plan
	mode cbor.DecMode
}

// newCBORFormat returns the format for a type, or why it cannot be encoded.
func newCBORFormat[T any]() (*cborFormat[T], *pathError) {
	p, err := newPlan(reflect.TypeFor[T](), false)
	if err != nil {
		return nil, err
	}
	mode := decodeMode
	if p.bigInts {
		mode = decodeBigIntsMode
	}
	return &cborFormat[T]{plan: p, mode: mode}, nil
}

func (f *cborFormat[T]) append(dst []byte, v *T) ([]byte, error) {
	in := inspector{opaque: f.opaque}
	if f.look != nil {
		if err := in.at(f.look, reflect.ValueOf(v).Elem(), 0); err != nil {
			return dst, err
		}
	}
	out, err := appendCBOR(dst, v)
	if err != nil {
		return dst, err
	}
	// An encoding with fewer bytes than elements allowed cannot have too many.
	if size := len(out) - len(dst); in.deep || in.opaque || size > min(maxArrayElements, maxMapPairs) {
		if err := f.mode.Wellformed(out[len(dst):]); err != nil {
			return dst, err
		}
	}
	return out, nil
}

// appendCBOR writes straight into the spare capacity of dst while that lasts.
func appendCBOR(dst []byte, v any) ([]byte, error) {
	buf := bufferPool.Get().(*bytes.Buffer)
	*buf = *bytes.NewBuffer(dst)
	defer func() {
		*buf = bytes.Buffer{} // let go of dst, also when a marshaler panics
		bufferPool.Put(buf)
	}()
	err := encodeMode.MarshalToBuffer(v, buf)
	return buf.Bytes(), err
}

func (f *cborFormat[T]) decode(src []byte, v *T) error {
	return f.mode.Unmarshal(src, v)
}

// size has no answer: it is learned from what was written.
func (f *cborFormat[T]) size(*T) (int, bool) { return 0, false }
