// Package report makes every table of the report from what the database says:
// the command line, the files, the page and the API show these and add nothing
// up themselves.
package report

import (
	"cmp"
	"maps"
	"slices"

	"github.com/shopspring/decimal"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
)

// Options say which report is wanted.
type Options struct {
	// Start and End are the first and last session date, both included; an
	// empty one bounds nothing.
	Start, End string
	// Channel leaves out all others, "" none.
	Channel string
	// Compare is the range to compare with; the zero value compares with none.
	Compare Period
	// Dimension is what stands in the place of channels, as in
	// [store.Reports.Survey]; "" for channels themselves.
	Dimension string
	// Zone is the time zone that all dates are of; "" for UTC.
	Zone string
	// Currency is what amounts are in, as it is to be shown; "" where nobody said.
	Currency string
	// Run is the run that is reported; "" for the report of the tables as they
	// are.
	Run string
	// Version is the program's.
	Version string
	// Models are compared on the page; where they are nil, it says which command
	// compares them.
	Models *Models
}

// Period is a range of dates, both included.
type Period struct {
	Start string `json:"start_date"`
	End   string `json:"end_date"`
}

// Report is a report, ready to be shown.
type Report struct {
	Options
	// First and Last are the dates it covers: those asked for or, where none
	// are, those of the first and last session.
	First, Last string
	Maturity    Maturity

	totals *store.Totals
	rows   []store.Row // covered, of the channel asked for
	before []store.Row // of the range to compare with
	all    []store.Row // of all dates, of the channel asked for
	rank   map[string]int
}

// New makes a report of sums. The totals are those of the same range.
func New(t *store.Totals, o Options) *Report {
	rows := t.Tell(t.Rows)
	r := &Report{Options: o, totals: t, rank: ranks(rows)}
	r.all = rows
	if o.Channel != "" && o.Dimension == "" {
		r.all = nil
		for _, row := range rows {
			if row.Channel == o.Channel {
				r.all = append(r.all, row)
			}
		}
	}
	r.rows = r.between(o.Start, o.End)
	r.First, r.Last = o.Start, o.End
	if len(r.rows) > 0 {
		r.First, r.Last = cmp.Or(o.Start, r.rows[0].Date), cmp.Or(o.End, r.rows[len(r.rows)-1].Date)
	}
	if o.Compare != (Period{}) {
		r.before = r.between(o.Compare.Start, o.Compare.End)
	}
	r.Maturity = maturityOf(t.Journeys)
	return r
}

// between returns the rows of some dates.
func (r *Report) between(start, end string) []store.Row {
	from, _ := slices.BinarySearchFunc(r.all, start, func(row store.Row, d string) int { return cmp.Compare(row.Date, d) })
	to := len(r.all)
	if end != "" {
		to, _ = slices.BinarySearchFunc(r.all, end+"\x00", func(row store.Row, d string) int { return cmp.Compare(row.Date, d) })
	}
	return r.all[min(from, to):to]
}

// ranks orders channels by their revenue over all dates, whatever the range, so
// that a channel looks the same in every report of a shop.
func ranks(rows []store.Row) map[string]int {
	sums := byKey(rows, func(row store.Row) string { return row.Channel })
	rank := map[string]int{}
	for i, s := range ordered(sums) {
		rank[s.channel] = i
	}
	return rank
}

// byKey adds up rows.
func byKey(rows []store.Row, key func(store.Row) string) map[string]*channelSum {
	sums := map[string]*channelSum{}
	for _, row := range rows {
		k := key(row)
		s := sums[k]
		if s == nil {
			s = &channelSum{channel: k}
			sums[k] = s
		}
		s.add(row)
	}
	return sums
}

// ordered returns sums by revenue, highest first, then by name.
func ordered(sums map[string]*channelSum) []*channelSum {
	return slices.SortedFunc(maps.Values(sums), func(a, b *channelSum) int {
		return cmp.Or(b.revenue.Cmp(a.revenue), cmp.Compare(a.channel, b.channel))
	})
}

// sumOf adds up all rows.
func sumOf(rows []store.Row) *channelSum {
	s := &channelSum{}
	for _, row := range rows {
		s.add(row)
	}
	return s
}

// Maturity says how much of their final credit sessions have: credit goes on
// coming in while those who visited buy.
type Maturity struct {
	// Through is the date of the last conversion that is attributed, Until the
	// last date whose sessions have at least [Mature] of their final credit.
	// Both are empty where the journal does not tell.
	Through, Until string
	// shares is the part of a session's final credit that comes from
	// conversions at most so many days later.
	shares []decimal.Decimal
}

// Mature is the part of its final credit from which on a date is mature.
var Mature = decimal.New(95, -2)

// maturityOf takes what sessions of the past earned by the days until the
// conversion for what those of today will.
func maturityOf(j *store.Journeys) Maturity {
	if j == nil {
		return Maturity{}
	}
	m := Maturity{Through: j.Last}
	var total int64
	for _, share := range j.Lags {
		total += share
	}
	if total <= 0 {
		return m
	}
	sum, mature := int64(0), -1
	for days, share := range j.Lags {
		sum += share
		part := decimal.NewFromInt(sum).Div(decimal.NewFromInt(total))
		m.shares = append(m.shares, part)
		if mature < 0 && part.GreaterThanOrEqual(Mature) {
			mature = days
		}
	}
	if last, ok := civil.ParseDate(j.Last); ok {
		m.Until = (last - civil.Date(mature)).String()
	}
	return m
}

// Share returns which part of their final credit the sessions of a date have, 0
// to 1: 1 where it is not known.
func (m Maturity) Share(date string) decimal.Decimal {
	d, ok := civil.ParseDate(date)
	last, known := civil.ParseDate(m.Through)
	switch {
	case !ok || !known || len(m.shares) == 0:
		return decimal.NewFromInt(1)
	case d > last:
		return decimal.Zero
	}
	return m.shares[min(int(last-d), len(m.shares)-1)]
}

// IsMature says whether the sessions of a date have about all their credit.
func (m Maturity) IsMature(date string) bool { return m.Until == "" || date <= m.Until }

func share(n int64) decimal.Decimal { return unit.Share(n).Decimal() }
