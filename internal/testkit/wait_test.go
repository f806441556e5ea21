package testkit

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestEventuallyReturnsWhenTrue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		flag := flagged(time.Second)
		Eventually(t, time.Minute, "the flag", flag.Load)
		if took := time.Since(start); took < time.Second || took > time.Second+pauseMax {
			t.Errorf("noticed after %v what happened after 1s", took)
		}
	})
}

func TestEventuallyAsksAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		Eventually(t, 0, "what is so already", func() bool { return true })
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v", took)
		}
	})
}

func TestEventuallyFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, asked := time.Now(), 0
		r := &recorder{TB: t}
		r.run(func() {
			Eventually(r, time.Second, "the impossible", func() bool { asked++; return false })
			t.Error("went on after the failure")
		})
		r.wantSaid("the impossible", Scale(time.Second).String())
		if took := time.Since(start); took < Scale(time.Second) {
			t.Errorf("gave up after %v", took)
		}
		if asked < 10 {
			t.Errorf("asked only %d times", asked)
		}
	})
}

func TestPollAsksOnceMoreAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		const limit = 50 * time.Millisecond
		if !poll(limit, func() bool { return time.Since(start) >= limit }) {
			t.Error("what was so at the end of the limit counted as late")
		}
	})
}

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{TB: t}
		ctx := Deadline(r, time.Second)
		<-ctx.Done()
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Errorf("ended by %v", ctx.Err())
		}
		if cause := context.Cause(ctx).Error(); !strings.Contains(cause, "TestRecorded") {
			t.Errorf("cause %q does not name the test", cause)
		}

		ctx = Deadline(r, time.Second)
		r.clean()
		if !errors.Is(ctx.Err(), context.Canceled) {
			t.Errorf("after the test: %v", ctx.Err())
		}
	})
}

func TestParseScale(t *testing.T) {
	for text, want := range map[string]float64{"": 1, "1": 1, "2.5": 2.5, "0.1": 0.1} {
		if got, err := parseScale(text); err != nil || got != want {
			t.Errorf("parseScale(%q) = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"0", "-1", "NaN", "Inf", "fast", " "} {
		if got, err := parseScale(text); err == nil {
			t.Errorf("parseScale(%q) = %v, want an error", text, got)
		}
	}
}
