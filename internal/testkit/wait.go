package testkit

import (
	"context"
	"fmt"
	"math"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// scaleEnv is the factor by which a slow machine stretches every bound.
const scaleEnv = "SHMACTOR_TEST_SCALE"

const (
	pauseMin = 100 * time.Microsecond
	pauseMax = 10 * time.Millisecond
)

// Scale returns d multiplied by SHMACTOR_TEST_SCALE, a positive number, 1 if it is not set. It panics if the variable
// holds anything else.
func Scale(d time.Duration) time.Duration {
	return time.Duration(float64(d) * scale())
}

var scale = sync.OnceValue(func() float64 {
	factor, err := parseScale(os.Getenv(scaleEnv))
	if err != nil {
		panic(err)
	}
	return factor
})

func parseScale(text string) (float64, error) {
	if text == "" {
		return 1, nil
	}
	factor, err := strconv.ParseFloat(text, 64)
	if err != nil || factor <= 0 || math.IsInf(factor, 0) || math.IsNaN(factor) {
		return 0, fmt.Errorf("testkit: %s=%q is not a positive number", scaleEnv, text)
	}
	return factor, nil
}

// Eventually waits until cond returns true, and fails the test at once if that takes longer than d, scaled; what says
// in the message what was waited for. It calls cond on the test's own goroutine, first at once, then at growing
// intervals, the last time after the end of d.
func Eventually(t testing.TB, d time.Duration, what string, cond func() bool) {
	t.Helper()
	if limit := Scale(d); !poll(limit, cond) {
		t.Fatalf("waited %v in vain: %s", limit, what)
	}
}

// Deadline returns a context that ends after d, scaled, or with the test: after the clean-ups that were registered later.
func Deadline(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	limit := Scale(d)
	cause := fmt.Errorf("%s ran out of its %v: %w", t.Name(), limit, context.DeadlineExceeded)
	ctx, cancel := context.WithTimeoutCause(context.Background(), limit, cause)
	t.Cleanup(cancel)
	return ctx
}

// poll calls cond until it returns true or limit has passed, and reports which.
func poll(limit time.Duration, cond func() bool) bool {
	end := time.Now().Add(limit)
	if cond() {
		return true
	}
	timer := time.NewTimer(pauseMin)
	defer timer.Stop()
	for pause := pauseMin; ; timer.Reset(pause) {
		<-timer.C
		late := !time.Now().Before(end)
		if cond() {
			return true
		}
		if late {
			return false
		}
		pause = min(2*pause, pauseMax)
	}
}
