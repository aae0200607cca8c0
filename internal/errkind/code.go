package errkind

import "errors"

// The codes of errors, for programs: what `"code"` is in the JSON of the command
// line and in the problems of the HTTP API. They stay as they are; docs/console.md
// has the same table.
const (
	CodeInput             = "bad_input"          // what was given is wrong
	CodeEnvironment       = "environment"        // something outside is missing or unwell
	CodeRun               = "run_failed"         // the run itself went wrong
	CodePaused            = "paused"             // the run's budget of requests is used up
	CodeUnknownRun        = "unknown_run"        // no run, or no dead letter, has that name
	CodeUnknownConversion = "unknown_conversion" // no conversion has that id
	CodeRunExists         = "run_exists"         // the id is that of a run with other settings
	CodeWrongState        = "wrong_state"        // the run is in a state that does not allow it
)

type coded struct {
	error
	code string
}

func (c *coded) Unwrap() error { return c.error }

// WithCode gives err a code, keeping its text, its kind and what it wraps. A nil
// err stays nil.
func WithCode(code string, err error) error {
	if err == nil {
		return nil
	}
	return &coded{err, code}
}

// CodeOf returns the code of err: the outermost in its chain, that of its kind
// where there is none, and "" for nil.
func CodeOf(err error) string {
	var c *coded
	if errors.As(err, &c) {
		return c.code
	}
	switch KindOf(err) {
	case OK:
		return ""
	case Input:
		return CodeInput
	case Environment:
		return CodeEnvironment
	case Paused:
		return CodePaused
	default:
		return CodeRun
	}
}
