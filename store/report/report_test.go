package report

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/page"
	"github.com/ihc-pipeline/ihc/internal/sheet"
	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
)

// rowsOf are rows of channels, one a day from a date on.
func rowsOf(from string, days int, channels ...string) (rows []store.Row) {
	first, _ := civil.ParseDate(from)
	for d := range days {
		for k, channel := range channels {
			rows = append(rows, store.Row{Channel: channel, Date: (first + civil.Date(d)).String(), Cost: float64(k), IHC: 1, IHCRevenue: float64(10 * (d + 1))})
		}
	}
	return rows
}

func TestMaturityIsThePastsOwn(t *testing.T) {
	t.Parallel()
	// Half of the credit comes on the day, 45 % on the next, the rest on the
	// tenth day after.
	j := &store.Journeys{Last: "2023-08-31", Lags: []int64{50, 45, 0, 0, 0, 0, 0, 0, 0, 0, 5}}
	m := maturityOf(j)
	require.Equal(t, []string{"2023-08-31", "2023-08-30"}, []string{m.Through, m.Until})
	for date, want := range map[string]string{"2023-09-01": "0", "2023-08-31": "0.5", "2023-08-30": "0.95", "2023-08-22": "0.95", "2023-08-21": "1", "2020-01-01": "1"} {
		require.Equal(t, want, m.Share(date).String(), date)
	}
	require.True(t, m.IsMature("2023-08-30"))
	require.False(t, m.IsMature("2023-08-31"))

	unknown := maturityOf(nil)
	require.Equal(t, "1", unknown.Share("2023-08-31").String(), "nothing is hatched for want of a journal")
	require.True(t, unknown.IsMature("2023-08-31"))
}

func TestHeadlinesEndAtTheLastMatureDay(t *testing.T) {
	t.Parallel()
	totals := &store.Totals{Rows: rowsOf("2023-08-01", 31, "SEO"), Journeys: &store.Journeys{Last: "2023-08-31", Lags: []int64{50, 50}}}
	h, ok := New(totals, Options{}).headline()
	require.True(t, ok)
	require.Equal(t, headline{mature: Period{"2023-08-01", "2023-08-30"}, now: Period{"2023-08-16", "2023-08-30"}, before: Period{"2023-08-01", "2023-08-15"}, against: "last 15 days on the 15 before"}, h)

	h, ok = New(totals, Options{Start: "2023-08-21", End: "2023-08-31"}).headline()
	require.True(t, ok)
	require.Equal(t, headline{mature: Period{"2023-08-21", "2023-08-30"}, now: Period{"2023-08-21", "2023-08-30"}, before: Period{"2023-08-11", "2023-08-20"}, against: "on 2023-08-11 to 2023-08-20"}, h)

	_, ok = New(totals, Options{Start: "2023-08-31"}).headline()
	require.False(t, ok, "no day is mature")
}

func TestPeriodsToCompareWith(t *testing.T) {
	t.Parallel()
	p, ok := Previous(Period{"2024-03-01", "2024-03-31"})
	require.True(t, ok)
	require.Equal(t, Period{"2024-01-30", "2024-02-29"}, p)
	p, ok = YearBefore(Period{"2024-02-29", "2024-03-31"})
	require.True(t, ok)
	require.Equal(t, Period{"2023-02-28", "2023-03-31"}, p)
	_, ok = YearBefore(Period{"", "2024-03-31"})
	require.False(t, ok)
}

func TestWeeksBeginOnMonday(t *testing.T) {
	t.Parallel()
	for date, want := range map[string][2]string{"2023-09-04": {"2023-09-04", "2023-09-01"}, "2023-09-10": {"2023-09-04", "2023-09-01"}, "2024-01-01": {"2024-01-01", "2024-01-01"},
		"2023-12-31": {"2023-12-25", "2023-12-01"}, "1969-12-31": {"1969-12-29", "1969-12-01"}} {
		require.Equal(t, want, [2]string{start(ByWeek, date), start(ByMonth, date)}, date)
	}
}

