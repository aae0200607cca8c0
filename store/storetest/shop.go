package storetest

import (
	"cmp"
	"database/sql"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// Shop is what a report is made from: the rows of the four tables.
type Shop struct {
	sessions     []session
	conversions  []conversion
	costs        map[string]string // session → decimal, "" for NULL
	attributions []attribution
}

type (
	session     struct{ id, date, channel string }
	conversion  struct{ id, date, revenue string }
	attribution struct {
		conv, session string
		share         int64 // ten-thousandths
	}
)

func dec(s string) decimal.Decimal {
	if s == "" {
		return decimal.Zero
	}
	return decimal.RequireFromString(s)
}

// Insert puts the rows into tables that are there and empty, in an order that
// the seed decides.
func (d *Shop) Insert(t T, db *sql.DB, seed uint64) {
	t.Helper()
	type statement struct {
		text string
		args []any
	}
	var all []statement
	for _, s := range d.sessions {
		all = append(all, statement{`INSERT INTO session_sources VALUES ($1, 'u', $2, '12:00:00', $3, 0, 0, 0)`, []any{s.id, s.date, s.channel}})
	}
	for _, c := range d.conversions {
		all = append(all, statement{`INSERT INTO conversions VALUES ($1, 'u', $2, '12:00:00', $3)`, []any{c.id, c.date, dec(c.revenue).InexactFloat64()}})
	}
	for _, id := range slices.Sorted(maps.Keys(d.costs)) {
		var cost any
		if d.costs[id] != "" {
			cost = dec(d.costs[id]).InexactFloat64()
		}
		all = append(all, statement{`INSERT INTO session_costs VALUES ($1, $2)`, []any{id, cost}})
	}
	for _, a := range d.attributions {
		all = append(all, statement{`INSERT INTO attribution_customer_journey VALUES ($1, $2, $3)`, []any{a.conv, a.session, float64(a.share) / 10_000}})
	}
	rand.New(rand.NewPCG(seed, 1)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer tx.Rollback()
	for _, s := range all {
		_, err := tx.ExecContext(t.Context(), s.text, s.args...)
		require.NoError(t, err)
	}
	require.NoError(t, tx.Commit())
}

// oracle adds up channel_reporting in the most obvious way, exactly.
func (d *Shop) oracle() []store.Row {
	type key struct{ channel, date string }
	type sum struct{ cost, ihc, refunded, revenue decimal.Decimal }
	sums := map[key]*sum{}
	of := map[string]key{}
	for _, s := range d.sessions {
		k := key{s.channel, s.date}
		of[s.id] = k
		if sums[k] == nil {
			sums[k] = &sum{}
		}
		sums[k].cost = sums[k].cost.Add(dec(d.costs[s.id]))
	}
	revenue := map[string]decimal.Decimal{}
	for _, c := range d.conversions {
		revenue[c.id] = dec(c.revenue)
	}
	for _, a := range d.attributions {
		k, known := of[a.session]
		r, sold := revenue[a.conv]
		if known && sold {
			share := decimal.New(a.share, -4)
			sums[k].ihc = sums[k].ihc.Add(share)
			if r.IsNegative() {
				sums[k].refunded = sums[k].refunded.Add(share)
			}
			sums[k].revenue = sums[k].revenue.Add(share.Mul(r))
		}
	}
	rows := make([]store.Row, 0, len(sums))
	for k, s := range sums {
		rows = append(rows, store.Row{Channel: k.channel, Date: k.date, Cost: s.cost.InexactFloat64(), IHC: s.ihc.InexactFloat64(), IHCRevenue: s.revenue.InexactFloat64(),
			Refunded: s.refunded.InexactFloat64()})
	}
	slices.SortFunc(rows, func(a, b store.Row) int {
		return cmp.Or(cmp.Compare(a.Date, b.Date), cmp.Compare(a.Channel, b.Channel))
	})
	return rows
}

// inRange returns the conversions in the range of a request.
func (d *Shop) inRange(req *ihcv1.RunRequest) (all []conversion) {
	for _, v := range d.conversions {
		if within(v.date, req) {
			all = append(all, v)
		}
	}
	return all
}

func within(date string, req *ihcv1.RunRequest) bool {
	return date >= req.GetStartDate() && (req.GetEndDate() == "" || date <= req.GetEndDate())
}

// scored returns what a run over a range would have to store in order to
// attribute everything that is attributed.
func (d *Shop) scored(req *ihcv1.RunRequest) *ihcv1.AttributionResult {
	by := map[string]*ihcv1.Attribution{}
	for _, a := range d.attributions {
		if by[a.conv] == nil {
			by[a.conv] = &ihcv1.Attribution{ConvId: a.conv}
		}
		by[a.conv].SessionIds, by[a.conv].Ihc = append(by[a.conv].SessionIds, a.session), append(by[a.conv].Ihc, uint32(a.share))
	}
	r := &ihcv1.AttributionResult{RunId: req.GetRunId(), Chunk: 1}
	for _, v := range d.inRange(req) {
		if by[v.id] != nil {
			r.Attributions = append(r.Attributions, by[v.id])
		} else {
			r.Outcomes = append(r.Outcomes, &ihcv1.Outcome{ConvId: v.id, Kind: ihcv1.OutcomeKind_OUTCOME_KIND_WITHOUT_SESSIONS})
		}
	}
	return r
}

// counts returns what the ledger would hold of that run.
func (d *Shop) counts(req *ihcv1.RunRequest) *ihcv1.Counts {
	c := &ihcv1.Counts{}
	r := d.scored(req)
	for _, a := range r.GetAttributions() {
		c.Touchpoints += uint64(len(a.GetSessionIds()))
	}
	c.Attributed, c.WithoutSessions = uint64(len(r.GetAttributions())), uint64(len(r.GetOutcomes()))
	c.InRange = c.Attributed + c.WithoutSessions
	return c
}

// bridge adds up, in the most obvious way, what a report of a range says of it.
func (d *Shop) bridge(req *ihcv1.RunRequest) map[string]string {
	sums := map[string]decimal.Decimal{}
	add := func(name string, n decimal.Decimal) { sums[name] = sums[name].Add(n) }
	for _, name := range []string{"ihc", "revenue", "cost", "elsewhere", "elsewhere revenue", "others", "others revenue", "never", "in range", "attributed", "unattributed"} {
		sums[name] = decimal.Zero
	}
	date := map[string]string{} // of sessions
	visited := false
	for _, s := range d.sessions {
		date[s.id] = s.date
		if within(s.date, req) {
			visited = true
			add("cost", dec(d.costs[s.id]))
		}
	}
	shares := map[string]bool{}
	for _, a := range d.attributions {
		shares[a.conv] = true
	}
	sold := map[string]conversion{}
	for _, c := range d.conversions {
		sold[c.id] = c
		switch {
		case within(c.date, req):
			add("in range", dec(c.revenue))
			if shares[c.id] {
				add("attributed", dec(c.revenue))
			} else {
				add("unattributed", dec(c.revenue))
			}
		case visited && !shares[c.id] && req.GetEndDate() != "" && c.date > req.GetEndDate():
			add("never", decimal.NewFromInt(1))
		}
	}
	for _, a := range d.attributions {
		share := decimal.New(a.share, -4)
		credit := share.Mul(dec(sold[a.conv].revenue))
		own, in := within(sold[a.conv].date, req), within(date[a.session], req)
		if in {
			add("ihc", share)
			add("revenue", credit)
		}
		if own && !in {
			add("elsewhere", share)
			add("elsewhere revenue", credit)
		}
		if in && !own {
			add("others", share)
			add("others revenue", credit)
		}
	}
	text := map[string]string{}
	for name, sum := range sums {
		text[name] = sum.String()
	}
	return text
}

// DrawShop draws a small shop, with all that is odd and allowed.
func DrawShop(t *rapid.T) *Shop {
	d := &Shop{costs: map[string]string{}}
	date := rapid.SampledFrom([]string{"2023-01-01", "2023-01-02", "2023-12-31", "2024-02-29"})
	channel := rapid.SampledFrom([]string{"SEO", "Direct", `with "quotes", and a comma`, "=1+1", "zeile\numbruch", "ünï😀", "", " ", "seo"})
	for i := range rapid.IntRange(0, 60).Draw(t, "sessions") {
		id := fmt.Sprintf("s%d", i)
		d.sessions = append(d.sessions, session{id, date.Draw(t, "date"), channel.Draw(t, "channel")})
		switch rapid.IntRange(0, 3).Draw(t, "cost") {
		case 0: // no row
		case 1:
			d.costs[id] = ""
		default:
			d.costs[id] = decimal.New(rapid.Int64Range(0, 1e12).Draw(t, "millionths"), -6).String()
		}
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "costs without session") {
		d.costs[fmt.Sprintf("lost%d", i)] = "7.5"
	}
	for i := range rapid.IntRange(0, 30).Draw(t, "conversions") {
		c := conversion{fmt.Sprintf("c%d", i), date.Draw(t, "date"), decimal.New(rapid.Int64Range(-1e6, 1e11).Draw(t, "cents"), -2).String()}
		d.conversions = append(d.conversions, c)
		n := rapid.IntRange(0, min(6, len(d.sessions))).Draw(t, "touchpoints")
		left := int64(10_000)
		for k := range n {
			share := left
			if k < n-1 {
				share = rapid.Int64Range(0, left).Draw(t, "share")
			}
			left -= share
			// Sessions of one journey differ; those of several may not.
			d.attributions = append(d.attributions, attribution{c.id, d.sessions[(i*7+k)%len(d.sessions)].id, share})
		}
	}
	return d
}

// smallShop is one whose sums can be made by hand.
func smallShop() *Shop {
	return &Shop{
		sessions:     []session{{"s1", "2023-01-01", "SEO"}, {"s2", "2023-01-02", "Direct"}, {"s3", "2023-01-02", "Idle"}},
		conversions:  []conversion{{"c1", "2023-01-03", "100.10"}, {"c2", "2023-02-03", "50"}},
		costs:        map[string]string{"s1": "1.5", "s3": "", "gone": "9"},
		attributions: []attribution{{"c1", "s1", 2500}, {"c1", "s2", 7500}, {"c2", "s1", 10_000}},
	}
}
