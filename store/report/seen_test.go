package report

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/page"
	"github.com/ihc-pipeline/ihc/internal/sheet"
	"github.com/ihc-pipeline/ihc/store"
)

// figureOf returns a figure of the report's page.
func figureOf(t *testing.T, r *Report, id string) page.Figure {
	t.Helper()
	for _, s := range r.Page().Sections {
		for _, f := range s.Figures {
			if f.ID == id {
				return f
			}
		}
	}
	require.Fail(t, "no figure "+id)
	return page.Figure{}
}

// maturing are totals whose last two days have half, and three quarters, of
// their credit.
func maturing(rows []store.Row, last string) *store.Totals {
	return &store.Totals{Rows: rows, Journeys: &store.Journeys{Last: last, Lags: []int64{50, 25, 25}}}
}

func TestReportBeginsWithHowItMovedWhereLittleElseStandsOut(t *testing.T) {
	t.Parallel()
	r := New(maturing(rowsOf("2023-08-01", 14, "SEO"), "2023-08-14"), Options{})
	// Revenue is 10 a day, one day's more than the day before: 570 of the days 7
	// to 12 against 210 of the days 1 to 6.
	require.Equal(t, []string{"Revenue rose by 171.4 %: last 6 days against the 6 before."}, r.findings())
	r = New(maturing(rowsOf("2023-08-01", 14, "SEO", "Ads", "Mail"), "2023-08-14"), Options{Start: "2023-08-08", End: "2023-08-12"})
	require.Equal(t, "Revenue rose by 100.0 %, cost stayed as it was: against 2023-08-03 to 2023-08-07.", r.findings()[1])
}

func TestImmatureDaysSayHowFarTheyAre(t *testing.T) {
	t.Parallel()
	r := New(maturing(rowsOf("2023-08-01", 14, "SEO", "Ads"), "2023-08-14"), Options{})
	for _, id := range []string{"time", "grid"} {
		f := figureOf(t, r, id)
		require.Equal(t, map[string]string{"2023-08-13": "75.0 % of its final credit", "2023-08-14": "50.0 % of its final credit"}, f.Immature, id)
		require.Equal(t, []page.Key{{Class: "key-unsure", Text: "not final yet: 2023-08-13 has 75.0 %, 2023-08-14 50.0 % of its final credit"}}, f.Legend, id)
	}
	var b bytes.Buffer
	require.NoError(t, r.Page().Write(&b))
	require.Contains(t, b.String(), `<tr class="unsure" title="50.0 % of its final credit"><th scope="row">2023-08-14`)
}

// What is not known is not said to be complete, and one day is one date.
func TestPageOfOneDayWithoutAJournalClaimsNothing(t *testing.T) {
	t.Parallel()
	r := New(&store.Totals{Rows: rowsOf("2023-08-01", 1, "SEO", "Ads")}, Options{})
	section, _ := r.headlineSection()
	require.Equal(t, "Sessions from 2023-08-01 to 2023-08-01; how much of their final credit they have is not known.", section.Lead)
	require.Equal(t, [2]string{"2023-08-01", ""}, figureOf(t, r, "grid").Rows.Ends)
}

func TestChangeIsGoodOrBadNewsByWhatItIsOf(t *testing.T) {
	t.Parallel()
	section, _ := New(maturing(rowsOf("2023-08-01", 14, "SEO", "Ads"), "2023-08-14"), Options{}).headlineSection()
	tones := map[string]string{}
	for _, c := range section.Cards {
		tones[c.Name] = c.Tone
	}
	require.Equal(t, map[string]string{"Revenue (ihc)": "good", "Cost": "", "Conversions (ihc)": "", "CPO": "", "ROAS": "good"}, tones)
	require.Equal(t, []string{"good", "bad", "", ""}, []string{tone("cpo", exactly("-0.1")), tone("cpo", exactly("0.1")), tone("cost", exactly("0.1")), tone("roas", exactly("0.0001"))})
}