func TestChannelsOfBothRangesAreCompared(t *testing.T) {
	t.Parallel()
	rows := append(rowsOf("2023-08-01", 1, "gone"), rowsOf("2023-08-02", 1, "SEO", "new")...)
	s := New(&store.Totals{Rows: rows}, Options{Start: "2023-08-02", End: "2023-08-02", Compare: Period{"2023-08-01", "2023-08-01"}}).By(ByChannel)
	var text strings.Builder
	require.NoError(t, s.CSV(&text))
	require.Equal(t, `channel,cost,ihc,ihc_revenue,cpo,roas,compared_cost,compared_ihc_revenue,cost_change,ihc_revenue_change
SEO,0,1,10,0,,,,,
new,1,1,10,1,10,,,,
gone,0,0,0,,,0,10,,-1
`, text.String())
	require.Equal(t, "20", s.Total[3].Number.String())
	require.Equal(t, "1", s.Total[9].Number.String(), "revenue doubled")
}

// Channels look alike in all figures and in all ranges.
func TestChannelKeepsItsColour(t *testing.T) {
	t.Parallel()
	var rows []store.Row
	for i := range 12 {
		rows = append(rows, store.Row{Channel: fmt.Sprint(i), Date: "2023-08-01", IHCRevenue: float64(100 - i)}, store.Row{Channel: fmt.Sprint(i), Date: "2023-08-02", IHCRevenue: float64(i)})
	}
	sortRows(rows)
	all, second := New(&store.Totals{Rows: rows}, Options{}), New(&store.Totals{Rows: rows}, Options{Start: "2023-08-02"})
	for i := range 12 {
		require.Equal(t, all.colour(fmt.Sprint(i)), second.colour(fmt.Sprint(i)))
	}
	require.Equal(t, "rest", all.colour("a channel that nobody knows"))
}

func sortRows(rows []store.Row) {
	for i := range rows {
		for k := i; k > 0 && rows[k].Date < rows[k-1].Date; k-- {
			rows[k], rows[k-1] = rows[k-1], rows[k]
		}
	}
}

// A page of twenty channels and ninety days stays small; the numbers have as
// many digits as those of a real shop.
func TestPageOfTwentyChannelsAndNinetyDaysIsSmall(t *testing.T) {
	t.Parallel()
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprintf("Paid Social – audience %d", i))
	}
	rows := rowsOf("2023-06-01", 90, names...)
	for i := range rows {
		rows[i].Cost, rows[i].IHC, rows[i].IHCRevenue = 104.301+float64(i), 12.3456+float64(i%77), 1234.567812+float64(i%991)
	}
	j := &store.Journeys{Last: "2023-08-29", Lags: []int64{90, 1, 1, 1, 1, 1, 5}, Conversions: 1000, WithPhases: 1000, Days: make([]int64, 80), Lengths: make([]int64, 201), LengthRevenue: make([]unit.Sum, 201)}
	j.Days[3], j.Days[79], j.Lengths[1], j.Lengths[200] = 900, 100, 900, 100
	for _, a := range names {
		j.Phases = append(j.Phases, store.ChannelPhases{Channel: a, IHC: 123456, Initializer: 12345, Holder: 23456, Closer: 34567})
		for _, b := range names {
			j.Pairs = append(j.Pairs, store.Pair{Initializer: a, Closer: b, Weight: 123_456_789})
		}
	}
	for range store.MostPaths {
		p := store.Path{Conversions: 12}
		for i := range 6 {
			p.Steps = append(p.Steps, store.Step{Channel: names[i], Visits: 20, IHC: 20_000, Initializer: 20_000, Holder: 20_000, Closer: 20_000})
		}
		j.Paths = append(j.Paths, p)
	}
	j.DistinctPaths = store.MostPaths
	r := New(&store.Totals{Rows: rows, Covered: rows, Journeys: j}, Options{Version: "dev", Models: modelsOf(names)})
	var b bytes.Buffer
	require.NoError(t, r.Page().Write(&b))
	require.Less(t, b.Len(), 250_000)
	require.Contains(t, b.String(), "hatched")
}

