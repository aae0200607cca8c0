// Package findings says what is odd about source data: the rules, the checks of
// single values, and the list of what was found, for every kind of database.
package findings

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/tables"
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

	// Unit is what Count counts, in the plural.
	Unit string `json:"-"`
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
		unit := f.Unit
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

// Options narrows what is looked at and counted.
type Options struct {
	// StartDate and EndDate are UTC dates, YYYY-MM-DD, both included, that
	// select conversions for ConversionsInRange. Empty is unbounded. The checks
	// concern all rows.
	StartDate, EndDate string
	// LookbackDays is how many days before a conversion a session counts for
	// PerConversion, 0 for any.
	LookbackDays uint32
	// Alone leaves out the comparisons of one table with another: costs without
	// session and the like. None of them keeps a result from being true, and
	// the report of a run counts them as well.
	Alone bool
}

// Findings is what a look at the source data found: how much data there is, and what is odd
// about it. Dates are UTC, YYYY-MM-DD, and empty where there is no readable one.
type Findings struct {
	Sessions    int64 `json:"sessions"`
	Conversions int64 `json:"conversions"`
	// ConversionsInRange is how many conversions the dates of [Options] select.
	ConversionsInRange int64 `json:"conversions_in_range"`
	Costs              int64 `json:"costs"`
	Channels           int64 `json:"channels"`

	FirstSession    string `json:"first_session,omitempty"`
	LastSession     string `json:"last_session,omitempty"`
	FirstConversion string `json:"first_conversion,omitempty"`
	LastConversion  string `json:"last_conversion,omitempty"`

	// PerConversion is about how many touchpoints a conversion in range has, by a
	// sample of users; 0 where there are too few to tell.
	PerConversion float64 `json:"-"`

	// Digest is one of the columns the pipeline reads, of all rows of the source
	// tables, whatever order they are in: it changes when they do.
	Digest string `json:"-"`

	// List is ordered, see [Findings.Order]: errors, warnings, notes; then by table and column.
	List []Finding `json:"findings"`
}

// Count returns how many findings have the severity.
func (f *Findings) Count(s Severity) int {
	n := 0
	for _, f := range f.List {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// Err returns nil if the data can give a true result, and otherwise an Input
// fault (see package errkind) that tells the first error and how many more there
// are, in one line.
func (f *Findings) Err() error {
	n := f.Count(Error)
	if n == 0 {
		return nil
	}
	first := f.List[slices.IndexFunc(f.List, func(f Finding) bool { return f.Severity == Error })]
	if n == 1 {
		return errkind.Inputf("source data: %s", first)
	}
	return errkind.Inputf("source data: %s; and %d more %s", first, n-1, human.Plural(n-1, "error"))
}

// Lines returns the findings for people, one line each, with their severity.
func (f *Findings) Lines() []string { return f.lines(severities...) }

// Warnings returns the lines of warnings and notes alone: what is odd about
// data that is otherwise sound.
func (f *Findings) Warnings() []string { return f.lines(Warning, Note) }

func (f *Findings) lines(of ...Severity) []string {
	lines := make([]string, 0, len(f.List))
	for _, f := range f.List {
		if slices.Contains(of, f.Severity) {
			lines = append(lines, string(f.Severity)+": "+f.String())
		}
	}
	return lines
}

// Add puts a finding into the list. Count is 0 where nothing is counted; unit
// is what is counted, in the plural.
func (f *Findings) Add(r Rule, table, column string, count int64, unit, example string) {
	f.List = append(f.List, Finding{Severity: r.Severity, Table: table, Column: column, Code: r.Code,
		Count: count, Example: example, Message: r.Message, Unit: unit})
}

// Order sorts the list by severity, then by table.
func (f *Findings) Order() {
	slices.SortStableFunc(f.List, func(a, b Finding) int {
		if c := slices.Index(severities, a.Severity) - slices.Index(severities, b.Severity); c != 0 {
			return c
		}
		return slices.Index(tables.All, a.Table) - slices.Index(tables.All, b.Table)
	})
}
