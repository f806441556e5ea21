package main

import (
	"encoding/json"
	"fmt"
	"math/bits"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const (
	documentJSONMin, documentJSONMax = 30_000, 33_000
	documentCBORMin, documentCBORMax = 24_000, 28_000
)

func TestDocument(t *testing.T) {
	d := newDocument(1)
	if d.ItemsCount != 100 || len(d.Items) != 100 || d.Summary.TotalItems != 100 || len(d.Summary.Categories) != 4 {
		t.Errorf("it has %d (%d) items, the summary says %d, %d categories", len(d.Items), d.ItemsCount, d.Summary.TotalItems, len(d.Summary.Categories))
	}
	want := Item{
		ID: 7, Name: "item_7", Description: "This is item number 7 with some descriptive text",
		Properties: Properties{Color: "green", Size: "medium", Price: 7 * 1.99},
		Tags:       []string{"tag_0", "tag_1", "tag_2", "tag_3", "tag_4"},
		Metadata:   Metadata{Created: "2024-01-01T00:00:00Z", Updated: "2024-06-30T12:00:00Z", Version: "1.0"},
	}
	if !reflect.DeepEqual(d.Items[7], want) {
		t.Errorf("item 7 is\n%+v, want\n%+v", d.Items[7], want)
	}
	total := 0.0
	for _, i := range d.Items {
		total += i.Properties.Price
	}
	if d.Summary.TotalValue != total {
		t.Errorf("total value %v, want %v", d.Summary.TotalValue, total)
	}
}

// TestDocumentSize holds the size that the large scenario promises, and says what it is.
func TestDocumentSize(t *testing.T) {
	d := newDocument(1)
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	size := cborSize(t, reflect.ValueOf(d))
	t.Logf("JSON %d bytes, CBOR %d bytes, as text %d bytes", len(text), size, len(d.text()))
	if len(text) < documentJSONMin || len(text) > documentJSONMax {
		t.Errorf("%d bytes as JSON, want %d to %d", len(text), documentJSONMin, documentJSONMax)
	}
	if size < documentCBORMin || size > documentCBORMax {
		t.Errorf("%d bytes as CBOR, want %d to %d", size, documentCBORMin, documentCBORMax)
	}
}

// cborSize is the size of a value in CBOR (RFC 8949), structs as maps from the names of their fields.
func cborSize(t *testing.T, v reflect.Value) int {
	switch v.Kind() {
	case reflect.Bool:
		return 1
	case reflect.Int:
		return cborHead(uint64(v.Int()))
	case reflect.Float64:
		return 1 + 8
	case reflect.String:
		return cborHead(uint64(v.Len())) + v.Len()
	case reflect.Slice:
		size := cborHead(uint64(v.Len()))
		for i := range v.Len() {
			size += cborSize(t, v.Index(i))
		}
		return size
	case reflect.Struct:
		size := cborHead(uint64(v.NumField()))
		for field, value := range v.Fields() {
			name := field.Tag.Get("json")
			size += cborHead(uint64(len(name))) + len(name) + cborSize(t, value)
		}
		return size
	}
	t.Fatalf("a document has a %v", v.Type())
	return 0
}

// cborHead is the size of an item's first bytes, with its number or length.
func cborHead(n uint64) int {
	switch b := bits.Len64(n); {
	case n < 24:
		return 1
	case b <= 8:
		return 2
	case b <= 16:
		return 3
	case b <= 32:
		return 5
	}
	return 9
}

func TestDocumentsDiffer(t *testing.T) {
	a, b := newDocument(1), newDocument(10)
	if !a.equal(newDocument(1)) || a.equal(b) || len(a.text()) == len(b.text()) {
		t.Error("two documents are equal only if they are of the same edition")
	}
	for i := range a.Items {
		if a.Items[i].equal(b.Items[i]) {
			t.Errorf("item %d is the same in both editions", i)
		}
	}
	for what, change := range map[string]func(*Document){
		"count":      func(d *Document) { d.ItemsCount++ },
		"items":      func(d *Document) { d.Items = d.Items[:99] },
		"id":         func(d *Document) { d.Items[99].ID++ },
		"properties": func(d *Document) { d.Items[99].Properties.InStock = true },
		"tags":       func(d *Document) { d.Items[99].Tags[4] = "" },
		"metadata":   func(d *Document) { d.Items[99].Metadata.Updated = "" },
		"value":      func(d *Document) { d.Summary.TotalValue++ },
		"categories": func(d *Document) { d.Summary.Categories[3] = strings.ToUpper(d.Summary.Categories[3]) },
	} {
		d := newDocument(1)
		if change(&d); d.equal(a) {
			t.Errorf("another %s is not noticed", what)
		}
	}
}

// TestFormattedLength checks that the text has all of the document in it.
func TestFormattedLength(t *testing.T) {
	d := newDocument(1)
	f, err := new(clerk).Format(t.Context(), d)
	if err != nil || f.Status != statusDone || f.Length != len(d.text()) || !f.Document.equal(d) || f.Timestamp == 0 {
		t.Errorf("got %q, %d bytes, %v", f.Status, f.Length, err)
	}
	text := d.text()
	missing := slices.DeleteFunc([]string{d.Items[0].Name, d.Items[99].Description, "tag_4", fmt.Sprint(d.Items[98].Properties.Price), "books"}, func(s string) bool {
		return strings.Contains(text, s)
	})
	if len(missing) > 0 {
		t.Errorf("the text lacks %q", missing)
	}
}
