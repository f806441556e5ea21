// Package explore runs the real code of a scenario under every interleaving of its actors, as far as bounds on preemptions
// and deaths allow, and with every death. It is for tests of packages that are built with the tag shmactor_points, where
// every access to a shared word asks it who goes on.
//
// An actor is a goroutine of the scenario; a process is a group of actors that die together. One actor runs at a time. In
// front of every access to a word that more than one actor touches, the explorer chooses: this actor goes on, another one
// does (a preemption), or the actor's process dies. When an actor blocks or ends, any other may go on. The choices of one
// schedule are a path; all paths are walked depth first, by running the scenario anew with the first choices given. A
// state that was reached before is not explored again: it is what the shared words hold, what each actor has seen on its way, and
// what is left of the bounds.
//
// The method is that of CHESS (Musuvathi and Qadeer, "Iterative Context Bounding", 2007): most errors of interleaving need
// one or two preemptions only. Since Go's atomics are sequentially consistent, interleavings are all there is.
package explore
