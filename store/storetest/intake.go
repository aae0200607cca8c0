package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/unit"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

var intakeTests = map[string]func(*testing.T, Backend){
	"RowsAreToldByTheirIds":                  rowsAreToldByTheirIDs,
	"DaysAreReplacedInTheirZone":             daysAreReplacedInTheirZone,
	"AnImportThatFailsLeavesAllAsItWas":      anImportThatFailsLeavesAllAsItWas,
	"DailyCostsFollowTheSessions":            dailyCostsFollowTheSessions,
	"DailyCostsWithoutSessionsAreReported":   dailyCostsWithoutSessionsAreReported,
	"ACostThatIsNotKnownIsTakenAsNotKnown":   aCostThatIsNotKnown,
	"ReplacedDaysOfCostsAreThoseOfTheImport": replacedDaysOfCosts,
	"ADatabaseHasOneCurrency":                aDatabaseHasOneCurrency,
}

// importing is a database that nothing has come to but imports.
type importing struct {
	*fixture
	t *testing.T
}

func (b Backend) importing(t *testing.T) importing {
	t.Helper()
	dsn, db := b.New(t)
	f := &fixture{t: t, b: b, dsn: dsn, db: db}
	f.Database = f.another()
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return importing{f, t}
}

func (f importing) imported(o store.IntakeOptions, fill func(store.Intake)) store.Imported {
	f.t.Helper()
	done, err := f.b.Import(f.t.Context(), f.dsn, o, func(i store.Intake) error { fill(i); return nil })
	require.NoError(f.t, err)
	return done
}

// visits gives sessions of one user, by their ids and times.
func (f importing) visits(i store.Intake, channel string, idsAndTimes ...string) {
	f.t.Helper()
	for n := 0; n+1 < len(idsAndTimes); n += 2 {
		at := idsAndTimes[n+1]
		require.NoError(f.t, i.Session(idsAndTimes[n], "u", at[:10], at[11:], channel, false, false, false))
	}
}

// day gives what a channel cost on a day of UTC.
func (f importing) day(i store.Intake, date, channel string, cost unit.Cost) {
	f.t.Helper()
	begins, err := time.Parse(time.DateOnly, date)
	require.NoError(f.t, err)
	require.NoError(f.t, i.DailyCost(date, begins.Format(time.DateTime), begins.AddDate(0, 0, 1).Format(time.DateTime), channel, cost))
}

// costs are the rows of session_costs.
func (f importing) costs() []string {
	f.t.Helper()
	return f.rows(`SELECT session_id, cost FROM session_costs`)
}

func rowsAreToldByTheirIDs(t *testing.T, b Backend) {
	f := b.importing(t)
	first := func(i store.Intake) {
		f.visits(i, "SEO", "s1", "2024-01-01 10:00:00", "s2", "2024-01-02 10:00:00")
		require.NoError(t, i.Conversion("c1", "u", "2024-01-03", "10:00:00", 12.5))
		require.NoError(t, i.Cost("s1", 0.5))
	}
	require.Equal(t, store.Imported{Sessions: store.Taken{Read: 2, New: 2}, Conversions: store.Taken{Read: 1, New: 1}, Costs: store.Taken{Read: 1, New: 1}}, f.imported(store.IntakeOptions{}, first))
	require.Equal(t, store.Imported{Sessions: store.Taken{Read: 2, Equal: 2}, Conversions: store.Taken{Read: 1, Equal: 1}, Costs: store.Taken{Read: 1, Equal: 1}}, f.imported(store.IntakeOptions{}, first))
	done := f.imported(store.IntakeOptions{}, func(i store.Intake) {
		f.visits(i, "SEA", "s2", "2024-01-02 10:00:00", "s3", "2024-01-02 10:00:00", "s3", "2024-01-02 11:00:00")
	})
	require.Equal(t, store.Taken{Read: 3, New: 1, Changed: 1, Repeated: 1}, done.Sessions)
	require.Equal(t, []string{"s1|SEO|10:00:00", "s2|SEA|10:00:00", "s3|SEA|11:00:00"}, f.rows(`SELECT session_id, channel_name, event_time FROM session_sources`))
	require.Equal(t, []string{"c1|u|2024-01-03|10:00:00|12.5"}, f.rows(`SELECT * FROM conversions`))
}

