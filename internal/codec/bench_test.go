package codec

import (
	"fmt"
	"strings"
	"testing"
)

// benchItem and benchDocument are like the documents that services pass around:
// 100 items in about 31 KB of CBOR.
type benchItem struct {
	ID       int64
	Name     string
	Detail   string
	Price    float64
	Count    int32
	Active   bool
	Tags     []string
	Settings map[string]string
}

type benchDocument struct {
	ID      int64
	Title   string
	Version uint32
	Items   []benchItem
}

func newBenchDocument() benchDocument {
	d := benchDocument{ID: 1 << 40, Title: "benchmark", Version: 3}
	for i := range 100 {
		d.Items = append(d.Items, benchItem{
			ID: int64(i) << 20, Name: fmt.Sprint("item ", i), Detail: strings.Repeat("lorem ipsum ", 16),
			Price: float64(i) * 1.1, Count: int32(i), Active: i%2 == 0,
			Tags:     []string{"first", "second", fmt.Sprint("tag ", i)},
			Settings: map[string]string{"colour": "green", "size": "large"},
		})
	}
	return d
}

// benchCodec measures both ways for one value.
func benchCodec[T any](b *testing.B, id ID, v T) {
	c := mustFor[T](b, id)
	frame := make([]byte, 0, 64<<10)
	payload, err := c.Append(frame, &v)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("append", func(b *testing.B) {
		b.SetBytes(int64(len(payload)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Append(frame, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.SetBytes(int64(len(payload)))
		b.ReportAllocs()
		for b.Loop() {
			var got T
			if err := c.Decode(payload, &got); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkPair(b *testing.B)     { benchCodec(b, Raw, pair{1, 2}) }
func BenchmarkPadded(b *testing.B)   { benchCodec(b, Raw, padded{Flag: true}) }
func BenchmarkString(b *testing.B)   { benchCodec(b, String, strings.Repeat("x", 100)) }
func BenchmarkDocument(b *testing.B) { benchCodec(b, CBOR, newBenchDocument()) }
func BenchmarkVTProto(b *testing.B)  { benchCodec(b, VTProto, &vtType{Text: strings.Repeat("x", 100)}) }

// BenchmarkAny is the same document without types, where every value is looked at
// before it is encoded.
func BenchmarkAny(b *testing.B) {
	c := mustFor[any](b, CBOR)
	doc := mustFor[benchDocument](b, CBOR)
	d := newBenchDocument()
	payload, err := doc.Append(nil, &d)
	if err != nil {
		b.Fatal(err)
	}
	var v any
	if err := c.Decode(payload, &v); err != nil {
		b.Fatal(err)
	}
	benchCodec(b, CBOR, v)
}
