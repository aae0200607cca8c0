package report

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/sheet"
	"github.com/ihc-pipeline/ihc/internal/version"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// Query is what somebody wants a report of, on the command line, a page or the
// HTTP API.
type Query struct {
	// By is [ByChannel] where it is empty, one of the other constants, or a
	// column of session_sources.
	By string
	// Channel keeps to one channel, "" for all.
	Channel string
	// Start and End are session dates, YYYY-MM-DD, both included, or "", of the
	// zone.
	Start, End string
	// Zone is the time zone that sessions have their dates in, as in [store.View].
	Zone string
	// Compare is "", previous, year, or FIRST..LAST.
	Compare string
	// Currency is what amounts are in, as pages show it.
	Currency string
	// Refunds is how a conversion with a negative revenue counts in ihc and CPO, as
	// in a run request: count, subtract, or "" for count.
	Refunds string
	// Phases, Paths and Unattributed ask for their tables as well.
	Phases, Paths, Unattributed bool
}

// Source is what a report is read from: a [store.Database].
type Source interface {
	UnknownChannels(ctx context.Context, names []string) ([]string, error)
	Survey(ctx context.Context, req *ihcv1.RunRequest, v store.View) (*store.Totals, error)
}

// Read reads what is asked for. Errors call fields by what called makes of their
// names: start_date, end_date, timezone, channel, compare, refunds.
func (q *Query) Read(ctx context.Context, db Source, called func(name string) string) (*Report, error) {
	if err := civil.CheckRange(called("start_date"), q.Start, called("end_date"), q.End); err != nil {
		return nil, err
	}
	if _, err := civil.Zone(q.Zone); err != nil {
		return nil, fmt.Errorf("%s %w", called("timezone"), err)
	}
	if !run.KnowsRefunds(q.Refunds) {
		return nil, errkind.Inputf("%s %.40q: use %s or %s", called("refunds"), q.Refunds, run.RefundsCount, run.RefundsSubtract)
	}
	if q.By == ByChannelDay && q.Compare != "" {
		return nil, errkind.Inputf("%s is of channels, days, weeks and months: leave it out by %s", called("compare"), ByChannelDay)
	}
	column := q.By
	if slices.Contains([]string{"", ByChannel, ByDay, ByWeek, ByMonth, ByChannelDay}, q.By) {
		column = ""
	}
	if q.Channel != "" {
		unknown, err := db.UnknownChannels(ctx, []string{q.Channel})
		if err != nil {
			return nil, err
		}
		if len(unknown) > 0 {
			return nil, errkind.Inputf("%s %.80q: no session has it", called("channel"), q.Channel)
		}
	}
	totals, err := db.Survey(ctx, &ihcv1.RunRequest{StartDate: q.Start, EndDate: q.End}, store.View{Column: column, Channel: q.Channel, Zone: q.Zone})
	var none *store.NoColumnError
	if errors.As(err, &none) {
		return nil, errkind.Inputf("%s: %w", called("by"), none)
	}
	if err != nil {
		return nil, err
	}
	totals.Subtract = q.Refunds == run.RefundsSubtract
	o := Options{Start: q.Start, End: q.End, Channel: q.Channel, Dimension: column, Currency: q.Currency, Zone: cmp.Or(q.Zone, utc), Version: version.This().Version}
	if o.Compare, err = q.comparison(totals, called); err != nil {
		return nil, err
	}
	return New(totals, o), nil
}

// utc is the zone of all that is stored.
const utc = "UTC"

// Elsewhere says whether days are those of another zone than UTC.
func (r *Report) Elsewhere() bool { return r.Zone != "" && r.Zone != utc }

// Narrow says whether the report is of one channel, or by a column that models
// know nothing of.
func (r *Report) Narrow() bool { return r.Channel != "" || r.Dimension != "" }

// Tables are the tables asked for, that by channel or another column first.
func (q *Query) Tables(r *Report) []*sheet.Sheet {
	by := q.By
	if by == "" {
		by = ByChannel
	}
	first := r.By(by)
	if runs := r.runs(); len(runs) > 0 {
		first.Notes = append(first.Notes, fmt.Sprintf("Scored by %s %s", human.Plural(len(runs), "run"), someOf(runs)))
	}
	sheets := []*sheet.Sheet{first}
	if q.Phases {
		sheets = append(sheets, r.Phases(), r.Pairs())
	}
	if q.Paths {
		sheets = append(sheets, r.Paths(), r.Lengths(), r.Waits())
	}
	if q.Unattributed {
		sheets = append(sheets, r.Unattributed(), r.CostsAlone())
	}
	return slices.DeleteFunc(sheets, func(s *sheet.Sheet) bool { return s == nil })
}

// comparison returns the dates to compare with.
func (q *Query) comparison(t *store.Totals, called func(string) string) (p Period, err error) {
	of := Period{Start: q.Start, End: q.End}
	if n := len(t.Covered); n > 0 {
		if of.Start == "" {
			of.Start = t.Covered[0].Date
		}
		if of.End == "" {
			of.End = t.Covered[n-1].Date
		}
	}
	name, ok := called("compare"), true
	switch first, last, isRange := strings.Cut(q.Compare, ".."); {
	case q.Compare == "":
	case q.Compare == "previous":
		p, ok = Previous(of)
	case q.Compare == "year":
		p, ok = YearBefore(of)
	case !isRange || first == "" || last == "":
		err = errkind.Inputf("%s %.40q: use previous, year, or two dates as in 2023-08-01..2023-08-31", name, q.Compare)
	default:
		p = Period{Start: first, End: last}
		err = civil.CheckRange(name, first, name, last)
	}
	if err == nil && !ok {
		err = errkind.Inputf("%s %s: there is no date to go back from; name %s and %s", name, q.Compare, called("start_date"), called("end_date"))
	}
	return p, err
}
