package storetest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

var surveyTests = map[string]func(*testing.T, Backend){
	"SurveyIsWhatRebuildReturnsAndWritesNothing": surveyIsWhatRebuildReturnsAndWritesNothing,
	"JournalIsSummedAsByTheOracle":               journalIsSummedAsByTheOracle,
	"SurveyByAnotherColumn":                      surveyByAnotherColumn,
	"SurveyInAZoneIsThatOfItsClocks":             surveyInAZoneIsThatOfItsClocks,
	"DaysWhenClocksChangeHave23And25Hours":       daysWhenClocksChangeHave23And25Hours,
	"SurveyInAZoneThatIsNoneIsRefused":           surveyInAZoneThatIsNoneIsRefused,
	"UnattributedIsWhatTheLedgerLastRecorded":    unattributedIsWhatTheLedgerLastRecorded,
	"ConversionIsExplainedAsItIsShown":           conversionIsExplainedAsItIsShown,
	"LastConversionIsTheLatest":                  lastConversionIsTheLatest,
	"SizeTellsOfDatesAndOfTheLastRun":            sizeTellsOfDatesAndOfTheLastRun,
	"CellIsTheRowOfTheReport":                    cellIsTheRowOfTheReport,
	"SurveyOfADatabaseWithoutResultsIsRefused":   surveyOfADatabaseWithoutResultsIsRefused,
}

// tenThousandth is the unit of shares that the pipeline writes, in
// [store.ShareDecimals].
var tenThousandth = decimal.New(1, store.ShareDecimals-4).IntPart()

// drawRange draws a range of dates, often without one of the ends.
func drawRange(t *rapid.T) *ihcv1.RunRequest {
	req := &ihcv1.RunRequest{RunId: "run", StartDate: rapid.SampledFrom([]string{"", "2023-01-02", "2025-01-01"}).Draw(t, "start"),
		EndDate: rapid.SampledFrom([]string{"", "2023-01-02", "2023-12-31"}).Draw(t, "end")}
	if req.GetEndDate() != "" && req.GetStartDate() > req.GetEndDate() {
		req.StartDate = ""
	}
	return req
}

// phased gives the attributions of a result shares in each phase.
func phased(t *rapid.T, r *ihcv1.AttributionResult) {
	for _, a := range r.GetAttributions() {
		draw := func() []uint32 {
			return rapid.SliceOfN(rapid.Uint32Range(0, 10_000), len(a.GetIhc()), len(a.GetIhc())).Draw(t, "phase")
		}
		a.Initializer, a.Holder, a.Closer = draw(), draw(), draw()
	}
}

// scoredShop is a shop that a run has attributed, and what the run stored.
func (b Backend) scoredShop(t *rapid.T) (*fixture, *Shop, *ihcv1.AttributionResult) {
	d := DrawShop(t)
	r := d.scored(&ihcv1.RunRequest{RunId: "run"})
	phased(t, r)
	scored := d.attributions
	d.attributions = nil
	f := b.filled(t, d, 0)
	d.attributions = scored
	f.expect("run", 1, uint64(len(d.conversions)))
	f.store(r)
	f.finish("run")
	return f, d, r
}

func surveyIsWhatRebuildReturnsAndWritesNothing(t *testing.T, b Backend) {
	rapid.Check(t, func(t *rapid.T) {
		f, _, _ := b.scoredShop(t)
		req := drawRange(t)
		surveyed, err := f.Survey(t.Context(), req, store.View{})
		require.NoError(t, err)
		require.Empty(t, f.rows(`SELECT * FROM channel_reporting`))
		rebuilt := f.rebuilt(req)
		require.Equal(t, rebuilt.Rows, append([]store.Row(nil), surveyed.Rows...))
		rebuilt.Rows, surveyed.Rows = nil, nil
		require.Equal(t, append([]store.Row{}, rebuilt.Covered...), append([]store.Row{}, surveyed.Covered...))
		rebuilt.Covered, surveyed.Covered = nil, nil
		require.Equal(t, rebuilt, surveyed)
	})
}

// oracleJourney is a journey of the oracle.
type oracleJourney struct {
	conversion
	sessions []session
	shares   *ihcv1.Attribution
}

func (d *Shop) journeys(r *ihcv1.AttributionResult) (all []oracleJourney) {
	sessions, sold := map[string]session{}, map[string]conversion{}
	for _, s := range d.sessions {
		sessions[s.id] = s
	}
	for _, c := range d.conversions {
		sold[c.id] = c
	}
	for _, a := range r.GetAttributions() {
		j := oracleJourney{conversion: sold[a.GetConvId()], shares: a}
		for _, id := range a.GetSessionIds() {
			j.sessions = append(j.sessions, sessions[id])
		}
		all = append(all, j)
	}
	return all
}