func TestWhatIsBelowZeroIsShown(t *testing.T) {
	t.Parallel()
	r := New(&store.Totals{Rows: []store.Row{{Channel: "SEO", Date: "2023-08-01", Cost: 1, IHC: 1, IHCRevenue: -198}, {Channel: "SEO", Date: "2023-08-02", Cost: 1}}}, Options{})
	require.Equal(t, "-198.00 to 0.00", figureOf(t, r, "time").Lines[0].Range)
	grid := figureOf(t, r, "grid")
	require.Equal(t, "There is no revenue above 0.", grid.Finding)
	require.Equal(t, []page.Key{{Class: "key-under", Text: "below 0, down to -198.00"}}, grid.Legend)
	require.Contains(t, grid.Rows.Rows[0].Cells[0].Picture, `class="under" d="M0 0h1"`)
}

func TestWeekThatIsNotWholeIsNamed(t *testing.T) {
	t.Parallel()
	// 2023-01-02 was a Monday.
	of := func(start, end, by string) string {
		return New(&store.Totals{Rows: rowsOf("2023-01-01", 60, "SEO")}, Options{Start: start, End: end}).partial(by)
	}
	require.Equal(t, "The first week and the last are not whole: sessions from 2023-01-01 to 2023-01-10.", of("2023-01-01", "2023-01-10", ByWeek))
	require.Equal(t, "The first week is not whole: it begins on 2023-01-01.", of("2023-01-01", "2023-01-08", ByWeek))
	require.Equal(t, "The last month is not whole: it ends on 2023-02-27.", of("2023-01-01", "2023-02-27", ByMonth))
	require.Empty(t, of("2023-01-02", "2023-01-15", ByWeek))
	require.Empty(t, of("2023-01-03", "2023-01-04", ByDay))
}

func TestGridOfPairsNamesItsColumnsAndItsFinding(t *testing.T) {
	t.Parallel()
	totals := maturing(rowsOf("2023-08-01", 3, "SEO", "Ads"), "2023-08-03")
	totals.Journeys.Conversions = 10
	totals.Journeys.Phases = []store.ChannelPhases{{Channel: "SEO", IHC: 1, Initializer: 1, Closer: 1}}
	totals.Journeys.Pairs = []store.Pair{{Initializer: "SEO", Closer: "SEO", Weight: 600_000_000}, {Initializer: "Ads", Closer: "SEO", Weight: 150_000_000}, {Initializer: "SEO", Closer: "Ads", Weight: 50_000_000}}
	f := figureOf(t, New(totals, Options{}), "pairs")
	require.Equal(t, []string{"Ads", "SEO"}, f.Rows.Grid)
	require.Equal(t, "What "+page.Isolated("Ads")+" opens, "+page.Isolated("SEO")+" closes most often: 1.50 conversions, 15.0 % of all.", f.Finding)
}

func TestPhaseThatNoChannelHasSaysWhyItIsEmpty(t *testing.T) {
	t.Parallel()
	totals := maturing(rowsOf("2023-08-01", 3, "SEO"), "2023-08-03")
	totals.Journeys.Phases = []store.ChannelPhases{{Channel: "SEO", IHC: 1, Initializer: 1, Closer: 1}}
	require.Contains(t, New(totals, Options{}).Phases().Notes, "“–” in holds: no channel did")
}

func TestEmptyDatabaseSaysWhatToDo(t *testing.T) {
	t.Parallel()
	r := New(&store.Totals{}, Options{})
	section, _ := r.proofSection()
	require.Equal(t, "There is nothing to account for: no orders, and no sessions.", section.Proof.Verdict)
	channels, _ := r.channelSection()
	require.Contains(t, channels.Lead, "Fill the source tables")
	require.Equal(t, "No sessions.", r.Page().Lead)
}

// A measure is not drawn in the colour of a channel.
func TestColoursAreOfChannelsAlone(t *testing.T) {
	t.Parallel()
	r := New(maturing(rowsOf("2023-08-01", 14, "SEO", "Ads"), "2023-08-14"), Options{})
	for _, l := range figureOf(t, r, "time").Lines {
		require.Contains(t, l.Picture, `<path class="m"`)
		require.NotRegexp(t, `class="c\d`, l.Picture)
	}
}

