package codec

// Limits on what CBOR may hold. Append refuses what Decode would.
const (
	// maxNestedLevels is the depth to which arrays and maps may be nested; a
	// struct counts as a map. It bounds the stack of the decoder and ends the
	// walk over a value that holds itself.
	maxNestedLevels = 256
	// maxArrayElements is the number of elements of one array or slice. Each
	// takes at least one byte, so the size of a message usually ends it first.
	maxArrayElements = 4 << 20
	// maxMapPairs is the number of key and value pairs of one map.
	maxMapPairs = 1 << 20
)

const (
	// maxPooledBytes is the largest private copy kept for the next Decode. A
	// larger one is left to the garbage collector, so that one huge message does
	// not pin its memory.
	maxPooledBytes = 1 << 20

	// initialHintBytes is the size hint for a type of which nothing was encoded.
	initialHintBytes = 64
	// hintDecayShift sets how slowly a size hint forgets a large message: each
	// smaller one takes away 1/2^hintDecayShift of the difference.
	hintDecayShift = 6
	// cacheLineBytes keeps what is written apart from what is only read.
	cacheLineBytes = 64

	// maxPathBytes is what an error tells of the path to the part at fault.
	maxPathBytes = 200
)
