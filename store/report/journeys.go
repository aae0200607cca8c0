package report

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/ihc-pipeline/ihc/internal/sheet"
	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
)

func keys[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }

// Pairs says how many conversions one channel opened and another closed; nil
// where the journal does not tell.
func (r *Report) Pairs() *sheet.Sheet {
	j := r.totals.Journeys
	if j == nil || len(j.Pairs) == 0 {
		return nil
	}
	s := &sheet.Sheet{Name: "pairs", Title: "Who opens what others close: conversions of the same dates", Columns: []sheet.Column{{Name: "initializer", Title: "opened by"},
		{Name: "closer", Title: "closed by"}, {Name: "conversions", Title: "conversions", Kind: sheet.Amount}}}
	for _, p := range slices.SortedStableFunc(slices.Values(j.Pairs), func(a, b store.Pair) int { return cmp.Compare(b.Weight, a.Weight) }) {
		s.Rows = append(s.Rows, []sheet.Cell{sheet.T(p.Initializer), sheet.T(p.Closer), sheet.N(decimal.New(p.Weight, -store.PairDecimals))})
	}
	return s
}

// Paths are the most frequent ways to a conversion; nil where the journal does
// not tell.
func (r *Report) Paths() *sheet.Sheet {
	j := r.totals.Journeys
	if j == nil || len(j.Paths) == 0 {
		return nil
	}
	s := &sheet.Sheet{Name: "paths", Title: "Paths: conversions of the same dates", Columns: []sheet.Column{{Name: "path", Title: "path"}, {Name: "steps", Title: "steps", Kind: sheet.Count},
		{Name: "conversions", Title: "conversions", Kind: sheet.Count}, {Name: "share", Title: "of all", Kind: sheet.Percent}, {Name: "revenue", Title: "revenue", Kind: sheet.Amount}}}
	for _, p := range j.Paths {
		s.Rows = append(s.Rows, []sheet.Cell{sheet.T(pathText(p)), sheet.I(int64(len(p.Steps))), sheet.I(p.Conversions), part(p.Conversions, j.Conversions), sheet.N(p.Revenue.Decimal(unit.MoneyDecimals))})
	}
	if j.PathsShort > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("there are more ways than memory is kept for: a count may be short by up to %d", j.PathsShort))
	} else if n := j.DistinctPaths - int64(len(j.Paths)); n > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("%d other paths are left out", n))
	}
	return s
}

// pathText names the channels of a path, visits in a row taken together.
func pathText(p store.Path) string {
	var b strings.Builder
	for i, step := range p.Steps {
		if i > 0 {
			b.WriteString(" → ")
		}
		if p.Cut && i == store.MostSteps/2 {
			b.WriteString("… → ")
		}
		b.WriteString(step.Channel)
		if visits := visitsText(step, p.Conversions); visits != "" {
			b.WriteString(" " + visits)
		}
	}
	return b.String()
}

// visitsText says how many visits of a channel there are in a row, on average.
func visitsText(s store.Step, conversions int64) string {
	mean := decimal.NewFromInt(s.Visits).DivRound(decimal.NewFromInt(conversions), 1)
	if mean.Equal(decimal.NewFromInt(1)) {
		return ""
	}
	return "×" + mean.String()
}

// lengthBounds are the lengths from which on journeys are counted together, up
// to the next.
var lengthBounds = []int{1, 2, 3, 4, 5, 6, 8, 11, 16, 21, 51, 101, 201}

// Lengths says how many sessions journeys have; nil where the journal does not
// tell.
func (r *Report) Lengths() *sheet.Sheet {
	j := r.totals.Journeys
	if j == nil || j.Conversions == 0 {
		return nil
	}
	s := &sheet.Sheet{Name: "lengths", Title: "Length of journeys: conversions of the same dates", Columns: []sheet.Column{{Name: "sessions", Title: "sessions"},
		{Name: "conversions", Title: "conversions", Kind: sheet.Count}, {Name: "share", Title: "of all", Kind: sheet.Percent}, {Name: "revenue", Title: "revenue", Kind: sheet.Amount}}}
	for i, from := range lengthBounds {
		to, name := len(j.Lengths), fmt.Sprint(from)
		switch {
		case i+1 == len(lengthBounds):
			name += "+"
		default:
			to = lengthBounds[i+1]
			if to > from+1 {
				name += fmt.Sprintf("–%d", to-1)
			}
		}
		var n int64
		var revenue unit.Sum
		for length := from; length < min(to, len(j.Lengths)); length++ {
			n += j.Lengths[length]
			revenue = revenue.Plus(j.LengthRevenue[length])
		}
		if from >= len(j.Lengths) {
			break
		}
		s.Rows = append(s.Rows, []sheet.Cell{sheet.T(name), sheet.I(n), part(n, j.Conversions), sheet.N(revenue.Decimal(unit.MoneyDecimals))})
	}
	return s
}

// Waits says how many days pass from the first session of a journey to the
// conversion, and from a session to the conversion it earned a share of; nil
// where the journal does not tell.
func (r *Report) Waits() *sheet.Sheet {
	j := r.totals.Journeys
	if j == nil || j.Conversions == 0 {
		return nil
	}
	s := &sheet.Sheet{Name: "waits", Title: "Days until the conversion", Columns: []sheet.Column{{Name: "days", Title: "within days", Kind: sheet.Count},
		{Name: "conversions", Title: "of conversions, from the first session", Kind: sheet.Percent}, {Name: "credit", Title: "of credit, from the session", Kind: sheet.Percent}}}
	var sum int64
	for days := range max(len(j.Days), len(j.Lags)) {
		if days < len(j.Days) {
			sum += j.Days[days]
		}
		credit := sheet.None("")
		if n := len(r.Maturity.shares); n > 0 {
			credit = sheet.N(r.Maturity.shares[min(days, n-1)])
		}
		s.Rows = append(s.Rows, []sheet.Cell{sheet.I(int64(days)), part(sum, j.Conversions), credit})
	}
	s.Rows = thin(s.Rows)
	s.Notes = []string{fmt.Sprintf("Half of the conversions come within %s of the first session, nine in ten within %s", r.within(50), r.within(90))}
	return s
}

// thin keeps each of the first rows, and ever fewer of those further on.
func thin(rows [][]sheet.Cell) (kept [][]sheet.Cell) {
	for i := range rows {
		step := 1
		for from := 60; i >= from; from *= 2 {
			step *= 2
		}
		if i%step == 0 || i == len(rows)-1 {
			kept = append(kept, rows[i])
		}
	}
	return kept
}

// within says in how many days so many in a hundred conversions come.
func (r *Report) within(percent int64) string {
	j := r.totals.Journeys
	var sum int64
	for days, n := range j.Days {
		if sum += n; sum*100 >= percent*j.Conversions {
			switch days {
			case 0:
				return "the day"
			case 1:
				return "1 day"
			case store.LongestWait:
				return fmt.Sprintf("%d days or more", days)
			}
			return fmt.Sprintf("%d days", days)
		}
	}
	return "–"
}