func daysAreReplacedInTheirZone(t *testing.T, b Backend) {
	f := b.importing(t)
	f.imported(store.IntakeOptions{}, func(i store.Intake) {
		f.visits(i, "SEO", "before", "2024-01-01 22:59:59", "first", "2024-01-01 23:00:00", "last", "2024-01-02 22:59:59", "after", "2024-01-02 23:00:00")
		require.NoError(t, i.Cost("last", 1))
	})
	zone, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	done := f.imported(store.IntakeOptions{ReplaceRange: true, Zone: zone}, func(i store.Intake) { f.visits(i, "SEO", "new", "2024-01-02 10:00:00") })
	require.Equal(t, store.Taken{Read: 1, New: 1, Removed: 2}, done.Sessions)
	require.Equal(t, []string{"after", "before", "new"}, f.rows(`SELECT session_id FROM session_sources`))
	require.Empty(t, f.costs())
}

func anImportThatFailsLeavesAllAsItWas(t *testing.T, b Backend) {
	f := b.importing(t)
	f.imported(store.IntakeOptions{}, func(i store.Intake) { f.visits(i, "SEO", "s0", "2024-01-01 10:00:00") })
	broken := errors.New("broken")
	_, err := b.Import(t.Context(), f.dsn, store.IntakeOptions{}, func(i store.Intake) error {
		f.visits(i, "SEO", "s1", "2024-01-01 10:00:00")
		return broken
	})
	require.ErrorIs(t, err, broken)
	ended, cancel := context.WithCancel(t.Context())
	_, err = b.Import(ended, f.dsn, store.IntakeOptions{}, func(i store.Intake) error {
		f.visits(i, "SEO", "s1", "2024-01-01 10:00:00")
		cancel()
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []string{"s0"}, f.rows(`SELECT session_id FROM session_sources`))
}

func dailyCostsFollowTheSessions(t *testing.T, b Backend) {
	f := b.importing(t)
	done := f.imported(store.IntakeOptions{}, func(i store.Intake) {
		f.visits(i, "SEA", "s3", "2024-01-01 00:00:00", "s1", "2024-01-01 23:59:59.9", "s2", "2024-01-01 12:00:00", "s4", "2024-01-02 00:00:00")
		f.visits(i, "SEO", "s5", "2024-01-01 10:00:00")
		f.day(i, "2024-01-01", "SEA", 5_000_000)
		f.day(i, "2024-01-01", "SEA", 5_000_000) // of another campaign
		f.day(i, "2024-01-03", "SEA", 2_000_000)
	})
	require.Equal(t, store.Spread{Read: 3, Days: 2, Cost: 12_000_000, Sessions: 3, Alone: 1, AloneCost: 2_000_000}, done.DailyCosts)
	require.Equal(t, []string{"s1|3.333334", "s2|3.333333", "s3|3.333333"}, f.costs())
	require.Equal(t, []string{"2024-01-01|SEA|10000000|3", "2024-01-03|SEA|2000000|0"}, f.rows(`SELECT date, channel, cost, sessions FROM pipeline_daily_costs`))

	// Another day's visits, and another amount of a day that was there.
	f.imported(store.IntakeOptions{}, func(i store.Intake) { f.visits(i, "SEA", "s6", "2024-01-03 10:00:00") })
	require.Equal(t, []string{"s1|3.333334", "s2|3.333333", "s3|3.333333", "s6|2"}, f.costs())
	f.imported(store.IntakeOptions{}, func(i store.Intake) { f.day(i, "2024-01-01", "SEA", 3_000_000) })
	require.Equal(t, []string{"s1|1", "s2|1", "s3|1", "s6|2"}, f.costs())
}

func replacedDaysOfCosts(t *testing.T, b Backend) {
	f := b.importing(t)
	f.imported(store.IntakeOptions{}, func(i store.Intake) {
		for n := range 4 {
			f.day(i, fmt.Sprintf("2024-01-%02d", n+1), "SEA", unit.Cost(n+1))
		}
	})
	done := f.imported(store.IntakeOptions{ReplaceRange: true}, func(i store.Intake) {
		f.day(i, "2024-01-02", "SEO", 7)
		f.day(i, "2024-01-03", "SEA", 8)
	})
	require.Equal(t, store.Spread{Read: 2, Days: 4, Cost: 20, Alone: 4, AloneCost: 20}, done.DailyCosts)
	require.Equal(t, []string{"2024-01-01|SEA|1", "2024-01-02|SEO|7", "2024-01-03|SEA|8", "2024-01-04|SEA|4"}, f.rows(`SELECT date, channel, cost FROM pipeline_daily_costs`))
}

// Costs without sessions stand beside those that channels and dates have.
func dailyCostsWithoutSessionsAreReported(t *testing.T, b Backend) {
	f := b.importing(t)
	f.imported(store.IntakeOptions{}, func(i store.Intake) {
		f.visits(i, "SEA", "s1", "2024-01-01 10:00:00")
		f.day(i, "2024-01-01", "SEA", 5_000_001)
		f.day(i, "2024-01-02", "SEA", 2_000_000)
		f.day(i, "2024-02-01", "Radio", 3_000_000)
	})
	require.NoError(t, f.Accept(t.Context(), &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "run"}}))
	totals := f.rebuilt(&ihcv1.RunRequest{RunId: "run", StartDate: "2024-01-01", EndDate: "2024-01-31"})
	d := totals.Daily
	require.Equal(t, int64(3), d.Days)
	require.Equal(t, "10.000001 5.000001 5", fmt.Sprint(d.Cost.Decimal(6), d.Spread.Decimal(6), d.AloneCost.Decimal(6)))
	require.Equal(t, []store.DailyCost{{Date: "2024-01-02", Channel: "SEA", Cost: 2_000_000}}, d.Alone)
	require.Equal(t, []string{"SEA|2024-01-01|5.000001"}, f.rows(`SELECT channel_name, date, cost FROM channel_reporting`))
}

