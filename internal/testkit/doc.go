// Package testkit holds what the tests of several packages need: other processes, waiting without guessing, and a check
// that nothing is left behind.
//
// A package whose tests start processes hands its roles to [Run] in TestMain; the test binary then plays the other
// process itself, so that no second program has to be built:
//
//	func TestMain(m *testing.M) {
//		testkit.Run(m, map[string]func(){"echo": echo})
//	}
//
//	func TestEcho(t *testing.T) {
//		testkit.NoLeaks(t)
//		cmd := testkit.Command(t, "echo", "hello")
//		...
//	}
//
// Waiting is bounded, and every bound is multiplied by the environment variable SHMACTOR_TEST_SCALE, so that a slow
// machine needs no change of the tests. No test has an upper bound on how long something may take: a bound here only
// says when to give up on something that will never happen.
package testkit
