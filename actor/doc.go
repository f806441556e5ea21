// Package actor runs typed actors over mailboxes in a shared segment. An actor is an ordinary Go value whose methods run one
// at a time; a call to it looks the same whether it lives in this process or in another.
//
//	type Counter struct{ total int64 }
//
//	func (c *Counter) Add(ctx context.Context, n int64) (int64, error) {
//		c.total += n
//		return c.total, nil
//	}
//
//	var (
//		counter = actor.NewKind("counter", func() *Counter { return new(Counter) })
//		add     = actor.NewMethod(counter, "add", (*Counter).Add)
//	)
//
//	total, err := add.Call(ctx, counter.Ref(sys, "counter/1"), 5)
//
// Kinds and methods are package-level variables, so that every process of the program knows them; a method that its own handler
// calls or sends is assigned in an init function, since Go allows no circle of initialisers. Package supervisor starts systems, actors
// and worker processes.
//
// # What a handler may do
//
// A handler may block, call other actors with its context, start goroutines, keep state in its value without locks. An error that
// it returns goes to its caller and the actor lives on. A panic, or runtime.Goexit, is a crash: the caller gets ErrCrashed, the
// value is thrown away, and the supervisor makes a fresh one; what was queued is handled by it. So it is when a method of the
// arguments' or the result's type ends the goroutine; a panic of one is only an error. From its context a handler reaches its own
// actor: SelfOf(ctx).
//
// A handler's context ends with the deadline of its caller, and when the actor does not stop in time; not when its caller gives
// up before. One with a deadline ends also when the handler returns.
//
// # Values and bytes
//
// Inside one process arguments and results pass by reference, like through a channel: sender and receiver must not both change
// them. To another process they are encoded; how is chosen by type when the method is defined.
package actor
