// Package supervisor starts systems of actors, in this process and in worker processes, and keeps them running: what dies is
// started again, what dies too often takes its supervisor with it.
//
//	func main() {
//		supervisor.Main() // a worker process serves here and never returns
//
//		sys, err := supervisor.Start(ctx, supervisor.Spec{
//			Name: "demo",
//			Children: []supervisor.Child{
//				supervisor.Actor("counter/local", counter),
//				supervisor.Worker("w1", supervisor.Actor("counter/isolated", counter)),
//			},
//		})
//
// A worker is the same binary, executed again. Its actors are supervised inside it; it is supervised as a process. When it
// dies, the calls that it was handling fail at once, what is queued waits for its next life.
//
// Run is Start, a part of the program's own, and Close; it goes on with a fresh segment when a process has scribbled over the old one.
//
// Package initialisation runs in workers too, since it runs before main.
package supervisor
