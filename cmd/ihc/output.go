package main

import (
	"os"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// output is standard output, and remembers whether it could be written: a
// command that prints many lines need not look at each.
type output struct {
	file *os.File
	err  error
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	n, err := o.file.Write(p)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// Fd returns the file descriptor: see [isTerminal].
func (o *output) Fd() uintptr { return o.file.Fd() }

// failure returns an environment fault if something could not be written.
func (o *output) failure() error {
	if o.err == nil {
		return nil
	}
	return errkind.Environmentf("the result cannot be written to standard output: %w", o.err)
}
