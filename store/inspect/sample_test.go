package inspect

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/tables"
)

// shop has sessions and conversions, as rows of the two tables.
type shop struct{ sessions, conversions [][]any }

func (s *shop) session(user any, date, clock string) {
	id := fmt.Sprint("s", len(s.sessions))
	s.sessions = append(s.sessions, []any{id, user, date, clock, "Paid", int64(1), int64(0), int64(0)})
}

func (s *shop) conversion(user any, date, clock string) {
	s.conversions = append(s.conversions, []any{fmt.Sprint("c", len(s.conversions)), user, date, clock, 1.0})
}

// seen returns a scan of rows that are read in so many parts, and taken in any order.
func seen(table string, rows [][]any, parts int, r *rand.Rand) *Scan {
	all := make([]*Scan, parts)
	for i := range all {
		all[i] = New(table)
	}
	for i, row := range rows {
		all[i*parts/len(rows)].Row(row)
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	whole := New(table)
	for _, part := range all {
		whole.Take(part)
	}
	return whole
}

func (s *shop) perConversion(o findings.Options, parts int, r *rand.Rand) float64 {
	return PerConversion(seen(tables.SessionSources, s.sessions, parts, r), seen(tables.Conversions, s.conversions, parts, r), o)
}

// Of a small shop all users are in the sample, and what it says is exact.
func TestTouchpointsOfASmallShop(t *testing.T) {
	t.Parallel()
	var s shop
	for n := range 40 {
		var user any = fmt.Sprint("u", n)
		if n%2 == 0 {
			user = int64(n)
		}
		s.session(user, "1969-12-31", "08:00:00") // long before
		s.session(user, "2023-09-01", "08:00:00")
		s.session(user, "2023-09-03", "08:00:00.5")
		s.conversion(user, "2023-09-03", "08:00:00.5") // its second before
		s.session(user, "2023-09-04", "08:00:00")
		s.conversion(user, "2023-10-01", "00:00:00")
	}
	s.session(nil, "2023-09-01", "08:00:00") // what cannot be read counts for nothing
	s.conversion(nil, "2023-09-03", "08:00:00")
	s.conversion("u1", "soon", "08:00:00")
	s.conversion("u1", "2023-09-03", "noon")
	r := rand.New(rand.NewPCG(1, 1))
	for name, c := range map[string]struct {
		o    findings.Options
		want float64
	}{
		"all":             {findings.Options{}, 3},
		"until a day":     {findings.Options{EndDate: "2023-09-03"}, 2},
		"from a day":      {findings.Options{StartDate: "2023-09-04"}, 4},
		"within lookback": {findings.Options{LookbackDays: 28}, 1.5}, // one, and two
		"none in range":   {findings.Options{StartDate: "2024-01-01"}, 0},
	} {
		require.InDelta(t, c.want, s.perConversion(c.o, 1, r), 1e-9, name)
		require.InDelta(t, c.want, s.perConversion(c.o, 7, r), 1e-9, name)
	}
	few := shop{sessions: s.sessions, conversions: s.conversions[:fewestSampled-1]}
	require.Zero(t, few.perConversion(findings.Options{}, 3, r))
	require.Zero(t, PerConversion(New(tables.SessionSources), New(tables.Conversions), findings.Options{}))
}

// Of a large one it is about right, within its bound of memory, and the same however
// the rows are read.
func TestTouchpointsOfALargeShop(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(2, 3))
	var s shop
	touchpoints, conversions := 0, 0
	for user := range 20_000 {
		name := fmt.Sprint("user ", user)
		visits := 1 + int(r.ExpFloat64()*10)
		for n := range visits {
			s.session(name, civil.Date(n).String(), "12:00:00")
		}
		if user%3 == 0 {
			s.conversion(name, civil.Date(visits).String(), "12:00:00")
			touchpoints, conversions = touchpoints+visits, conversions+1
		}
	}
	require.Greater(t, len(s.sessions), 2*mostSampled)
	told := s.perConversion(findings.Options{}, 1, r)
	require.InEpsilon(t, float64(touchpoints)/float64(conversions), told, 0.1)
	scan := seen(tables.SessionSources, s.sessions, 16, r)
	require.LessOrEqual(t, len(scan.sample.rows), mostSampled)
	require.Greater(t, len(scan.sample.rows), mostSampled/4)
	for range 3 {
		r.Shuffle(len(s.sessions), func(i, j int) { s.sessions[i], s.sessions[j] = s.sessions[j], s.sessions[i] })
		require.InDelta(t, told, s.perConversion(findings.Options{}, 16, r), 0)
	}
}
