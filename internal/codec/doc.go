// Package codec decides, once per Go type, how its values are written into a
// frame and read back.
//
// [For] picks the first of these that fits:
//
//   - [None]: the type has no size, so there is nothing to write;
//   - [Bytes], [String]: the underlying type is []byte or string, copied as is;
//   - [Appender], [Msgp], [VTProto]: the type brings its own methods, found by
//     their signatures, so that no dependency is needed;
//   - [Raw]: a fixed-size type without pointers, copied as it lies in memory;
//   - [CBOR]: everything else.
//
// A type that cannot make the trip without losing something is an error of For,
// with the path to the part at fault, and never a silent loss later: channels,
// functions, addresses, interfaces with methods, unexported fields that CBOR
// would skip, fields hidden by another of the same name, and methods promoted
// from an embedded field that would leave out the fields beside it. A tag
// `cbor:"-"` or `json:"-"` says that a field is meant to stay behind.
//
// What a few types cannot say, only a value can: what an interface holds,
// whether a value holds itself, whether a time fits its text form. [Codec.Append]
// looks at such values, and only at those, before it writes them, so that what
// Append accepts, [Codec.Decode] on the other side accepts too.
//
// # What arrives
//
// Integers, floats (with NaN payloads; a signalling float32 NaN inside CBOR
// becomes quiet), strings of any bytes, nil and empty slices and maps arrive as
// they were sent. Known differences:
//
//   - a nil and an empty []byte as the message itself are the same message, and
//     arrive as nil (inside a larger type they stay apart);
//   - pointers arrive as pointers to fresh copies: two that shared one value no
//     longer do;
//   - a time.Time keeps its instant to the nanosecond and its offset from UTC,
//     not the name of its zone, nor its monotonic reading;
//   - a value in a field of type any arrives as bool, int64 (or *big.Int beyond
//     its range), float64, string, []byte, time.Time, []any, map[string]any or
//     nil, whatever Go type it had.
//
// # Trust
//
// The source of Decode may be memory that another process changes at any time.
// Bytes, strings and raw values are read by exactly one copy and checked
// afterwards, in private memory. All other decoders look at some bytes more than
// once, so they work on a private copy. A payload of n bytes can make Decode
// allocate up to n times the size of the largest slice element in the type: one
// byte may stand for a whole element.
package codec
