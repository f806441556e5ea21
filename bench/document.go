package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Document is the request of the large scenario, about 31 KB as JSON: many small strings in nested structs, as documents of
// real programs have them.
type Document struct {
	ItemsCount int     `json:"items_count"`
	Items      []Item  `json:"items"`
	Summary    Summary `json:"summary"`
}

// Item is one item of a document.
type Item struct {
	ID          int        `json:"id"`
	Name        string     `json:"name"`
	Description string     `json:"description"`
	Properties  Properties `json:"properties"`
	Tags        []string   `json:"tags"`
	Metadata    Metadata   `json:"metadata"`
}

// Properties of an item.
type Properties struct {
	Color   string  `json:"color"`
	Size    string  `json:"size"`
	Price   float64 `json:"price"`
	InStock bool    `json:"in_stock"`
}

// Metadata of an item.
type Metadata struct {
	Created string `json:"created"`
	Updated string `json:"updated"`
	Version string `json:"version"`
}

// Summary of a document.
type Summary struct {
	TotalItems int      `json:"total_items"`
	TotalValue float64  `json:"total_value"`
	Categories []string `json:"categories"`
}

// Formatted is the reply of the large scenario.
type Formatted struct {
	Status    string   `json:"status"`
	Length    int      `json:"length"`
	Document  Document `json:"document"`
	Timestamp int64    `json:"timestamp"` // nanoseconds since 1970
}

const (
	documentItems = 100
	itemTags      = 5
	itemPrice     = 1.99 // times the item's number
	statusDone    = "success"
)

// newDocument makes the document. Its edition stands in every item, so that two editions are told apart by each.
func newDocument(edition int) Document {
	colors, sizes := []string{"red", "green", "blue"}, []string{"small", "medium", "large"}
	d := Document{
		ItemsCount: documentItems,
		Summary:    Summary{TotalItems: documentItems, Categories: []string{"electronics", "clothing", "food", "books"}},
	}
	for n := range documentItems {
		item := Item{
			ID:          n,
			Name:        fmt.Sprintf("item_%d", n),
			Description: fmt.Sprintf("This is item number %d with some descriptive text", n),
			Properties: Properties{
				Color: colors[n%len(colors)], Size: sizes[n%len(sizes)], Price: float64(n) * itemPrice, InStock: n%2 == 0,
			},
			Metadata: Metadata{
				Created: "2024-01-01T00:00:00Z", Updated: "2024-06-30T12:00:00Z", Version: fmt.Sprintf("%d.0", edition),
			},
		}
		for t := range itemTags {
			item.Tags = append(item.Tags, fmt.Sprintf("tag_%d", t))
		}
		d.Items = append(d.Items, item)
		d.Summary.TotalValue += item.Properties.Price
	}
	return d
}

// text is what the handler of a document works for: the whole of it as text.
func (d Document) text() string { return fmt.Sprintf("%+v", d) }

func (d Document) equal(o Document) bool {
	return d.ItemsCount == o.ItemsCount && slices.EqualFunc(d.Items, o.Items, Item.equal) &&
		d.Summary.TotalItems == o.Summary.TotalItems && d.Summary.TotalValue == o.Summary.TotalValue &&
		slices.Equal(d.Summary.Categories, o.Summary.Categories)
}

func (i Item) equal(o Item) bool {
	return i.ID == o.ID && i.Name == o.Name && i.Description == o.Description && i.Properties == o.Properties &&
		slices.Equal(i.Tags, o.Tags) && i.Metadata == o.Metadata
}

// Format formats a document as text and returns how long that is, with the document.
//
//go:noinline
func (*clerk) Format(_ context.Context, d Document) (Formatted, error) {
	return Formatted{Status: statusDone, Length: len(d.text()), Document: d, Timestamp: time.Now().UnixNano()}, nil
}
