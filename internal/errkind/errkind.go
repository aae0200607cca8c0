// Package errkind classifies errors by who has to act on them. It is the one
// place where an error becomes a process exit code.
//
// An error that nobody classified is a [Run] fault: the run itself went wrong.
package errkind

import (
	"errors"
	"fmt"
)

// Kind says whose hands an error is in. Its numeric value is the exit code.
type Kind int

const (
	// OK is the kind of a nil error.
	OK Kind = 0
	// Run means the run failed, or some of its conversions did.
	Run Kind = 1
	// Input means what the user gave is wrong: a flag, a file, a row, a request.
	Input Kind = 2
	// Environment means something outside is missing or unwell: no database
	// file, no NATS server, no API, a full disk, a refused key.
	Environment Kind = 3
	// Paused means that nothing went wrong, but the run waits for somebody to
	// let it go on.
	Paused Kind = 4
)

// String returns the kind's name in lower case.
func (k Kind) String() string {
	switch k {
	case OK:
		return "ok"
	case Input:
		return "input"
	case Environment:
		return "environment"
	case Paused:
		return "paused"
	default:
		return "run"
	}
}

type classified struct {
	kind Kind
	err  error
}

func (c *classified) Error() string { return c.err.Error() }
func (c *classified) Unwrap() error { return c.err }

// Inputf formats an error of kind [Input]; %w wraps as in [fmt.Errorf].
func Inputf(format string, args ...any) error {
	return &classified{Input, fmt.Errorf(format, args...)}
}

// Environmentf formats an error of kind [Environment]; %w wraps as in [fmt.Errorf].
func Environmentf(format string, args ...any) error {
	return &classified{Environment, fmt.Errorf(format, args...)}
}

// As gives err the kind k, keeping its text and what it wraps. A nil err stays nil.
func As(k Kind, err error) error {
	if err == nil {
		return nil
	}
	return &classified{k, err}
}

type passing struct{ err error }

func (p *passing) Error() string { return p.err.Error() }
func (p *passing) Unwrap() error { return p.err }

// Passing marks err as of something that comes back by itself, or by hands that
// are at it already: a database server that is started again. Its kind stays.
func Passing(err error) error { return &passing{err} }

// Passes says whether what err tells of is worth waiting for, also before anything
// is paid for: see [Passing].
func Passes(err error) bool {
	var p *passing
	return errors.As(err, &p)
}

// KindOf returns the kind of err: [OK] for nil, the outermost classification
// in its chain, and [Run] where there is none.
func KindOf(err error) Kind {
	if err == nil {
		return OK
	}
	var c *classified
	if errors.As(err, &c) {
		return c.kind
	}
	return Run
}

// ExitCode returns the process exit code for err: 0 for nil, otherwise 1 to
// 4 as the constants of [Kind] say.
func ExitCode(err error) int { return int(KindOf(err)) }
