package source

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// Severity says what a finding means for the numbers.
type Severity string

const (
	// Error makes a true result impossible: no run starts.
	Error Severity = "error"
	// Warning makes a result that may not be what was meant.
	Warning Severity = "warning"
	// Note is worth knowing and harmless.
	Note Severity = "note"
)

var severities = []Severity{Error, Warning, Note}

// Finding is one kind of oddity in one column (or table) of the source data.
type Finding struct {
	Severity Severity `json:"severity"`
	Table    string   `json:"table"`
	// Column is empty where the whole table is meant.
	Column string `json:"column,omitempty"`
	// Code names the kind of finding, stable, in snake_case.
	Code string `json:"code"`
	// Count is how many rows (or channels, where the message says so) it
	// concerns; 0 where there is nothing to count, as for a missing column.
	Count int64 `json:"count"`
	// Example is the first row concerned: its id and the value, quoted and cut.
	Example string `json:"example,omitempty"`
	// Message says what is wrong and what to do.
	Message string `json:"message"`

	unit string // what Count counts
}

// String returns the finding as one line without its severity.
func (f Finding) String() string {
	var b strings.Builder
	b.WriteString(f.Table)
	if f.Column != "" {
		b.WriteString("." + f.Column)
	}
	b.WriteString(": ")
	if f.Count > 0 {
		unit := f.unit
		if f.Count == 1 {
			unit = strings.TrimSuffix(unit, "s")
		}
		fmt.Fprintf(&b, "%d %s: ", f.Count, unit)
	}
	b.WriteString(f.Message)
	if f.Example != "" {
		fmt.Fprintf(&b, " (first: %s)", f.Example)
	}
	return b.String()
}

// Report is what [Validate] found: how much data there is, and what is odd
// about it. Dates are UTC, YYYY-MM-DD, and empty where there is no readable one.
type Report struct {
	Sessions    int64 `json:"sessions"`
	Conversions int64 `json:"conversions"`
	// ConversionsInRange is how many conversions Options' dates select.
	ConversionsInRange int64 `json:"conversions_in_range"`
	Costs              int64 `json:"costs"`
	Channels           int64 `json:"channels"`

	FirstSession    string `json:"first_session,omitempty"`
	LastSession     string `json:"last_session,omitempty"`
	FirstConversion string `json:"first_conversion,omitempty"`
	LastConversion  string `json:"last_conversion,omitempty"`

	// Findings are ordered: errors, warnings, notes; then by table and column.
	Findings []Finding `json:"findings"`
}

// Count returns how many findings have the severity.
func (r *Report) Count(s Severity) int {
	n := 0
	for _, f := range r.Findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// Err returns nil if the data can give a true result, and otherwise an Input
// fault (see package errkind) that tells the first error and how many more there
// are, in one line.
func (r *Report) Err() error {
	n := r.Count(Error)
	if n == 0 {
		return nil
	}
	first := r.Findings[slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Severity == Error })]
	if n == 1 {
		return errkind.Inputf("source data: %s", first)
	}
	return errkind.Inputf("source data: %s; and %d more %s", first, n-1, plural(int64(n-1), "error"))
}

// Lines returns the findings for people, one line each, with their severity.
func (r *Report) Lines() []string { return r.lines(severities...) }

// Warnings returns the lines of warnings and notes alone: what is odd about
// data that is otherwise sound.
func (r *Report) Warnings() []string { return r.lines(Warning, Note) }

func (r *Report) lines(of ...Severity) []string {
	lines := make([]string, 0, len(r.Findings))
	for _, f := range r.Findings {
		if slices.Contains(of, f.Severity) {
			lines = append(lines, string(f.Severity)+": "+f.String())
		}
	}
	return lines
}

// order sorts the findings as documented.
func (r *Report) order() {
	tables := []string{SessionSources, Conversions, SessionCosts, CustomerJourney, ChannelReporting}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		if c := slices.Index(severities, a.Severity) - slices.Index(severities, b.Severity); c != 0 {
			return c
		}
		return slices.Index(tables, a.Table) - slices.Index(tables, b.Table)
	})
}

func plural(n int64, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

const maxQuoted = 80

// quote puts a value from the database into a message: quoted, with what
// cannot be printed escaped, and cut to about 80 characters.
func quote(v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case string:
		return quoteText(v)
	case []byte:
		if len(v) > maxQuoted/4 {
			return fmt.Sprintf("blob x'%x'… (%d bytes)", v[:maxQuoted/4], len(v))
		}
		return fmt.Sprintf("blob x'%x'", v)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	default:
		return fmt.Sprint(v)
	}
}

func quoteText(s string) string {
	if len(s) <= maxQuoted {
		return strconv.Quote(s)
	}
	cut := strings.ToValidUTF8(s[:maxQuoted], "") // do not end within a rune
	return strconv.Quote(cut) + fmt.Sprintf("… (%d bytes)", len(s))
}
