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

// verb is a method of an accumulator as people name it.
type verb struct {
	name string
	args string
	do   func(ctx context.Context, to actor.Ref[*Accumulator], of Amount) (result string, err error)
}

var verbs = []verb{
	{accumulate.Name(), "CLIENT X", func(ctx context.Context, to actor.Ref[*Accumulator], of Amount) (string, error) {
		total, err := accumulate.Call(ctx, to, of)
		return text(total), err
	}},
	{clearClient.Name(), "CLIENT", func(ctx context.Context, to actor.Ref[*Accumulator], of Amount) (string, error) {
		_, err := clearClient.Call(ctx, to, of.Client)
		return "", err
	}},
	{stumble.Name(), "", func(ctx context.Context, to actor.Ref[*Accumulator], _ Amount) (string, error) {
		_, err := stumble.Call(ctx, to, struct{}{})
		return "", err
	}},
}

// order is a verb and what it takes.
type order struct {
	verb
	of Amount
}

// parseOrder reads words such as "accumulate", "alice", "5".
func parseOrder(words []string) (o order, err error) {
	if len(words) == 0 {
		return o, errors.New("no command")
	}
	for _, v := range verbs {
		if v.name == words[0] {
			o.verb = v
		}
	}
	if o.do == nil {
		return o, fmt.Errorf("unknown command %q: there are %s", words[0], names())
	}
	switch n := len(words) - 1; {
	case n != len(strings.Fields(o.args)):
		return o, fmt.Errorf("want %q", strings.TrimSpace(o.name+" "+o.args))
	case n > 1:
		o.of.X, err = parseNumber(words[2])
		fallthrough
	case n > 0:
		o.of.Client = words[1]
	}
	return o, err
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

// on gives the order to an accumulator. Not every order has a result.
func (o order) on(ctx context.Context, to actor.Ref[*Accumulator]) (result string, err error) {
	return o.do(ctx, to, o.of)
}

// text is the shortest way to write a number: 8, not 8.000000.
func text(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

// help is how each order is typed.
func help() string {
	var all strings.Builder
	for _, v := range verbs {
		all.WriteString(strings.TrimSpace(v.name+" "+v.args) + "\n")
	}
	return all.String()
}

func names() string {
	var all []string
	for _, v := range verbs {
		all = append(all, v.name)
	}
	return strings.Join(all, ", ")
}
