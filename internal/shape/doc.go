// Package shape has only tests: they hold the shape of the code. Which package may import what, that everything exported
// is documented, how long a function and a file may be, what no file may say, and that each named memory-order edge has
// two ends, and that the steps which code and models name are the same.
//
// The checks read the tree themselves, so that the test cache sees every file they depend on. Each check takes the root of
// a tree and returns what is wrong with it, and is tested on a small tree in which something is.
package shape
