package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/shmactor/shmactor/actor"
)

// operation is a method of a calculator as people name it.
type operation struct {
	name     string
	operands int // how many numbers it takes
	call     func(ctx context.Context, to actor.Ref[Calculator], x []float64) (float64, error)
}

var operations = []operation{
	onPair(add), onPair(subtract), onPair(multiply), onPair(divide), onPair(power), onNumber(sqrt),
}

func onPair(m actor.Method[Calculator, Pair, float64]) operation {
	return operation{m.Name(), 2, func(ctx context.Context, to actor.Ref[Calculator], x []float64) (float64, error) {
		return m.Call(ctx, to, Pair{x[0], x[1]})
	}}
}

func onNumber(m actor.Method[Calculator, float64, float64]) operation {
	return operation{m.Name(), 1, func(ctx context.Context, to actor.Ref[Calculator], x []float64) (float64, error) {
		return m.Call(ctx, to, x[0])
	}}
}

// calculation is one operation and its operands.
type calculation struct {
	operation
	x []float64
}

// parseCalculation reads words such as "add", "5", "3".
func parseCalculation(words []string) (c calculation, err error) {
	if len(words) == 0 {
		return c, errors.New("no operation")
	}
	for _, op := range operations {
		if op.name == words[0] {
			c.operation = op
		}
	}
	if c.call == nil {
		return c, fmt.Errorf("unknown operation %q: there are %s", words[0], names())
	}
	if n := len(words) - 1; n != c.operands {
		return c, fmt.Errorf("%s takes %s, not %d", c.name, numbers(c.operands), n)
	}
	for _, word := range words[1:] {
		x, err := parseNumber(word)
		if err != nil {
			return c, err
		}
		c.x = append(c.x, x)
	}
	return c, nil
}

func parseNumber(word string) (float64, error) {
	x, err := strconv.ParseFloat(word, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("%q is too large", word)
	case err != nil || math.IsNaN(x) || math.IsInf(x, 0):
		return 0, fmt.Errorf("%q is not a number", word)
	}
	return x, nil
}

// on has a calculator do it.
func (c calculation) on(ctx context.Context, to actor.Ref[Calculator]) (float64, error) {
	return c.call(ctx, to, c.x)
}

// String is the calculation as it is typed.
func (c calculation) String() string {
	words := []string{c.name}
	for _, x := range c.x {
		words = append(words, text(x))
	}
	return strings.Join(words, " ")
}

// text is the shortest way to write a number: 8, not 8.000000.
func text(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

// help is how each operation is typed.
func help() string {
	var all strings.Builder
	for _, op := range operations {
		all.WriteString(op.name + " X Y"[:len(" X")*op.operands] + "\n")
	}
	return all.String()
}

func names() string {
	var all []string
	for _, op := range operations {
		all = append(all, op.name)
	}
	return strings.Join(all, ", ")
}

func numbers(n int) string {
	if n == 1 {
		return "1 number"
	}
	return fmt.Sprintf("%d numbers", n)
}
