package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const bucketError = 1.0 / (1 << (histogramBits + 1)) // how far the middle of a bucket is from its ends, of the value

func TestBuckets(t *testing.T) {
	last := -1
	for _, ps := range []uint64{0, 1, 2, 126, 127, 128, 129, 254, 255, 256, 257, 258, 511, 512, 1 << 20, 1<<20 + 1<<13, 1 << 40, 1<<53 - 1} {
		b := bucket(ps)
		if b < last {
			t.Errorf("bucket of %d is %d, before %d of a smaller value", ps, b, last)
		}
		last = b
		if off := math.Abs(middle(b) - float64(ps)); off > bucketError*float64(ps) {
			t.Errorf("the middle of the bucket of %d is %.1f", ps, middle(b))
		}
	}
	size := len(new(histogram).counts)
	if last != size-1 {
		t.Errorf("the largest time has bucket %d of %d", last, size)
	}
	if b := bucket(math.MaxUint64); b != size-1 {
		t.Errorf("a time beyond the histogram has bucket %d, want the last of %d", b, size)
	}
}

func TestQuantiles(t *testing.T) {
	h := new(histogram)
	if got := h.quantile(0.5); got != 0 {
		t.Errorf("of nothing: %v, want 0", got)
	}
	for i := range 1000 {
		h.record(time.Duration(i+1)*time.Microsecond, 1)
	}
	for _, c := range []struct{ q, want float64 }{{0, 1e3}, {0.001, 1e3}, {0.5, 500e3}, {0.99, 990e3}, {0.999, 999e3}, {1, 1000e3}} {
		if got := h.quantile(c.q); math.Abs(got-c.want) > bucketError*c.want {
			t.Errorf("quantile %v of 1 to 1,000 µs is %v ns, want %v", c.q, got, c.want)
		}
	}
}

// TestQuantilesOfBatches checks that times of less than a nanosecond a call keep their digits.
func TestQuantilesOfBatches(t *testing.T) {
	h := new(histogram)
	h.record(1300*time.Nanosecond, 1000)
	h.record(900*time.Nanosecond, 1000)
	h.record(700*time.Nanosecond, 1000)
	if h.total != 3000 {
		t.Errorf("%d calls, want 3000", h.total)
	}
	if got := h.quantile(0.5); math.Abs(got-0.9) > 0.9*bucketError {
		t.Errorf("median %v ns, want 0.9", got)
	}
}

// TestQuantilesAgainstSorting compares with the plain way to do it.
func TestQuantilesAgainstSorting(t *testing.T) {
	const seed = 1
	rng := rand.New(rand.NewPCG(seed, seed))
	h := new(histogram)
	var all []float64
	for range 20_000 {
		d := time.Duration(math.Exp(rng.NormFloat64()*2 + 8))
		h.record(d, 1)
		all = append(all, float64(d))
	}
	slices.Sort(all)
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999} {
		want := all[int(math.Ceil(q*float64(len(all))))-1]
		if got := h.quantile(q); math.Abs(got-want) > want*bucketError {
			t.Errorf("quantile %v is %v, sorted it is %v", q, got, want)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{8, 1, 3, 2}, 2.5}} {
		before := slices.Clone(c.values)
		if got := median(c.values); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.values, got, c.want)
		}
		if !slices.Equal(before, c.values) {
			t.Errorf("median changed %v to %v", before, c.values)
		}
	}
}
