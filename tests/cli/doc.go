// Package cli holds tests that drive the real command, ihc, as users do: its
// arguments, environment and files in; its output, exit code and files out.
package cli