func daysBetween(from, to string) int {
	a, _ := time.Parse(time.DateOnly, from)
	b, _ := time.Parse(time.DateOnly, to)
	return min(max(int(b.Sub(a).Hours()/24), 0), store.LongestWait)
}

// describe adds journeys up in the most obvious way, into sums by name.
func describe(journeys []oracleJourney, req *ihcv1.RunRequest) map[string]decimal.Decimal {
	sums := map[string]decimal.Decimal{}
	add := func(name string, n decimal.Decimal) { sums[name] = sums[name].Add(n) }
	whole := func(n int) decimal.Decimal { return decimal.NewFromInt(int64(n)) }
	for _, j := range journeys {
		first, path, before := 0, "", "\x00"
		a := j.shares
		for i, s := range j.sessions {
			add(fmt.Sprint("lag ", daysBetween(s.date, j.date)), whole(int(a.GetIhc()[i])))
			first = max(first, daysBetween(s.date, j.date))
			if within(s.date, req) {
				add("ihc "+s.channel, whole(int(a.GetIhc()[i])))
				add("initializer "+s.channel, whole(int(a.GetInitializer()[i])))
				add("holder "+s.channel, whole(int(a.GetHolder()[i])))
				add("closer "+s.channel, whole(int(a.GetCloser()[i])))
			}
			if s.channel != before {
				path += "/" + s.channel
			}
			before = s.channel
		}
		if !within(j.date, req) {
			continue
		}
		add("conversions", whole(1))
		add(fmt.Sprint("days ", first), whole(1))
		add(fmt.Sprint("length ", len(j.sessions)), whole(1))
		add(fmt.Sprint("revenue ", len(j.sessions)), dec(j.revenue))
		add("path "+path, whole(1))
		add("path revenue "+path, dec(j.revenue))
		for i, opened := range j.sessions {
			for k, closed := range j.sessions {
				add("pair "+opened.channel+"/"+closed.channel, whole(int(a.GetInitializer()[i])*int(a.GetCloser()[k])))
			}
		}
	}
	return sums
}

// told is the same of what the store says.
func told(j *store.Journeys) map[string]decimal.Decimal {
	sums := map[string]decimal.Decimal{}
	if j == nil {
		return sums
	}
	add := func(name string, n decimal.Decimal) { sums[name] = sums[name].Add(n) }
	add("conversions", decimal.NewFromInt(j.Conversions))
	for prefix, list := range map[string][]int64{"lag ": j.Lags, "days ": j.Days, "length ": j.Lengths} {
		for i, n := range list {
			add(fmt.Sprint(prefix, i), decimal.NewFromInt(n))
		}
	}
	for i, sum := range j.LengthRevenue {
		add(fmt.Sprint("revenue ", i), sum.Decimal(4))
	}
	for _, p := range j.Phases {
		add("ihc "+p.Channel, decimal.NewFromInt(p.IHC))
		add("initializer "+p.Channel, decimal.NewFromInt(p.Initializer))
		add("holder "+p.Channel, decimal.NewFromInt(p.Holder))
		add("closer "+p.Channel, decimal.NewFromInt(p.Closer))
	}
	for _, p := range j.Pairs {
		add("pair "+p.Initializer+"/"+p.Closer, decimal.NewFromInt(p.Weight))
	}
	for _, p := range j.Paths {
		name := ""
		for _, s := range p.Steps {
			name += "/" + s.Channel
		}
		add("path "+name, decimal.NewFromInt(p.Conversions))
		add("path revenue "+name, p.Revenue.Decimal(4))
	}
	return sums
}

