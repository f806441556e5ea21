package main

import (
	"math"
	"math/bits"
	"slices"
	"time"
)

// histogram counts times in log-linear buckets, 128 for each doubling: a time that is read from it is at most 0.8 % off.
// Its unit is the picosecond, so that it holds the share of one call in a batch of very short ones. Recording neither
// allocates nor sorts.
type histogram struct {
	counts [(histogramOctaves + 1) << histogramBits]uint64
	total  uint64
}

const (
	histogramBits    = 7
	histogramOctaves = 46 // up to 2^53 ps, two and a half hours
)

// record counts a time that calls took together as that many equal times.
func (h *histogram) record(d time.Duration, calls int) {
	h.counts[bucket(uint64(max(0, d))*1000/uint64(calls))] += uint64(calls)
	h.total += uint64(calls)
}

// bucket finds the bucket of a value: the first 2^histogramBits values have one each, then each doubling has that many.
func bucket(ps uint64) int {
	if ps < 1<<histogramBits {
		return int(ps)
	}
	octave := min(bits.Len64(ps)-histogramBits, histogramOctaves)
	within := min(ps>>(octave-1)-1<<histogramBits, 1<<histogramBits-1)
	return octave<<histogramBits + int(within)
}

// middle is the value in the middle of a bucket.
func middle(bucket int) float64 {
	octave, within := bucket>>histogramBits, bucket&(1<<histogramBits-1)
	if octave == 0 {
		return float64(within)
	}
	width := math.Ldexp(1, octave-1)
	return (float64(within)+1<<histogramBits)*width + (width-1)/2
}

// quantile returns the time in nanoseconds that the share q of all times does not exceed, 0 when there are none.
func (h *histogram) quantile(q float64) float64 {
	rank := uint64(math.Ceil(q * float64(h.total)))
	seen := uint64(0)
	for i, n := range h.counts {
		if seen += n; n > 0 && seen >= max(1, rank) {
			return middle(i) / 1000
		}
	}
	return 0
}

// median of at least one value; of an even number, the mean of the two in the middle.
func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	half := len(s) / 2
	if len(s)%2 == 1 {
		return s[half]
	}
	return (s[half-1] + s[half]) / 2
}
