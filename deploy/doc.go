// Package deploy is the stack in containers: its configuration, the two programs
// that prepare it, and the tests that hold what is written here against the
// code.
package deploy
