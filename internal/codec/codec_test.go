package codec

import (
	"bytes"
	"errors"
	"math"
	"math/big"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestRoundTrip(t *testing.T) {
	type named []byte
	type text string
	when := time.Date(2026, 3, 4, 5, 6, 7, 891234567, time.FixedZone("", 19800))
	addr := netip.MustParseAddr("fe80::1%eth0")

	t.Run("none", roundTrip(None, struct{}{}))
	t.Run("none array", roundTrip(None, [0]int{}))
	t.Run("bytes", roundTrip(Bytes, nil, []byte{0}, bytes.Repeat([]byte("x"), 70_000)))
	t.Run("bytes empty", convert(Bytes, func([]byte) []byte { return nil }, []byte{}))
	t.Run("named bytes", roundTrip(Bytes, nil, named("abc")))
	t.Run("string", roundTrip(String, "", "a", "\xff\xfe", strings.Repeat("é", 40_000)))
	t.Run("named string", roundTrip(String, text("x")))

	t.Run("int", roundTrip(Raw, 0, 1, math.MinInt, math.MaxInt))
	t.Run("bool", roundTrip(Raw, false, true))
	t.Run("float", roundTrip(Raw, 0, math.Inf(-1), math.SmallestNonzeroFloat64))
	t.Run("complex", roundTrip(Raw, complex(1, -2)))
	t.Run("duration", roundTrip(Raw, time.Second))
	t.Run("named float", roundTrip(Raw, celsius(-273.15)))
	t.Run("pair", roundTrip(Raw, pair{1, -2}))
	t.Run("padded", roundTrip(Raw, padded{Flag: true, Count: -1, Odd: [3]bool{true, false, true}, wide: 1.5, Last: true}))
	t.Run("array", roundTrip(Raw, [3][2]padded{{{Count: 1}, {Last: true}}}))
	t.Run("large array", roundTrip(Raw, [20_000]int32{0: 1, 19_999: -1}))
	t.Run("no comparison", roundTrip(Raw, struct {
		_ [0]func()
		N int
	}{N: 7}))

	t.Run("appender", roundTrip(Appender, appender{1, 2}))
	t.Run("appender pointer", roundTrip(Appender, nil, &appender{1, 2}))
	t.Run("marshaler", roundTrip(Appender, marshaler{}, marshaler{"text"}))
	t.Run("marshaler pointer", roundTrip(Appender, nil, &marshaler{}, &marshaler{"text"}))
	t.Run("time", roundTrip(Appender, time.Time{}, when, when.UTC(), time.Date(20_000, 1, 1, 0, 0, 0, 1, time.UTC)))
	t.Run("netip", roundTrip(Appender, netip.Addr{}, addr))
	t.Run("url", roundTrip(Appender, &url.URL{Scheme: "https", Host: "example.com", RawQuery: "a=b"}))
	t.Run("msgp", roundTrip(Msgp, msgpType{}, msgpType{7}))
	t.Run("msgp pointer", roundTrip(Msgp, nil, &msgpType{}, &msgpType{7}))
	t.Run("vtproto", roundTrip(VTProto, vtType{}, vtType{Text: "text"}))
	t.Run("vtproto pointer", roundTrip(VTProto, nil, &vtType{}, &vtType{Text: "text"}))
}

func TestRoundTripCBOR(t *testing.T) {
	one, when := 1, time.Date(2026, 3, 4, 5, 6, 7, 891234567, time.FixedZone("", 19800))
	addr := netip.MustParseAddr("fe80::1%eth0")

	t.Run("pointer", roundTrip(CBOR, nil, &one))
	t.Run("pointer to struct", roundTrip(CBOR, nil, &pair{1, 2}))
	t.Run("pointer to nothing", roundTrip(CBOR, nil, &struct{}{}))
	t.Run("slice", roundTrip(CBOR, nil, []int{}, []int{1, -1, math.MinInt}))
	t.Run("strings", roundTrip(CBOR, []string{"", "\xff\x00", strings.Repeat("\xf0", 300)}))
	t.Run("slice of bytes", roundTrip(CBOR, [][]byte{nil, {}, {1, 2}}))
	t.Run("slice of slices", roundTrip(CBOR, [][]uint64{nil, {}, {math.MaxUint64}}))
	t.Run("map", roundTrip(CBOR, nil, map[string]int{}, map[string]int{"a": 1, "\xff": 2}))
	t.Run("map of ints", roundTrip(CBOR, map[int8]string{-128: "low", 127: "high"}))
	t.Run("set", roundTrip(CBOR, map[pair]struct{}{{1, 2}: {}, {2, 1}: {}}))
	t.Run("map by array", roundTrip(CBOR, map[[2]string]bool{{"a", "b"}: true}))
	t.Run("map by address", roundTrip(CBOR, map[netip.Addr]netip.Addr{addr: netip.IPv6Loopback()}))
	t.Run("tree", roundTrip(CBOR, tree{}, tree{Name: "root", Children: []*tree{{Name: "leaf"}, nil, {Children: []*tree{}}}, Next: &tree{}}))
	t.Run("generic", roundTrip(CBOR, box[box[string]]{Items: []box[string]{{Item: "x"}, {Items: []string{}}}}))
	t.Run("times", roundTrip(CBOR, []time.Time{{}, when, when.UTC(), time.Unix(-1, 1).UTC()}))
	t.Run("big", roundTrip(CBOR, []*big.Int{nil, big.NewInt(-5), new(big.Int).Lsh(big.NewInt(-3), 200)}))
	t.Run("embedded time alone", roundTrip(Appender, struct{ time.Time }{when}))
	t.Run("document", roundTrip(CBOR, document{}, document{
		base: base{ID: math.MaxUint64, Made: when}, Extra: &Extra{"note"}, Title: "t", Tags: []string{"a"},
		Scores: map[string]float64{"x": 0.1}, Nested: struct{ X, Y int16 }{-1, 1}, Maybe: &one,
		Wait: time.Hour, Any: map[string]any{"k": []any{int64(1), "s", nil, 2.5}}, Raw: []byte{}, Sum: [4]byte{1, 2, 3, 4},
	}))
	t.Run("marked", convert(CBOR, func(d document) document { d.lost = 0; return d }, document{lost: 7}))
	t.Run("numbered", roundTrip(CBOR, struct {
		_ struct{} `cbor:",toarray"`
		A string
		B []int
	}{A: "x"}, struct {
		_ struct{} `cbor:",toarray"`
		A string
		B []int
	}{B: []int{}}))
	t.Run("fields by number", roundTrip(CBOR, struct {
		A string `cbor:"1,keyasint"`
		B string `cbor:"-1,keyasint,omitempty"`
		C string `json:"see"`
	}{"a", "b", "c"}))
}

// TestAny checks what arrives in place of a value whose type is not known.
func TestAny(t *testing.T) {
	when := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	tests := []struct{ sent, arrives any }{
		{nil, nil},
		{true, true},
		{"\xff", "\xff"},
		{uint8(7), int64(7)},
		{-7, int64(-7)},
		{uint64(math.MaxInt64), int64(math.MaxInt64)},
		{uint64(math.MaxUint64), new(big.Int).SetUint64(math.MaxUint64)},
		{big.NewInt(9), int64(9)},
		{new(big.Int).Lsh(big.NewInt(1), 80), new(big.Int).Lsh(big.NewInt(1), 80)},
		{float32(0.5), 0.5},
		{time.Second, int64(time.Second)},
		{when, when},
		{&when, when},
		{[]byte{1}, []byte{1}},
		{[2]byte{1, 2}, []byte{1, 2}},
		{[]int{1}, []any{int64(1)}},
		{[]any{}, []any{}},
		{map[string]int{"a": 1}, map[string]any{"a": int64(1)}},
		{map[string]any{"a": map[string]any{}}, map[string]any{"a": map[string]any{}}},
		{pair{1, 2}, map[string]any{"A": int64(1), "B": int64(2)}},
		{&tree{Name: "n"}, map[string]any{"Name": "n", "Children": nil, "Next": nil}},
		{struct {
			T time.Time `cbor:"t"`
		}{when}, map[string]any{"t": when}},
		{marshaler{"x"}, []byte("x")},
	}
	for _, tt := range tests {
		convert(CBOR, func(any) any { return tt.arrives }, tt.sent)(t)
		convert(CBOR, func(box[any]) box[any] { return box[any]{tt.arrives, []any{tt.arrives}} }, box[any]{tt.sent, []any{tt.sent}})(t)
	}
}

// TestFloats checks that no bit of a float is lost, which DeepEqual cannot see.
func TestFloats(t *testing.T) {
	c := mustFor[[]float64](t, CBOR)
	for _, bits := range []uint64{0, 1 << 63, 0x7ff8000000000001, 0x7ff0000000000001, 0xfff8123456789abc, 0x7ff0000000000000} {
		sent := []float64{math.Float64frombits(bits)}
		payload, err := c.Append(nil, &sent)
		var got []float64
		if err = errors.Join(err, c.Decode(payload, &got)); err != nil {
			t.Fatal(err)
		}
		if math.Float64bits(got[0]) != bits {
			t.Errorf("%x arrived as %x", bits, math.Float64bits(got[0]))
		}
	}
	narrow := mustFor[[]float32](t, CBOR)
	for _, bits := range []uint32{1 << 31, 1, 0x7fc00001, 0xffc12345, 0xff800000} {
		sent := []float32{math.Float32frombits(bits)}
		payload, err := narrow.Append(nil, &sent)
		var got []float32
		if err = errors.Join(err, narrow.Decode(payload, &got)); err != nil {
			t.Fatal(err)
		}
		if math.Float32bits(got[0]) != bits {
			t.Errorf("%x arrived as %x", bits, math.Float32bits(got[0]))
		}
	}
}

func TestLargeDocument(t *testing.T) {
	many := make([]box[string], 100_000)
	for i := range many {
		many[i].Item = strings.Repeat("x", i%30)
	}
	index := make(map[int]string, 100_000)
	for i := range 100_000 {
		index[i] = "v"
	}
	t.Run("slice", roundTrip(CBOR, many))
	t.Run("map", roundTrip(CBOR, index))
	t.Run("numbers", roundTrip(CBOR, make([]int, maxMapPairs+1)))
	t.Run("any", roundTrip[any](CBOR, any(slices.Repeat([]any{"x", nil, int64(5)}, 50_000))))
}

// TestLimits checks that what Decode would refuse is refused by Append.
func TestLimits(t *testing.T) {
	chain := func(length int) tree {
		last := tree{Name: "last"}
		for range length - 1 {
			next := last
			last = tree{Next: &next}
		}
		return last
	}
	t.Run("deep", roundTrip(CBOR, chain(maxNestedLevels)))
	trees := mustFor[tree](t, CBOR)
	wantUnencodable(t, trees, chain(maxNestedLevels+1), "nested deeper")
	loop := &tree{Name: "loop"}
	loop.Next = loop
	wantUnencodable(t, trees, *loop, "nested deeper")

	anys := mustFor[any](t, CBOR)
	self := map[string]any{}
	self["self"] = self
	wantUnencodable[any](t, anys, self, "nested deeper")
	list := make([]any, 1)
	list[0] = list
	wantUnencodable[any](t, anys, list, "nested deeper")
	var deep any
	for range maxNestedLevels - 1 {
		deep = []any{deep}
	}
	roundTrip[any](CBOR, any([]any{deep}))(t)
	// What lies below the last interface is not counted, but checked afterwards.
	wantUnencodable[any](t, anys, []any{deep, []any{[]any{deep}}}, "level")

	wantUnencodable(t, mustFor[[]int](t, CBOR), make([]int, maxArrayElements+1), "max number of elements")
	index := make(map[uint32]bool, maxMapPairs+1)
	for i := range uint32(maxMapPairs + 1) {
		index[i] = true
	}
	wantUnencodable(t, mustFor[map[uint32]bool](t, CBOR), index, "max number of key-value pairs")
}

// wantUnencodable checks that the value is refused and dst handed back.
func wantUnencodable[T any](t *testing.T, c *Codec[T], v T, why string) {
	t.Helper()
	dst := []byte("before")
	out, err := c.Append(dst, &v)
	if !errors.Is(err, ErrNotEncodable) || !strings.Contains(err.Error(), why) {
		t.Errorf("Append: %v, want ErrNotEncodable with %q", err, why)
	}
	if string(out) != "before" {
		t.Errorf("Append returned %q with its error", out)
	}
}

// TestUnencodableValues checks values that their types cannot vouch for.
func TestUnencodableValues(t *testing.T) {
	amsterdam := time.FixedZone("LMT", 19*60+32)
	old := time.Date(1900, 1, 1, 0, 0, 0, 0, amsterdam)
	far := time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)
	type fields struct {
		At    []*time.Time
		By    map[string]time.Time
		Maybe *[]int
		Any   any
	}
	var noInts []int
	c := mustFor[fields](t, CBOR)
	wantUnencodable(t, c, fields{At: []*time.Time{nil, &old}}, "fields.At[1]: the offset of")
	wantUnencodable(t, c, fields{At: []*time.Time{{}}}, "fields.At[0]: a pointer to the zero time")
	wantUnencodable(t, c, fields{By: map[string]time.Time{"k": old}}, "fields.By[k]: the offset of")
	wantUnencodable(t, c, fields{By: map[string]time.Time{"k": far}}, "year")
	wantUnencodable(t, c, fields{Maybe: &noInts}, "fields.Maybe: a pointer to a nil slice")
	wantUnencodable(t, c, fields{Any: make(chan int)}, "fields.Any(chan int): chan int cannot be encoded")
	wantUnencodable(t, c, fields{Any: old}, "fields.Any: the offset of")
	wantUnencodable(t, c, fields{Any: time.Time{}}, "fields.Any: the zero time")
	wantUnencodable(t, c, fields{Any: []any{map[string]any{"f": func() {}}}}, `fields.Any[0]["f"](func()): func()`)
	wantUnencodable(t, c, fields{Any: []fields{{Any: padded{}}}}, "wide: the field is unexported")
	wantUnencodable(t, c, fields{Any: map[int]string{}}, "its keys must be strings")
	wantUnencodable(t, c, fields{Any: box[map[int]string]{}}, "its keys must be strings")
	wantUnencodable(t, c, fields{Any: struct {
		A int `cbor:"1,keyasint"`
	}{}}, "keyasint")

	wantUnencodable(t, mustFor[*vtType](t, VTProto), &vtType{Text: "x", lies: 3}, "not the 4 of its SizeVT")
	wantUnencodable(t, mustFor[failing](t, Appender), failing{}, "dropped bytes")
}

