package codec

import "strconv"

// ID identifies how the bytes of a payload were written. It stands in every
// frame header, so the values are part of the shared layout: new ones are added
// at the end and none is ever given a new meaning.
type ID uint8

const (
	// None writes nothing: the type has no size, like struct{}.
	None ID = iota
	// Bytes writes a []byte as it is.
	Bytes
	// String writes a string as it is.
	String
	// Raw writes the memory of a fixed-size type without pointers.
	Raw
	// Appender writes with the type's encoding.BinaryAppender (or
	// encoding.BinaryMarshaler) and reads with its encoding.BinaryUnmarshaler.
	Appender
	// Msgp writes with the methods that github.com/tinylib/msgp generates.
	Msgp
	// VTProto writes with the methods that
	// github.com/planetscale/vtprotobuf generates.
	VTProto
	// CBOR writes RFC 8949 data items.
	CBOR
)

// idNames are the names by ID; an ID beyond them is unknown to this build.
var idNames = [...]string{
	None: "none", Bytes: "bytes", String: "string", Raw: "raw",
	Appender: "appender", Msgp: "msgp", VTProto: "vtproto", CBOR: "cbor",
}

// String returns the name of the codec, or "codec(N)" for one that this build
// does not know.
func (id ID) String() string {
	if int(id) < len(idNames) {
		return idNames[id]
	}
	return "codec(" + strconv.Itoa(int(id)) + ")"
}