// However many channels and dates there are, a page stays a page.
func TestPageOfThousandsOfChannelsIsBounded(t *testing.T) {
	t.Parallel()
	var names []string
	for i := range 3000 {
		names = append(names, fmt.Sprintf("channel %d", i))
	}
	var b bytes.Buffer
	require.NoError(t, New(&store.Totals{Rows: rowsOf("2023-01-01", 3, names...)}, Options{Models: modelsOf(names)}).Page().Write(&b))
	require.Less(t, b.Len(), 400_000)
	b.Reset()
	require.NoError(t, New(&store.Totals{Rows: rowsOf("2003-01-01", 8000, "SEO")}, Options{}).Page().Write(&b))
	require.Less(t, b.Len(), 400_000)
}

func TestSectionsComeInTheirOrder(t *testing.T) {
	t.Parallel()
	totals := &store.Totals{Rows: rowsOf("2023-08-01", 5, "SEO", "Direct"), Journeys: &store.Journeys{Last: "2023-08-05", Lags: []int64{1}, Conversions: 1, WithPhases: 1, Days: []int64{1}, Lengths: []int64{0, 1}, LengthRevenue: make([]unit.Sum, 2),
		Phases: []store.ChannelPhases{{Channel: "SEO", IHC: 1, Initializer: 1, Closer: 1}}, Paths: []store.Path{{Conversions: 1, Steps: []store.Step{{Channel: "SEO", Visits: 1}}}}}}
	var ids []string
	for _, s := range New(totals, Options{}).Page().Sections {
		ids = append(ids, s.ID)
	}
	require.Equal(t, []string{"proof", "headline", "channels", "phases-section", "time-section", "paths-section", "models-section", "reading"}, ids)
}

func TestProofThatDoesNotHoldSaysSo(t *testing.T) {
	t.Parallel()
	totals := &store.Totals{Range: store.Range{Conversions: 2, Attributed: 1}}
	section, _ := New(totals, Options{}).proofSection()
	require.False(t, section.Proof.Holds)
	require.Equal(t, page.ProofLine{Name: "Orders", As: "attributed", Source: "2", Attributed: "1", Unattributed: "0", Difference: "1"}, section.Proof.Lines[0])
	require.Contains(t, section.Proof.Verdict, "does not add up")
}

func TestEmptyRatioSaysWhy(t *testing.T) {
	t.Parallel()
	s := New(&store.Totals{Rows: []store.Row{{Channel: "SEO", Date: "2023-08-01"}}}, Options{}).By(ByChannel)
	require.Equal(t, []sheet.Cell{sheet.None(nothingCredited), sheet.None(nothingSpent)}, s.Rows[0][4:6])
}

// What is compared covers as many days as what it is compared with, and none
// that is not mature.
func TestChangeOfChannelsIsOverEqualRangesOfMatureDays(t *testing.T) {
	t.Parallel()
	totals := &store.Totals{Rows: rowsOf("2023-08-01", 31, "SEO", "Direct"), Journeys: &store.Journeys{Last: "2023-08-31", Lags: []int64{50, 50}}}
	r := New(totals, Options{Start: "2023-08-21", End: "2023-08-31"})
	shares := r.shares(r.By(""))
	require.Equal(t, []string{"Revenue ±: sessions from 2023-08-21 to 2023-08-30 against those from 2023-08-11 to 2023-08-20."}, shares.Notes)
	// Revenue is 10 a day, one day's more than the day before: of the days 21 to
	// 30 against 11 to 20, 2550 against 1550.
	require.Equal(t, "64.5 %", sheet.Percent.People(shares.Rows[0][4]))
}
