package main

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"github.com/ihc-pipeline/ihc/internal/human"
)

// isTerminal tells whether w is one: somebody reads it, and no program.
func isTerminal(w io.Writer) bool {
	f, ok := w.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}

// window returns how many cells a line of w may take, 0 for any number: it is
// no terminal.
func window(w io.Writer) int {
	f, ok := w.(interface{ Fd() uintptr })
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return max(columns-1, 20)
}

// wrapped prints a text in lines that fit w, the second and later ones indented.
func wrapped(w io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintln(w, human.Wrap(fmt.Sprintf(format, args...), window(w), 2))
}

// The colours of what is told; each goes with a word, for those who see none.
const (
	green  = "32"
	yellow = "33"
	red    = "31"
)

// paint colours a text on a terminal, unless NO_COLOR is set.
func paint(w io.Writer, colour, text string) string {
	if !isTerminal(w) || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}
