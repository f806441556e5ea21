//go:build !race

package supervisor_test

// slower divides what a test repeats many times: nothing here.
const slower = 1
