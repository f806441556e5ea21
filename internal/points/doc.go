// Package points knows every place where the code of packages shm and mailbox touches a word that processes share, by the
// source itself: a [List] of them is made with go/types, so none can be forgotten. In a build with the tag shmactor_points
// a Tracer finds the point of each access at run time, and does what a test tells it to there. Tests alone use it.
//
// A point is a call of a method of [word.Word] or [word.Half], or of word.Sleep or word.Wake, in a file that is no test. A
// function that is nothing but one such access is an accessor: its point is wherever it is called, so that each
// Frame.Move of the protocol is a point of its own.
package points
