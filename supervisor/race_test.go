//go:build race

package supervisor_test

// slower divides what a test repeats many times: the race detector takes its time.
const slower = 10
