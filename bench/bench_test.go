package main

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/shmactor/shmactor/bench/floor"
	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/supervisor"
)

func TestMain(m *testing.M) {
	floor.Main()
	supervisor.Main()
	testkit.Run(m, nil)
}

// startRig starts a rig that ends with the test.
func startRig(tb testing.TB, contexts ...string) *rig {
	tb.Helper()
	r, err := newRig(context.Background(), contexts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := r.close(); err != nil {
			tb.Error(err)
		}
	})
	return r
}

// actorContexts are the contexts with an actor that this system has.
func actorContexts() []string {
	if canPin { // Linux, as workers are
		return []string{goroutine, worker}
	}
	return []string{goroutine}
}

// BenchmarkCall measures calls from one goroutine to one actor. For percentiles and placements use the program.
func BenchmarkCall(b *testing.B) {
	for _, scenario := range scenarios {
		for _, where := range actorContexts() {
			b.Run(fmt.Sprintf("scenario=%s/context=%s", scenario, where), func(b *testing.B) {
				s := startRig(b, where).subject(scenario, where)
				b.ReportAllocs()
				for b.Loop() {
					if err := s.calls(1); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkDirect measures what BenchmarkCall is compared with. Small calls come in batches: one is shorter than the
// loop around it.
func BenchmarkDirect(b *testing.B) {
	for _, scenario := range scenarios {
		b.Run("scenario="+scenario, func(b *testing.B) {
			s := new(rig).subject(scenario, direct)
			b.ReportAllocs()
			for b.Loop() {
				if err := s.calls(s.batch); err != nil {
					b.Fatal(err)
				}
			}
			if s.batch > 1 {
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(s.batch), "ns/call")
			}
		})
	}
}

// BenchmarkSend measures small one-way messages from one goroutine to one actor, until the last one was handled.
func BenchmarkSend(b *testing.B) {
	for _, where := range actorContexts() {
		b.Run("context="+where, func(b *testing.B) {
			ctx := context.Background()
			ref := startRig(b, where).refs[where]
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				if err := add.Send(ctx, ref, Pair{int64(i), 1}); err != nil {
					b.Fatal(err)
				}
			}
			if sum, err := add.Call(ctx, ref, Pair{1, 2}); err != nil || sum != 3 { // it is behind them in the queue
				b.Fatal(sum, err)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}

const parallelCallers = 64

// BenchmarkCallers measures small calls from many goroutines to one actor: parallelCallers of them, rounded down to a
// multiple of the CPUs.
func BenchmarkCallers(b *testing.B) {
	for _, where := range actorContexts() {
		b.Run(fmt.Sprintf("context=%s/callers=%d", where, parallelCallers), func(b *testing.B) {
			ctx := context.Background()
			ref := startRig(b, where).refs[where]
			b.ReportAllocs()
			b.SetParallelism(max(1, parallelCallers/runtime.GOMAXPROCS(0)))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if sum, err := add.Call(ctx, ref, Pair{1, 2}); err != nil || sum != 3 {
						b.Error(sum, err)
						return
					}
				}
			})
		})
	}
}
