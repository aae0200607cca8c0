package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/journey"
)

var journeyTests = map[string]func(*testing.T, Backend){
	"JourneysAreThoseOfTheOracle":        journeysAreThoseOfTheOracle,
	"LongHistoriesAreDroppedAndCounted":  longHistoriesAreDroppedAndCounted,
	"ReadingStopsWhenToldTo":             readStopsWhenToldTo,
	"ReadingTellsWhatItCannotRead":       readTellsWhatItCannotRead,
	"UnknownChannelsAreThoseOfNoSession": unknownChannelsAreThoseOfNoSession,
	"SoldCountsWhatIsThereByItsBytes":    soldCountsWhatIsThereByItsBytes,
}

// visit and order are rows of the source tables.
type visit struct {
	id, user, date, clock, channel string
	flags                          byte
}

type order struct{ id, user, date, clock string }

// visited makes a database with these rows, ready for reading journeys.
func (b Backend) visited(t T, visits []visit, orders []order) *fixture {
	t.Helper()
	f := b.fresh(t)
	tx, err := f.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer tx.Rollback()
	for _, v := range visits {
		_, err := tx.ExecContext(t.Context(), `INSERT INTO session_sources VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			v.id, v.user, v.date, v.clock, v.channel, v.flags&1, v.flags>>1&1, v.flags>>2&1)
		require.NoError(t, err)
	}
	for _, o := range orders {
		_, err := tx.ExecContext(t.Context(), `INSERT INTO conversions VALUES ($1, $2, $3, $4, 1)`, o.id, o.user, o.date, o.clock)
		require.NoError(t, err)
	}
	require.NoError(t, tx.Commit())
	return f
}

func (f *fixture) journeys(o journey.Options) []journey.Journey {
	f.t.Helper()
	var all []journey.Journey
	require.NoError(f.t, f.Journeys(f.t.Context(), o, func(j journey.Journey) error {
		j.Sessions = slices.Clone(j.Sessions) // which may change once we return
		all = append(all, j)
		return nil
	}))
	return all
}

func micros(t require.TestingT, date, clock string) int64 {
	at, err := time.Parse("2006-01-02 15:04:05.999999", date+" "+clock)
	require.NoError(t, err)
	return at.UnixMicro()
}

// oracle says what journeys there are, in the most obvious way.
func oracle(t require.TestingT, visits []visit, orders []order, o journey.Options) []journey.Journey {
	orders = slices.Clone(orders)
	slices.SortFunc(orders, func(a, b order) int {
		return cmp.Or(cmp.Compare(a.user, b.user), cmp.Compare(a.date, b.date), cmp.Compare(a.clock, b.clock), cmp.Compare(a.id, b.id))
	})
	var all []journey.Journey
	for _, c := range orders {
		if c.date < o.Start || c.date > o.End {
			continue
		}
		at := micros(t, c.date, c.clock)
		j := journey.Journey{ConvID: c.id}
		for _, v := range visits {
			s := journey.Session{ID: v.id, Channel: v.channel, Time: micros(t, v.date, v.clock), Flags: v.flags}
			before := s.Time < at || o.IncludeSimultaneous && s.Time == at
			recent := o.LookbackDays == 0 || s.Time >= at-int64(o.LookbackDays)*24*3600*1_000_000
			if v.user == c.user && before && recent {
				j.Sessions = append(j.Sessions, s)
			}
		}
		slices.SortFunc(j.Sessions, func(a, b journey.Session) int { return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.ID, b.ID)) })
		j.Count = len(j.Sessions)
		switch long := j.Count > o.MaxSessions; {
		case long && o.Latest:
			j.Sessions = j.Sessions[j.Count-o.MaxSessions:]
		case long:
			j.Sessions = nil
		}
		all = append(all, j)
	}
	return all
}

// shop draws a small shop, full of ties.
func (b Backend) drawVisits(t *rapid.T) (visits []visit, orders []order) {
	users := []string{"u1", "u2", "O'Brien", "ü, 😀", "", "łucja", "\uff5e", "😀", "u1\x00"}
	if b.NoNUL {
		users = users[:len(users)-1]
	}
	channels := []string{"SEO", "Direct", `a "quoted", one`, "=1+1"}
	day := rapid.Custom(func(t *rapid.T) string {
		return fmt.Sprintf("2023-0%d-%02d", rapid.IntRange(1, 3).Draw(t, "month"), rapid.IntRange(1, 28).Draw(t, "day"))
	})
	clock := rapid.SampledFrom([]string{"00:00:00", "12:00:00", "12:00:00.0", "12:00:00.5", "12:00:00.500000", "12:00:01", "23:59:59.999999"})
	prefix := rapid.SampledFrom([]string{"s", "S", "\"s'", "é"})
	for i := range rapid.SampledFrom([]int{0, 5, 20, 400}).Draw(t, "visits") {
		visits = append(visits, visit{fmt.Sprintf("%s%d", prefix.Draw(t, "id"), i), rapid.SampledFrom(users).Draw(t, "user"),
			day.Draw(t, "date"), clock.Draw(t, "clock"), rapid.SampledFrom(channels).Draw(t, "channel"), byte(rapid.IntRange(0, 7).Draw(t, "flags"))})
	}
	for i := range rapid.IntRange(0, 15).Draw(t, "orders") {
		orders = append(orders, order{fmt.Sprintf("c%d", i), rapid.SampledFrom(users).Draw(t, "user"), day.Draw(t, "date"), clock.Draw(t, "clock")})
	}
	return visits, orders
}

func journeysAreThoseOfTheOracle(t *testing.T, b Backend) {
	rapid.Check(t, func(t *rapid.T) {
		visits, orders := b.drawVisits(t)
		o := journey.Options{
			Start:               rapid.SampledFrom([]string{"0000-01-01", "2023-02-01", "2023-02-14"}).Draw(t, "start"),
			End:                 rapid.SampledFrom([]string{"9999-12-31", "2023-02-28", "2023-02-14"}).Draw(t, "end"),
			LookbackDays:        rapid.SampledFrom([]int{0, 0, 1, 7, 30, 36500}).Draw(t, "lookback"),
			IncludeSimultaneous: rapid.Bool().Draw(t, "simultaneous"),
			MaxSessions:         rapid.SampledFrom([]int{1, 2, 3, 10, 200}).Draw(t, "most"),
			Latest:              rapid.Bool().Draw(t, "latest"),
		}
		f := b.visited(t, visits, orders)
		require.Equal(t, normal(oracle(t, visits, orders, o)), normal(byUser(t, orders, f.journeys(o))))
	})
}

// byUser makes sure that the journeys of each user come together, and puts the
// users, whose order is the database's own, in the order of their names.
func byUser(t require.TestingT, orders []order, js []journey.Journey) []journey.Journey {
	user := map[string]string{}
	for _, o := range orders {
		user[o.id] = o.user
	}
	seen := map[string]bool{}
	for i, j := range js {
		if i == 0 || user[j.ConvID] != user[js[i-1].ConvID] {
			require.False(t, seen[user[j.ConvID]], "the journeys of a user come together")
			seen[user[j.ConvID]] = true
		}
	}
	slices.SortStableFunc(js, func(a, b journey.Journey) int { return cmp.Compare(user[a.ConvID], user[b.ConvID]) })
	return js
}

// normal writes journeys so that a difference can be read.
func normal(js []journey.Journey) []string {
	var all []string
	for _, j := range js {
		var b strings.Builder
		fmt.Fprintf(&b, "%q %d:", j.ConvID, j.Count)
		for _, s := range j.Sessions {
			fmt.Fprintf(&b, " %q/%q/%d/%d", s.ID, s.Channel, s.Time, s.Flags)
		}
		all = append(all, b.String())
	}
	return all
}

// A user with very many sessions: the window drops what no journey can hold,
// and still counts right when a lookback takes dropped sessions out again.
func longHistoriesAreDroppedAndCounted(t *testing.T, b Backend) {
	var visits []visit
	at := time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 3000 {
		v := at.Add(time.Duration(i) * time.Hour)
		visits = append(visits, visit{fmt.Sprintf("s%05d", i), "u", v.Format(time.DateOnly), v.Format(time.TimeOnly), "SEO", 0})
	}
	var orders []order
	for i, hour := range []int{1, 3, 24, 70, 71, 500, 2999, 3000, 3000 + 24*10} {
		o := at.Add(time.Duration(hour) * time.Hour)
		orders = append(orders, order{fmt.Sprintf("c%d", i), "u", o.Format(time.DateOnly), o.Format(time.TimeOnly)})
	}
	f := b.visited(t, visits, orders)
	for _, lookback := range []int{0, 1, 10, 100} {
		for _, most := range []int{1, 3, 24, 240, 5000} {
			for _, latest := range []bool{false, true} {
				o := journey.Options{Start: "0000-01-01", End: "9999-12-31", LookbackDays: lookback, MaxSessions: most, Latest: latest}
				require.Equal(t, normal(oracle(t, visits, orders, o)), normal(f.journeys(o)), "%+v", o)
			}
		}
	}
}

func readStopsWhenToldTo(t *testing.T, b Backend) {
	f := b.visited(t, nil, []order{{"a", "u", "2023-01-01", "00:00:00"}, {"b", "u", "2023-01-02", "00:00:00"}})
	o := journey.Options{Start: "0000-01-01", End: "9999-12-31", MaxSessions: 10}
	enough := errors.New("enough")
	calls := 0
	err := f.Journeys(t.Context(), o, func(journey.Journey) error { calls++; return enough })
	require.ErrorIs(t, err, enough)
	require.Equal(t, 1, calls)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, f.Journeys(ended, o, func(journey.Journey) error { return nil }), context.Canceled)
}

// Validation lets none of this through; should it happen, it is told and not
// taken for something else.
func readTellsWhatItCannotRead(t *testing.T, b Backend) {
	good := order{"c", "u", "2023-01-02", "00:00:00"}
	for says, data := range map[string]struct {
		v visit
		o order
	}{
		`conversions, conv_id "c"`:          {visit{"s", "u", "2023-01-01", "00:00:00", "x", 0}, order{"c", "u", "2023-01-02", "noon"}},
		`session_sources, session_id "s": `: {visit{"s", "u", "2023-01-01", "25:00:00", "x", 0}, good},
	} {
		f := b.visited(t, []visit{data.v}, []order{data.o})
		err := f.Journeys(t.Context(), journey.Options{Start: "0000-01-01", End: "9999-12-31", MaxSessions: 10}, func(journey.Journey) error { return nil })
		require.ErrorContains(t, err, says)
	}
	f := b.visited(t, []visit{{"s", "u", "2023-01-01", "00:00:00", "x", 0}}, []order{good})
	f.exec(`UPDATE session_sources SET holder_engagement = 9`)
	err := f.Journeys(t.Context(), journey.Options{Start: "0000-01-01", End: "9999-12-31", MaxSessions: 10}, func(journey.Journey) error { return nil })
	require.ErrorContains(t, err, "engagement flags")
}

func unknownChannelsAreThoseOfNoSession(t *testing.T, b Backend) {
	f := b.visited(t, []visit{{"s", "u", "2023-01-01", "00:00:00", "SEO", 0}, {"t", "u", "2023-01-01", "00:00:00", "", 0}}, nil)
	unknown, err := f.UnknownChannels(t.Context(), []string{"seo", "SEO", "", "O'Brien"})
	require.NoError(t, err)
	require.Equal(t, []string{"seo", "O'Brien"}, unknown)
}

func soldCountsWhatIsThereByItsBytes(t *testing.T, b Backend) {
	f := b.fresh(t)
	var all, most []string
	for n := range 1200 {
		all = append(all, fmt.Sprintf("c%d", n))
	}
	f.sell(append(all, "Łódź", "o'brien")...)
	for _, id := range all {
		most = append(most, id, id+" ", "C"+id[1:])
	}
	for want, ids := range map[int][]string{0: nil, 1200: most, 2: {"Łódź", "łódź", "o'brien", "O'BRIEN", ""}} {
		n, err := f.Sold(t.Context(), ids)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
}