func journalIsSummedAsByTheOracle(t *testing.T, b Backend) {
	rapid.Check(t, func(t *rapid.T) {
		f, d, r := b.scoredShop(t)
		req := drawRange(t)
		totals := f.rebuilt(req)
		journeys := d.journeys(r)
		text := func(sums map[string]decimal.Decimal) []string {
			var all []string
			for _, name := range slices.Sorted(maps.Keys(sums)) {
				if !sums[name].IsZero() { // refunds may take away just what sales gave
					all = append(all, name+" = "+sums[name].String())
				}
			}
			return all
		}
		require.Equal(t, text(describe(journeys, req)), text(told(totals.Journeys)))
		if len(journeys) == 0 {
			require.Nil(t, totals.Journeys)
			return
		}
		last := slices.MaxFunc(journeys, func(a, b oracleJourney) int { return cmp.Compare(a.date, b.date) })
		require.Equal(t, last.date, totals.Journeys.Last)
		if n := totals.Journeys.Conversions; n > 0 {
			require.Len(t, totals.Journeys.Runs, 1)
			require.Equal(t, []any{"run", n}, []any{totals.Journeys.Runs[0].RunID, totals.Journeys.Runs[0].Conversions})
			require.Equal(t, n, totals.Journeys.WithPhases)
			require.EqualValues(t, len(totals.Journeys.Paths), totals.Journeys.DistinctPaths)
		}
	})
}

func surveyByAnotherColumn(t *testing.T, b Backend) {
	f := b.filled(t, smallShop(), 0)
	names, err := f.Dimensions(t.Context())
	require.NoError(t, err)
	require.Empty(t, names)
	_, err = f.Survey(t.Context(), &ihcv1.RunRequest{}, store.View{Column: "campaign"})
	require.Equal(t, errkind.Input, errkind.KindOf(err))
	visits := cmp.Or(b.Visits, "session_sources")
	f.exec(`ALTER TABLE ` + visits + ` ADD COLUMN campaign text`)
	f.exec(`UPDATE ` + visits + ` SET campaign = 'spring' WHERE session_id <> 's3'`)
	names, err = f.Dimensions(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"campaign"}, names)
	totals, err := f.Survey(t.Context(), &ihcv1.RunRequest{}, store.View{Column: "campaign"})
	require.NoError(t, err)
	require.Equal(t, []store.Row{{Channel: "spring", Date: "2023-01-01", Cost: 1.5, IHC: 1.25, IHCRevenue: 75.025},
		{Channel: "", Date: "2023-01-02"}, {Channel: "spring", Date: "2023-01-02", IHC: 0.75, IHCRevenue: 75.075}}, totals.Rows)
	totals, err = f.Survey(t.Context(), &ihcv1.RunRequest{}, store.View{Column: "campaign", Channel: "SEO"})
	require.NoError(t, err)
	require.Equal(t, []store.Row{{Channel: "spring", Date: "2023-01-01", Cost: 1.5, IHC: 1.25, IHCRevenue: 75.025}}, totals.Rows)
}

// Of several runs the last one that came to a conversion says why; of one that
// none came to nobody does.
func unattributedIsWhatTheLedgerLastRecorded(t *testing.T, b Backend) {
	f := b.fresh(t)
	f.sell("a", "b", "c", "d")
	first, second := result("first", 1, attributed("d", 10_000)), result("second", 1)
	first.Outcomes = []*ihcv1.Outcome{unscored("a", "early"), unscored("b", "early")}
	second.Outcomes = []*ihcv1.Outcome{unscored("a", "late")}
	f.ran("first", first)
	f.ran("second", second)
	var all []string
	for _, u := range f.rebuilt(&ihcv1.RunRequest{}).Unattributed {
		all = append(all, fmt.Sprint(u.GetKind(), " ", u.GetReason(), " ", u.GetConversions(), " ", u.GetExampleConvId(), " ", u.GetRevenue()))
	}
	require.Equal(t, []string{"OUTCOME_KIND_UNSPECIFIED  1 c 1", "OUTCOME_KIND_FAILED early 1 b 1", "OUTCOME_KIND_FAILED late 1 a 1"}, all)
}

func conversionIsExplainedAsItIsShown(t *testing.T, b Backend) {
	rapid.Check(t, func(t *rapid.T) {
		f, d, r := b.scoredShop(t)
		for _, j := range d.journeys(r) {
			c, err := f.Conversion(t.Context(), j.id)
			require.NoError(t, err)
			require.Equal(t, []any{j.id, "u", j.date + " 12:00:00", "run", int64(1), "", dec(j.revenue).String()},
				[]any{c.ID, c.User, c.Time, c.Run.RunID, c.Chunk, c.Outcome, c.Revenue.Decimal().String()})
			require.Len(t, c.Sessions, len(j.sessions))
			for i, s := range c.Sessions {
				want := j.sessions[i]
				require.Equal(t, []any{want.id, want.channel, want.date + " 12:00:00", true, true, true, int64(j.shares.GetIhc()[i]) * tenThousandth, int64(j.shares.GetIhc()[i]),
					int64(j.shares.GetInitializer()[i]), int64(j.shares.GetHolder()[i]), int64(j.shares.GetCloser()[i]), dec(d.costs[want.id]).String()},
					[]any{s.Session, s.Channel, s.Time, s.Known, s.Scored, s.Phased, s.IHC, s.Share, s.Initializer, s.Holder, s.Closer, s.Cost.Decimal().String()})
			}
		}
		for _, o := range r.GetOutcomes() {
			c, err := f.Conversion(t.Context(), o.GetConvId())
			require.NoError(t, err)
			require.Equal(t, []any{"without_sessions", 0}, []any{c.Outcome, len(c.Sessions)})
		}
		_, err := f.Conversion(t.Context(), "nobody's")
		require.Equal(t, errkind.Input, errkind.KindOf(err))
	})
}

