package main

import (
	"context"
	"errors"
	"math"

	"github.com/shmactor/shmactor/actor"
)

// Calculator is an actor without state: every calculator gives the same answers.
type Calculator struct{}

// Pair is what most operations take.
type Pair struct{ X, Y float64 }

// Kinds and methods are package-level variables: all processes of the program know them, and so does another program that
// is built from this package.
var (
	calculator = actor.NewKind("calculator", func() Calculator { return Calculator{} })
	add        = actor.NewMethod(calculator, "add", Calculator.Add)
	subtract   = actor.NewMethod(calculator, "subtract", Calculator.Subtract)
	multiply   = actor.NewMethod(calculator, "multiply", Calculator.Multiply)
	divide     = actor.NewMethod(calculator, "divide", Calculator.Divide)
	power      = actor.NewMethod(calculator, "power", Calculator.Power)
	sqrt       = actor.NewMethod(calculator, "sqrt", Calculator.Sqrt)
)

// The errors have names, so that errors.Is finds them also when the calculator that returned them is in another process.
var (
	ErrDivisionByZero = actor.RegisterError("calculator/division-by-zero", errors.New("division by zero"))
	ErrNegativeRoot   = actor.RegisterError("calculator/negative-root", errors.New("root of a negative number"))
	ErrTooLarge       = actor.RegisterError("calculator/too-large", errors.New("the result is too large"))
)

// Add returns X + Y.
func (Calculator) Add(_ context.Context, p Pair) (float64, error) { return finite(p.X + p.Y) }

// Subtract returns X - Y.
func (Calculator) Subtract(_ context.Context, p Pair) (float64, error) { return finite(p.X - p.Y) }

// Multiply returns X * Y.
func (Calculator) Multiply(_ context.Context, p Pair) (float64, error) { return finite(p.X * p.Y) }

// Divide returns X / Y.
func (Calculator) Divide(_ context.Context, p Pair) (float64, error) {
	if p.Y == 0 {
		return 0, ErrDivisionByZero
	}
	return finite(p.X / p.Y)
}

// Power returns X to the power of Y.
func (Calculator) Power(_ context.Context, p Pair) (float64, error) {
	switch {
	case p.X == 0 && p.Y < 0:
		return 0, ErrDivisionByZero
	case p.X < 0 && p.Y != math.Trunc(p.Y):
		return 0, ErrNegativeRoot
	}
	return finite(math.Pow(p.X, p.Y))
}

// Sqrt returns the square root of x.
func (Calculator) Sqrt(_ context.Context, x float64) (float64, error) {
	if x < 0 {
		return 0, ErrNegativeRoot
	}
	return finite(math.Sqrt(x))
}

// finite returns a result that is a number.
func finite(x float64) (float64, error) {
	if math.IsInf(x, 0) || math.IsNaN(x) {
		return 0, ErrTooLarge
	}
	return x + 0, nil // the zero has no sign
}
