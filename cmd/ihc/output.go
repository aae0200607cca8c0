package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/store/open"
)

// output is standard output, and remembers whether it could be written: a
// command that prints many lines need not look at each.
type output struct {
	file  *os.File
	begun bool
	err   error
}

// Write implements io.Writer. After an error it writes no more and returns that.
func (o *output) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	o.begun = true
	n, err := o.file.Write(p)
	o.err = err
	return n, err
}

// Fd returns the file descriptor: see [isTerminal].
func (o *output) Fd() uintptr { return o.file.Fd() }

// tell prints an error for programs, with its code, where JSON was asked for and
// the command has not printed any.
func (o *output) tell(cmd *cobra.Command, err error) {
	asked := func(flag, value string) bool {
		f := cmd.Flags().Lookup(flag)
		return f != nil && f.Value.String() == value
	}
	if o.begun || !asked("json", "true") && !asked("format", "json") {
		return
	}
	_ = printJSON(o, struct {
		Error string `json:"error"`
		Code  string `json:"code"`
	}{open.Hide(err.Error()), errkind.CodeOf(err)})
}

// failure returns an environment fault if something could not be written.
func (o *output) failure() error {
	if o.err == nil {
		return nil
	}
	return errkind.Environmentf("the result cannot be written to standard output: %w", o.err)
}
