package codec

import (
	"bytes"
	"errors"
	"math/big"
	"net/netip"
	"net/url"
	"reflect"
	"runtime"
	"testing"
	"time"
)

// target decodes bytes as one type.
type target struct {
	name string
	try  func(t testing.TB, payload []byte)
}

// newTarget returns the target for T. Whatever decodes and encodes again must also
// decode again: Append promises not to write what Decode refuses.
func newTarget[T any](t testing.TB, id ID) target {
	c := mustFor[T](t, id)
	return target{c.root, func(t testing.TB, payload []byte) {
		var v, again T
		if err := c.Decode(payload, &v); err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: %v is not ErrMalformed", c.root, err)
			}
			return
		}
		out, err := c.Append(nil, &v)
		if err != nil {
			if !errors.Is(err, ErrNotEncodable) {
				t.Errorf("%s: %v is not ErrNotEncodable", c.root, err)
			}
			return
		}
		if err := c.Decode(out, &again); err != nil {
			t.Errorf("%s: %x decoded to %+v, encoded to %x and then: %v", c.root, payload, v, out, err)
		}
	}}
}

// newTargets returns targets of all codecs.
func newTargets(t testing.TB) []target {
	return []target{
		newTarget[document](t, CBOR),
		newTarget[tree](t, CBOR),
		newTarget[any](t, CBOR),
		newTarget[box[map[string]any]](t, CBOR),
		newTarget[map[string]map[int32][]float32](t, CBOR),
		newTarget[map[[2]bool]*big.Int](t, CBOR),
		newTarget[[]netip.Addr](t, CBOR),
		newTarget[padded](t, Raw),
		newTarget[time.Time](t, Appender),
		newTarget[*url.URL](t, Appender),
		newTarget[*appender](t, Appender),
		newTarget[*msgpType](t, Msgp),
		newTarget[*vtType](t, VTProto),
		newTarget[[]byte](t, Bytes),
		newTarget[string](t, String),
		newTarget[struct{}](t, None),
	}
}

// seeds are good payloads of a few types, for a fuzzer to spoil.
func seeds(t testing.TB) [][]byte {
	var all [][]byte
	add := func(payload []byte, err error) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, payload)
	}
	one, when := 1, time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	add(mustFor[document](t, CBOR).Append(nil, &document{
		base: base{ID: 5, Made: when}, Extra: &Extra{"note"}, Title: "title", Tags: []string{"a", "b"},
		Scores: map[string]float64{"x": 0.5}, Maybe: &one, Any: []any{when, nil, map[string]any{"k": true}},
	}))
	add(mustFor[tree](t, CBOR).Append(nil, &tree{Name: "a", Children: []*tree{{}, nil}, Next: &tree{}}))
	add(mustFor[map[string]map[int32][]float32](t, CBOR).Append(nil, &map[string]map[int32][]float32{"m": {-1: {1.5}}}))
	add(mustFor[map[[2]bool]*big.Int](t, CBOR).Append(nil, &map[[2]bool]*big.Int{{true, false}: new(big.Int).Lsh(big.NewInt(1), 70)}))
	add(mustFor[padded](t, Raw).Append(nil, &padded{Flag: true, Count: 1}))
	add(mustFor[time.Time](t, Appender).Append(nil, &when))
	return append(all, nil, []byte("\x01xy!"), []byte("\x01http://h/?q"), []byte("\xc1\xfb\x7f\xf0\x00\x00\x00\x00\x00\x00"))
}

// sparse is large, and may be a single byte of a message.
type sparse struct {
	Values [100]int64
	Next   *sparse
}

// What a message makes its reader allocate is bounded by its length and by the largest part that one byte of it can stand for: a type
// that is a kilobyte when it is empty makes a kilobyte of a byte, and no message makes more than that.
func TestAmplification(t *testing.T) {
	const size = 64 << 10
	list := append([]byte{0x9a, 0, 0, 0xff, 0xf0}, bytes.Repeat([]byte{0xa0}, 0xfff0)...) // so many empty maps
	var v []sparse
	bound := uint64(2 * size * reflect.TypeFor[sparse]().Size())
	if n := allocated(func() { _ = mustFor[[]sparse](t, CBOR).Decode(list, &v) }); n > bound {
		t.Errorf("%d bytes allocated for a message of %d, at most %d", n, len(list), bound)
	}
	if len(v) != 0xfff0 {
		t.Errorf("%d elements", len(v))
	}
	for _, lie := range [][]byte{
		{0x9b, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff}, // an array longer than the message
		{0x9a, 0, 0x3f, 0xff, 0xff, 0xa0},
		{0xbb, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, // a map
		{0x5b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, // a string
	} {
		for _, target := range newTargets(t) {
			if n := allocated(func() { target.try(t, lie) }); n > size {
				t.Errorf("%s: %d bytes allocated for %x", target.name, n, lie)
			}
		}
	}
}

// allocated is how many bytes f allocates, with what else goes on in the process.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func FuzzDecode(f *testing.F) {
	targets := newTargets(f)
	for i := range targets {
		for _, payload := range seeds(f) {
			f.Add(uint8(i), payload)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, payload []byte) {
		targets[int(which)%len(targets)].try(t, payload)
	})
}