func TestDecodeReplaces(t *testing.T) {
	c := mustFor[document](t, CBOR)
	payload, err := c.Append(nil, &document{Title: "new"})
	if err != nil {
		t.Fatal(err)
	}
	v := document{base: base{Made: time.Now()}, Tags: []string{"old"}, Scores: map[string]float64{"old": 1}, lost: 1}
	if err := c.Decode(payload, &v); err != nil {
		t.Fatal(err)
	}
	if want := (document{Title: "new"}); !reflect.DeepEqual(v, want) {
		t.Errorf("the old value shines through: %+v", v)
	}
	vt := mustFor[vtType](t, VTProto)
	merged := vtType{Text: "old"}
	if err := vt.Decode([]byte("new"), &merged); err != nil || merged.Text != "new" {
		t.Errorf("decoded %q, %v", merged.Text, err)
	}
}

func TestMalformed(t *testing.T) {
	wantMalformed(t, mustFor[struct{}](t, None), struct{}{}, []byte{0})
	wantMalformed(t, mustFor[pair](t, Raw), pair{1, 2}, make([]byte, 15))
	wantMalformed(t, mustFor[pair](t, Raw), pair{1, 2}, make([]byte, 17))
	wantMalformed(t, mustFor[bool](t, Raw), true, []byte{2})
	wantMalformed(t, mustFor[appender](t, Appender), appender{1, 1}, []byte("four"))
	wantMalformed(t, mustFor[appender](t, Appender), appender{1, 1}, []byte("1"))
	wantMalformed(t, mustFor[*appender](t, Appender), &appender{}, nil)
	wantMalformed(t, mustFor[*appender](t, Appender), &appender{}, []byte{0, 0})
	wantMalformed(t, mustFor[*appender](t, Appender), &appender{}, []byte{2, 1, 2, '!'})
	wantMalformed(t, mustFor[*appender](t, Appender), &appender{}, []byte{1, 1})
	wantMalformed(t, mustFor[msgpType](t, Msgp), msgpType{1}, []byte{1})
	wantMalformed(t, mustFor[msgpType](t, Msgp), msgpType{1}, make([]byte, 5))

	docs := mustFor[document](t, CBOR)
	for name, payload := range map[string]string{
		"nothing":           "",
		"cut off":           "\xa1\x65Tit",
		"two items":         "\xa0\xa0",
		"wrong kind":        "\xa1\x65Title\x01",
		"twice":             "\xa2\x65Title\x61a\x65Title\x61b",
		"without length":    "\xbf\xff",
		"number as time":    "\xa1\x64Made\x01",
		"huge array":        "\xa1\x64Tags\x9b\x00\xff\xff\xff\xff\xff\xff\xff",
		"nested too deep":   "\xa1\x63Any" + strings.Repeat("\x81", maxNestedLevels+1) + "\x01",
		"key not a string":  "\xa1\x63Any\xa1\x01\x01",
		"key not hashable":  "\xa1\x66Scores\xa1\x80\x01",
		"integer overflows": "\xa1\x66Nested\xa1\x61X\x1a\x00\x01\x00\x00",
	} {
		t.Run(name, func(t *testing.T) { wantMalformed(t, docs, document{Title: "old"}, []byte(payload)) })
	}
	// A type without large integers refuses one before it is read as a number.
	bignum := append([]byte{0xc2, 0x5a, 0, 0x20, 0, 0}, make([]byte, 2<<20)...)
	wantMalformed(t, mustFor[*pair](t, CBOR), nil, bignum)
}