func aCostThatIsNotKnown(t *testing.T, b Backend) {
	f := b.importing(t)
	f.imported(store.IntakeOptions{}, func(i store.Intake) {
		require.NoError(t, i.Cost("s1", 1))
		require.NoError(t, i.Cost("s2", math.NaN()))
	})
	require.Equal(t, []string{"s1|1", "s2|<nil>"}, f.costs())
}

func aDatabaseHasOneCurrency(t *testing.T, b Backend) {
	f := b.importing(t)
	sell := func(id, currency, has string) error {
		_, err := f.b.Import(t.Context(), f.dsn, store.IntakeOptions{}, func(i store.Intake) error {
			now, err := i.Currency()
			require.NoError(t, err)
			require.Equal(t, has, now)
			require.NoError(t, i.Conversion(id, "u", "2024-01-01", "10:00:00", 1))
			i.Denominate(currency)
			return nil
		})
		return err
	}
	require.NoError(t, sell("a", "", ""))
	require.NoError(t, sell("b", "EUR", ""))
	require.NoError(t, sell("c", "", "EUR"))
	require.NoError(t, sell("d", "EUR", "EUR"))
	err := sell("e", "USD", "EUR")
	require.Equal(t, errkind.Input, errkind.KindOf(err))
	require.ErrorContains(t, err, "amounts are in USD, those in the database in EUR: nothing was imported")
	sold, err := f.Sold(t.Context(), []string{"a", "b", "c", "d", "e"})
	require.NoError(t, err)
	require.Equal(t, 4, sold)
}