func cellIsTheRowOfTheReport(t *testing.T, b Backend) {
	rapid.Check(t, func(t *rapid.T) {
		f, _, _ := b.scoredShop(t)
		for _, row := range f.rebuilt(&ihcv1.RunRequest{}).Rows {
			c, err := f.Cell(t.Context(), row.Channel, row.Date)
			require.NoError(t, err)
			require.Equal(t, []float64{row.Cost, row.IHC, row.IHCRevenue}, []float64{c.Cost.Float(6), c.Share.Float(store.ShareDecimals), c.Credit.Float(store.CreditDecimals)})
			require.EqualValues(t, len(c.Credits), c.Count)
		}
		_, err := f.Cell(t.Context(), strings.Repeat("x", 100), "2023-01-01")
		require.Equal(t, errkind.Input, errkind.KindOf(err))
	})
}

func sizeTellsOfDatesAndOfTheLastRun(t *testing.T, b Backend) {
	f := b.fresh(t)
	for i, date := range []string{"2023-01-01", "2023-01-02", "2023-01-02", "2023-01-04"} {
		f.exec(`INSERT INTO conversions VALUES ($1, 'u', $2, '12:00:00', 1)`, fmt.Sprint("c", i), date)
	}
	for _, c := range []struct {
		start, end string
		want       int64
	}{{"2023-01-02", "", 3}, {"", "2023-01-02", 3}, {"2023-01-02", "2023-01-03", 2}, {"2024-01-01", "", 0}} {
		size, err := f.Size(t.Context(), c.start, c.end)
		require.NoError(t, err)
		require.Equal(t, c.want, size.InRange, c)
		require.Zero(t, size.Attributed)
		require.Zero(t, size.PerConversion)
	}
	f.ran("run", result("run", 1, attributed("c0", 10000), attributed("c1", 5000, 3000, 2000)))
	size, err := f.Size(t.Context(), "", "")
	require.NoError(t, err)
	require.Equal(t, size.Conversions, size.InRange)
	size, err = f.Size(t.Context(), "2023-01-02", "")
	require.NoError(t, err)
	require.EqualValues(t, 3, size.InRange)
	require.EqualValues(t, 2, size.Attributed)
	require.InDelta(t, 2, size.PerConversion, 1e-9)
}

func lastConversionIsTheLatest(t *testing.T, b Backend) {
	dsn, db := b.New(t)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	d := b.Open(dsn)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	last, err := d.LastConversion(t.Context())
	require.NoError(t, err)
	require.True(t, last.IsZero(), "there is none")
	for i, at := range []string{"2023-01-02 09:00:00", "2023-01-03 00:00:01", "2023-01-02 23:59:59"} {
		date, time, _ := strings.Cut(at, " ")
		_, err := db.ExecContext(t.Context(), fmt.Sprintf(`INSERT INTO conversions VALUES ('c%d', 'u', '%s', '%s', 1)`, i, date, time))
		require.NoError(t, err)
	}
	last, err = d.LastConversion(t.Context())
	require.NoError(t, err)
	require.Equal(t, time.Date(2023, 1, 3, 0, 0, 1, 0, time.UTC), last)
}

func surveyOfADatabaseWithoutResultsIsRefused(t *testing.T, b Backend) {
	dsn, db := b.New(t)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	if _, err := db.ExecContext(t.Context(), `SELECT 1 FROM attribution_customer_journey`); err == nil {
		t.Skip("this kind begins with the table of results")
	}
	d := b.Open(dsn)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	_, err := d.Survey(t.Context(), &ihcv1.RunRequest{}, store.View{})
	require.Equal(t, errkind.Input, errkind.KindOf(err))
	require.ErrorContains(t, err, "ihc run --db")
}