// The first day is compared with the first, the first month with the first, and
// so on, also where they do not begin on the same weekday or are not as long.
func TestWhatIsComparedOverTimeStandsInTheSamePlace(t *testing.T) {
	t.Parallel()
	rows := rowsOf("2023-01-01", 90, "SEO", "Ads") // Ads costs 1 a day; each earns 10 × its day
	r := New(&store.Totals{Rows: rows}, Options{Start: "2023-02-10", End: "2023-02-12", Compare: Period{"2023-01-04", "2023-01-05"}})
	s := r.By(ByDay)
	require.Equal(t, "compared_ihc_revenue", s.Columns[7].Name)
	require.Equal(t, "final_credit", s.Columns[10].Name)
	before := func(row []sheet.Cell) []string {
		return []string{sheet.Amount.People(row[6]), sheet.Amount.People(row[7]), sheet.Percent.People(row[8]), sheet.Percent.People(row[9])}
	}
	// The 10th of February is day 41, the 4th of January day 4: 820 against 80.
	require.Equal(t, []string{"1.00", "80.00", "0.0 %", "925.0 %"}, before(s.Rows[0]))
	require.Equal(t, []string{"1.00", "100.00", "0.0 %", "740.0 %"}, before(s.Rows[1]))
	require.Equal(t, []string{"–", "–", "–", "–"}, before(s.Rows[2]))
	require.Equal(t, []string{"2.00", "180.00", "50.0 %", "1,300.0 %"}, before(s.Total))
	require.Contains(t, s.Notes, "“–” in cost before: "+notCompared)
	figure := figureOf(t, r, "time")
	require.Equal(t, page.Key{Class: "key-before", Text: "2023-01-04 to 2023-01-05, day by day"}, figure.Legend[0])
	require.Contains(t, figure.Lines[0].Picture, `class="m before" d="M0`)

	r = New(&store.Totals{Rows: rows}, Options{Start: "2023-02-28", End: "2023-03-01", Compare: Period{"2023-01-31", "2023-02-01"}})
	require.Equal(t, "620.00", sheet.Amount.People(r.By(ByMonth).Rows[0][7]), "the 31st of January, twice 310")
	require.Equal(t, "640.00", sheet.Amount.People(r.By(ByMonth).Rows[1][7]))
	require.Equal(t, []int{0, 1, 1, 3, 12}, []int{place(ByWeek, "2023-01-08", "2023-01-02"), place(ByWeek, "2023-01-08", "2023-01-09"), place(ByDay, "2023-02-28", "2023-03-01"),
		place(ByMonth, "2023-01-31", "2023-04-01"), place(ByMonth, "2022-12-31", "2023-12-01")})
}

// Where the last days are left out since they are not final, so are those that
// they would be compared with.
func TestComparisonThatWasAskedForIsOverEqualRangesOfMatureDays(t *testing.T) {
	t.Parallel()
	totals := maturing(rowsOf("2023-08-01", 14, "SEO"), "2023-08-14") // mature until the 12th
	h, ok := New(totals, Options{Start: "2023-08-08", End: "2023-08-14", Compare: Period{"2023-08-01", "2023-08-07"}}).headline()
	require.True(t, ok)
	require.Equal(t, Period{"2023-08-08", "2023-08-12"}, h.now)
	require.Equal(t, Period{"2023-08-01", "2023-08-05"}, h.before)
	require.Equal(t, "against 2023-08-01 to 2023-08-05", h.text())
	h, _ = New(totals, Options{Start: "2023-08-08", End: "2023-08-14", Compare: Period{"2023-08-01", "2023-08-03"}}).headline()
	require.Equal(t, Period{"2023-08-01", "2023-08-03"}, h.before, "whoever names another length wants that")
}

func TestGridIsWrittenAsPeopleReadIt(t *testing.T) {
	t.Parallel()
	of := func(low, top string) (all []string) {
		for _, at := range gridOf(exactly(low), exactly(top)) {
			all = append(all, at.Name)
		}
		return all
	}
	require.Equal(t, []string{"1,000", "2,000", "3,000", "4,000"}, of("0", "4261.38"))
	require.Equal(t, []string{"0.50", "1.00"}, of("0", "1.2"))
	require.Equal(t, []string{"0.5 M", "1.0 M", "1.5 M", "2.0 M"}, of("0", "2100000"))
	require.Equal(t, []string{"-200", "-100"}, of("-250", "10"))
	require.Empty(t, of("0", "0"))
}