func TestAccepts(t *testing.T) {
	c := mustFor[pair](t, Raw)
	for id := range CBOR + 2 {
		if c.Accepts(id) != (id == Raw) {
			t.Errorf("Accepts(%v) is %v", id, c.Accepts(id))
		}
	}
}

// TestIDs pins the values that stand in frame headers.
func TestIDs(t *testing.T) {
	for want, id := range []ID{None, Bytes, String, Raw, Appender, Msgp, VTProto, CBOR} {
		if int(id) != want {
			t.Errorf("%v is %d, want %d", id, id, want)
		}
	}
	if got := ID(9).String() + VTProto.String(); got != "codec(9)vtproto" {
		t.Error(got)
	}
}

func TestSizeHint(t *testing.T) {
	text, p := "12345", pair{}
	if n := mustFor[string](t, String).SizeHint(&text); n != 5 {
		t.Errorf("a string of 5 bytes: %d", n)
	}
	if n := mustFor[pair](t, Raw).SizeHint(&p); n != 16 {
		t.Errorf("a pair: %d", n)
	}
	vt, none := &vtType{Text: "12345"}, (*vtType)(nil)
	if c := mustFor[*vtType](t, VTProto); c.SizeHint(&vt) != 6 || c.SizeHint(&none) != 1 {
		t.Errorf("vtproto: %d, nil %d", c.SizeHint(&vt), c.SizeHint(&none))
	}

	c := mustFor[[]string](t, CBOR)
	send := func(v ...string) {
		if _, err := c.Append(nil, &v); err != nil {
			t.Fatal(err)
		}
	}
	if n := c.SizeHint(nil); n != initialHintBytes {
		t.Errorf("before the first message: %d", n)
	}
	send(strings.Repeat("x", 10_000))
	if n := c.SizeHint(nil); n < 10_000 || n > 10_010 {
		t.Errorf("after a large message: %d", n)
	}
	send("x")
	if n := c.SizeHint(nil); n < 9_000 {
		t.Errorf("forgot a large message after one: %d", n)
	}
	for range 1000 {
		send("x")
	}
	if n := c.SizeHint(nil); n > 100 {
		t.Errorf("remembers a large message after 1000: %d", n)
	}
}

// TestParallel uses one codec from many goroutines, for the race detector.
func TestParallel(t *testing.T) {
	c := mustFor[tree](t, CBOR)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for n := range 100 {
				sent := tree{Name: strings.Repeat("x", i*n), Children: []*tree{{Name: "leaf"}}}
				payload, err := c.Append(make([]byte, 0, c.SizeHint(&sent)), &sent)
				var got tree
				if err = errors.Join(err, c.Decode(payload, &got)); err != nil || !reflect.DeepEqual(got, sent) {
					t.Errorf("%+v arrived as %+v: %v", sent, got, err)
				}
			}
		})
	}
	group.Wait()
}
