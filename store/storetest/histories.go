package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/journey"
)

var historyTests = map[string]func(*testing.T, Backend){
	"HistoriesHaveTheJourneysAndTheRest":   historiesHaveTheJourneysAndTheRest,
	"ReadingHistoriesStopsWhenToldTo":      readingHistoriesStops,
	"CostsAreThoseOfTheSessionsByDate":     costsAreThoseOfTheSessions,
	"TheRestIsWhatComesAfterTheConversion": theRestComesAfterTheConversion,
}

// spelt writes a history so that a difference can be read.
func spelt(h *journey.History) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q", h.User)
	sessions := func(of []journey.Session) {
		for _, s := range of {
			fmt.Fprintf(&b, " %q/%q/%d/%d", s.ID, s.Channel, s.Time, s.Flags)
		}
	}
	for _, c := range h.Conversions {
		fmt.Fprintf(&b, "; %q %d %v:", c.ID, c.Time, c.Revenue)
		sessions(h.Sessions[c.From:c.To])
	}
	b.WriteString("; rest:")
	sessions(h.Sessions[h.Rest:])
	return b.String()
}

func (f *fixture) histories(o journey.Options) (all []string) {
	f.t.Helper()
	require.NoError(f.t, f.Histories(f.t.Context(), o, func(h *journey.History) error {
		all = append(all, spelt(h))
		return nil
	}))
	return all
}

// historyOracle says what histories there are by way of the journeys' oracle.
func historyOracle(t require.TestingT, visits []visit, orders []order, o journey.Options) []string {
	users := map[string]*journey.History{}
	of := func(user string) *journey.History {
		if users[user] == nil {
			users[user] = &journey.History{User: user}
		}
		return users[user]
	}
	last := map[string]int64{} // conversion
	o.MaxSessions = len(visits)
	owner := map[string]order{}
	for _, c := range orders {
		owner[c.id] = c
	}
	add := func(h *journey.History, sessions []journey.Session) (from, to int) {
		from = len(h.Sessions)
		h.Sessions = append(h.Sessions, sessions...)
		return from, len(h.Sessions)
	}
	for _, j := range oracle(t, visits, orders, o) {
		c := owner[j.ConvID]
		h := of(c.user)
		from, to := add(h, j.Sessions)
		last[c.user] = micros(t, c.date, c.clock)
		h.Conversions = append(h.Conversions, journey.Converted{ID: c.id, Time: last[c.user], Revenue: 1, From: from, To: to})
	}
	rest := map[string][]journey.Session{}
	for _, v := range visits {
		h := of(v.user)
		s := journey.Session{ID: v.id, Channel: v.channel, Time: micros(t, v.date, v.clock), Flags: v.flags}
		if at, bought := last[v.user]; !bought || s.Time > at {
			rest[h.User] = append(rest[h.User], s)
		}
	}
	var all []string
	for user, h := range users {
		late := rest[user]
		slices.SortFunc(late, func(a, b journey.Session) int { return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.ID, b.ID)) })
		if o.LookbackDays > 0 && len(late) > 0 {
			cutoff := late[len(late)-1].Time - int64(o.LookbackDays)*24*3600*1_000_000
			late = slices.DeleteFunc(late, func(s journey.Session) bool { return s.Time < cutoff })
		}
		h.Rest, _ = add(h, late)
		all = append(all, spelt(h))
	}
	slices.Sort(all)
	return all
}

func historiesHaveTheJourneysAndTheRest(t *testing.T, b Backend) {
	rapid.Check(t, func(t *rapid.T) {
		visits, orders := b.drawVisits(t)
		o := journey.Options{
			Start:               rapid.SampledFrom([]string{"0000-01-01", "2023-02-01", "2023-02-14"}).Draw(t, "start"),
			End:                 rapid.SampledFrom([]string{"9999-12-31", "2023-02-28", "2023-02-14"}).Draw(t, "end"),
			LookbackDays:        rapid.SampledFrom([]int{0, 0, 1, 7, 30, 36500}).Draw(t, "lookback"),
			IncludeSimultaneous: rapid.Bool().Draw(t, "simultaneous"),
		}
		got := b.visited(t, visits, orders).histories(o)
		slices.Sort(got) // by user already; the oracle sorts what it says
		require.Equal(t, historyOracle(t, visits, orders, o), got)
	})
}

func theRestComesAfterTheConversion(t *testing.T, b Backend) {
	f := b.visited(t, []visit{
		{"s1", "buyer", "2023-01-01", "12:00:00", "SEO", 0}, {"s2", "buyer", "2023-01-02", "12:00:00", "SEO", 0},
		{"s3", "buyer", "2023-01-03", "12:00:00", "SEO", 0}, {"s4", "looker", "2023-01-01", "12:00:00", "SEO", 0},
	}, []order{{"c", "buyer", "2023-01-02", "12:00:00"}, {"d", "unseen", "2023-01-02", "12:00:00"}})
	require.Equal(t, []string{
		`"buyer"; "c" 1672660800000000 1: "s1"/"SEO"/1672574400000000/0; rest: "s3"/"SEO"/1672747200000000/0`,
		`"looker"; rest: "s4"/"SEO"/1672574400000000/0`,
		`"unseen"; "d" 1672660800000000 1:; rest:`,
	}, f.histories(journey.Options{Start: "0000-01-01", End: "9999-12-31"}), "the session at the second of the conversion is neither before nor after it")
}

func readingHistoriesStops(t *testing.T, b Backend) {
	f := b.visited(t, nil, []order{{"a", "u", "2023-01-01", "00:00:00"}, {"b", "v", "2023-01-02", "00:00:00"}})
	o := journey.Options{Start: "0000-01-01", End: "9999-12-31"}
	enough := errors.New("enough")
	calls := 0
	require.ErrorIs(t, f.Histories(t.Context(), o, func(*journey.History) error { calls++; return enough }), enough)
	require.Equal(t, 1, calls)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, f.Histories(ended, o, func(*journey.History) error { return nil }), context.Canceled)
}

func costsAreThoseOfTheSessions(t *testing.T, b Backend) {
	f := b.visited(t, []visit{
		{"s1", "u", "2023-01-01", "12:00:00", "SEO", 0}, {"s2", "u", "2023-01-01", "13:00:00", "SEO", 0},
		{"s3", "u", "2023-01-02", "12:00:00", "SEO", 0}, {"s4", "u", "2023-01-02", "12:00:00", "Direct", 0}, {"s5", "u", "2023-01-09", "12:00:00", "Direct", 0},
	}, nil)
	f.exec(`INSERT INTO session_costs VALUES ('s1', 0.125), ('s2', 9000000000.5), ('s3', 2), ('s5', 1), ('unknown', 7)`)
	all, err := f.Costs(t.Context(), "2023-01-01", "2023-01-08")
	require.NoError(t, err)
	costs := map[string]string{}
	for _, c := range all {
		costs[c.Channel+" "+c.Date] = c.Cost.Decimal(6).String()
	}
	require.Equal(t, map[string]string{"SEO 2023-01-01": "9000000000.625", "SEO 2023-01-02": "2", "Direct 2023-01-02": "0"}, costs)
}
