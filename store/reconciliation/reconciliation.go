// Package reconciliation is the proof that nothing leaked, from what the
// database says of a run.
package reconciliation

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/unit"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// One conversion's shares may be this far from 1; values of the built-in model
// and, as far as is known, of the API are not off at all.
var shareTolerance = decimal.New(1, -3)

// Sums in the table are doubles, good for about 15 digits.
var doubleTolerance = decimal.New(1, -12)

// Equations returns the proof that nothing leaked between the tables: what the
// ledger counted against what the database holds, and the report against what
// it was made from. The two sides of each equation are read or summed by
// different ways. What a run proves it proves of the conversions that it read;
// those that came or went since are in [Notes].
func Equations(t *store.Totals, counts *ihcv1.Counts) []*ihcv1.Equation {
	all := slices.Concat(conversions(t, counts), report(t))
	if t.Ranged {
		all = append(all, dates(t)...)
	}
	if t.Subtract {
		all = append(all, refunds(t)...)
	}
	if d := &t.Daily; d.Days > 0 {
		all = append(all, equation("daily_costs", "Σ daily costs that were imported = Σ session_costs that they became + costs of days without sessions",
			d.Cost.Decimal(unit.CostDecimals), d.Spread.Plus(d.AloneCost).Decimal(unit.CostDecimals), decimal.Zero))
	}
	if t.NoShare+t.Uneven > 0 {
		all = append(all, equation("shares", "attributions in the table that are no share of a conversion, 0 to 1, and conversions whose shares do not sum to 1 = none",
			integer(t.NoShare+t.Uneven), decimal.Zero, decimal.Zero))
	}
	return all
}

// conversions are the equations about the conversions in range.
func conversions(t *store.Totals, counts *ihcv1.Counts) []*ihcv1.Equation {
	r := &t.Range
	there := integer(r.Conversions - t.Changes.Came - t.Changes.CameAttributed)
	attributed := integer(int64(run.WithAttribution(counts)) - t.Changes.WentAttributed)
	shown := integer(r.Attributed - t.Changes.CameAttributed)
	ones := attributed.Add(integer(t.Changes.CameAttributed)) // to which the shares sum
	// Of sessions that went since, the table still has what the run gave them.
	all, revenue := r.Share.Plus(t.Changes.SessionShare), money(r.Revenue)
	share, credit := store.Shares(all), store.Credit(r.Credit.Plus(t.Changes.SessionCredit))
	byShare, byRevenue := shareTolerance.Mul(ones), shareTolerance.Mul(money(r.Gross))
	none := decimal.Zero
	came, went := "", ""
	sessions, withSessions := sessionsWent(t)
	if t.Changes.Came+t.Changes.CameAttributed > 0 {
		came = ", less those that came since"
	}
	if t.Changes.Went > 0 {
		went = ", less those that went since"
	}
	if all.Decimal(store.ShareDecimals).Equal(ones) {
		byShare, byRevenue = none, none // every share is exact, so must be what follows from them
	}
	return []*ihcv1.Equation{
		equation("conversions", "conversions in range"+came+strings.Replace(went, "less", "with", 1)+" = attributed (those approximated among them) + excluded + failed + without sessions",
			there.Add(integer(t.Changes.Went)), decimal.NewFromUint64(run.Accounted(counts)), none),
		equation("attributed", "conversions the run attributed"+went+" = conversions in range with attributions in the table"+came, attributed, shown, none),
		equation("touchpoints", "touchpoints the run wrote"+went+sessions+" = attributions of conversions in range in the table"+came,
			decimal.NewFromUint64(counts.GetTouchpoints()).Sub(integer(t.Changes.WentTouchpoints+t.Changes.SessionTouchpoints)), integer(r.Touchpoints-t.Changes.CameTouchpoints), none),
		equation("ihc", "Σ ihc of conversions in range"+withSessions+" = conversions attributed"+went+strings.Replace(came, "less", "with", 1), share, ones, byShare),
		equation("ihc_revenue", "Σ ihc_revenue of conversions in range that were attributed"+withSessions+" = their revenue", credit, revenue, byRevenue),
		equation("unattributed", "conversions in range without attribution"+came+" = those on record with the reason", there.Sub(shown), integer(r.Unattributed), none),
		equation("revenue", "revenue of conversions in range"+came+" = revenue attributed + not attributed", money(r.All.Sub(t.Changes.CameRevenue)), money(r.Revenue.Plus(r.UnattributedRevenue)), none),
	}
}

// sessionsWent says of a side of an equation that it is without, or with, what the
// run gave to sessions that are not there any more.
func sessionsWent(t *store.Totals) (less, with string) {
	if t.Changes.Sessions == 0 {
		return "", ""
	}
	return ", less those of sessions that went since", ", with that of sessions that went since"
}

// report are the equations about channel_reporting as a whole.
func report(t *store.Totals) []*ihcv1.Equation {
	s := sums(t.Rows)
	return []*ihcv1.Equation{
		equation("report_ihc", "Σ ihc of channel_reporting = Σ ihc of attribution_customer_journey", s.ihc, store.Shares(t.Share), s.rounding(s.ihc, shares(t.Share))),
		equation("report_ihc_revenue", "Σ ihc_revenue of channel_reporting = Σ ihc × revenue", s.revenue, store.Credit(t.Credit), s.rounding(s.gross, credits(t.Credit))),
		equation("report_cost", "Σ cost of channel_reporting = Σ session_costs of known sessions", s.cost, t.KnownCosts.Decimal(unit.CostDecimals), double(s.cost)),
	}
}

// dates are the equations about the session dates that a report covers.
func dates(t *store.Totals) []*ihcv1.Equation {
	s, d := sums(t.Covered), &t.Dates
	return []*ihcv1.Equation{
		equation("dates_ihc", "Σ ihc of the report's dates = Σ ihc of sessions of these dates", s.ihc, store.Shares(d.Share), s.rounding(s.ihc, shares(d.Share))),
		equation("dates_ihc_revenue", "Σ ihc_revenue of the report's dates = Σ ihc × revenue of sessions of these dates", s.revenue, store.Credit(d.Credit), s.rounding(s.gross, credits(d.Credit))),
		equation("dates_cost", "Σ cost of the report's dates = Σ session_costs of sessions of these dates", s.cost, d.KnownCosts.Decimal(unit.CostDecimals), double(s.cost)),
	}
}

// refunds are the equations of a report that has refunds as conversions less.
func refunds(t *store.Totals) []*ihcv1.Equation {
	r, rows := &t.Range, sums(t.Told())
	refunded := integer(r.RefundsAttributed)
	tolerance := shareTolerance.Mul(refunded)
	_, with := sessionsWent(t)
	return []*ihcv1.Equation{
		equation("refunds", "Σ ihc of refunds in range"+with+" = refunds in range with attributions in the table", store.Shares(r.Refunded.Plus(t.Changes.SessionRefunded)), refunded, tolerance),
		equation("told_ihc", "Σ ihc of the report = Σ ihc of its sessions, less twice that of refunds", rows.ihc, store.Shares(told(t)), rows.rounding(sums(t.Covered).ihc, shares(told(t))).Mul(decimal.NewFromInt(2))),
	}
}

func integer(n int64) decimal.Decimal { return decimal.NewFromInt(n) }

func money(s unit.Sum) decimal.Decimal { return s.Decimal(unit.MoneyDecimals) }

func double(x decimal.Decimal) decimal.Decimal { return x.Abs().Mul(doubleTolerance) }

func equation(name, description string, left, right, tolerance decimal.Decimal) *ihcv1.Equation {
	return &ihcv1.Equation{Name: name, Description: description, Left: left.String(), Right: right.String(),
		Holds: left.Sub(right).Abs().LessThanOrEqual(tolerance)}
}

// rowSums are what rows add up to. Gross is the revenue without its signs: how
// far doubles are off goes by that.
type rowSums struct {
	cost, ihc, revenue, gross decimal.Decimal
	rows                      int
}

// rounding is how far a sum of the rows may be off that is x without signs. Each
// row is a double; and where a share of another program has more decimals than
// are told, each was rounded.
func (s rowSums) rounding(x decimal.Decimal, of amount) decimal.Decimal {
	if of.exact.Equal(of.told) {
		return double(x)
	}
	return double(x).Add(decimal.New(int64(s.rows), of.told.Exponent()))
}

// amount is a sum exactly and as it is told.
type amount struct{ exact, told decimal.Decimal }

func shares(s unit.Sum) amount { return amount{s.Decimal(store.ShareDecimals), store.Shares(s)} }

func credits(s unit.Sum) amount { return amount{s.Decimal(store.CreditDecimals), store.Credit(s)} }

func sums(rows []store.Row) (s rowSums) {
	s.rows = len(rows)
	for _, r := range rows {
		revenue := decimal.NewFromFloat(r.IHCRevenue)
		s.cost = s.cost.Add(decimal.NewFromFloat(r.Cost))
		s.ihc = s.ihc.Add(decimal.NewFromFloat(r.IHC))
		s.revenue = s.revenue.Add(revenue)
		s.gross = s.gross.Add(revenue.Abs())
	}
	return s
}

// Notes tells what a reader of the numbers should know, one line each.
func Notes(t *store.Totals) []string {
	var notes []string
	note := func(n int64, one, many string) {
		if n > 0 {
			notes = append(notes, human.Say(n, one, many))
		}
	}
	note(t.WithoutCost, "session has no row in session_costs; its cost counts as 0", "sessions have no row in session_costs; their cost counts as 0")
	note(t.WithoutSession, "row of session_costs belongs to no session of session_sources; its cost is in no channel",
		"rows of session_costs belong to no session of session_sources; their cost is in no channel")
	if of := CostsAlone(t); of != "" {
		notes = append(notes, of)
	}
	note(t.Orphans, "row of attribution_customer_journey names a conversion or session that is not in the database any more; it is in no channel",
		"rows of attribution_customer_journey name a conversion or session that is not in the database any more; they are in no channel")
	notes = append(notes, WrongShares(t)...)
	if of := Refunds(t); of != "" {
		notes = append(notes, of)
	}
	for _, a := range t.Approximations {
		notes = append(notes, approximated(a))
	}
	if changed := changes(t.Changes, t.Replay); changed != "" {
		notes = append(notes, changed)
	}
	return notes
}

// WrongShares tells of attributions that are no share of a conversion, and of
// conversions whose shares do not sum to 1: another program wrote them. One line
// each, none where all is well.
func WrongShares(t *store.Totals) []string {
	var notes []string
	if t.NoShare > 0 {
		share := fmt.Sprintf("no share of a conversion, 0 to 1; one is %s. What is a number was summed as it is; delete the rows of their conversions and run again", t.NoShareExample)
		notes = append(notes, human.Say(t.NoShare, "row of attribution_customer_journey holds "+share, "rows of attribution_customer_journey hold "+share))
	}
	if t.Uneven > 0 {
		notes = append(notes, human.Say(t.Uneven, "conversion has shares in attribution_customer_journey that do not sum to 1: "+t.UnevenExample+". Run again over its date, or delete its rows",
			"conversions have shares in attribution_customer_journey that do not sum to 1; one is "+t.UnevenExample+". Run again over their dates, or delete their rows"))
	}
	return notes
}

// Refunds tells how many conversions in range have a negative revenue and how they
// count, "" where there is none.
func Refunds(t *store.Totals) string {
	n := t.Range.Refunds
	if n == 0 {
		return ""
	}
	does := "is a conversion more (ihc)"
	if t.Subtract {
		does = "is a conversion less (ihc) in this report"
	}
	return fmt.Sprintf("%s in range with a negative revenue, %s together: each such refund %s", human.Count(uint64(n), "conversion"), money(t.Range.RefundRevenue), does)
}

// CostsAlone tells what days cost on which their channel had no session, "" where
// there is none.
func CostsAlone(t *store.Totals) string {
	var sum unit.Sum
	for _, d := range t.Daily.Alone {
		sum.Add(int64(d.Cost))
	}
	if len(t.Daily.Alone) == 0 {
		return ""
	}
	first := t.Daily.Alone[0]
	text := fmt.Sprintf("cost without sessions: %s on %s, in no channel and in no total", human.Grouped(sum.Decimal(unit.CostDecimals).String()),
		human.Say(int64(len(t.Daily.Alone)), "day on which the channel had none", "days on which their channels had none"))
	return text + fmt.Sprintf("; one is %s, %s", first.Date, human.Quote(first.Channel))
}

// approximated tells how conversions were scored whose journeys are too long.
func approximated(a *ihcv1.ApproximationCount) string {
	many := strconv.FormatUint(a.GetConversions(), 10) + " conversions have journeys"
	if a.GetConversions() == 1 {
		many = "1 conversion has a journey"
	}
	by := fmt.Sprintf("approximated by what of it fits, %s left out", human.Count(a.GetSessionsLeftOut(), "session"))
	if a.GetModel() != "" {
		by = "scored whole by model " + a.GetModel()
	}
	return fmt.Sprintf("%s longer than a request may hold: %s (--long-journeys %s)", many, by, a.GetStrategy())
}

// changes tells what came and went, "" where nothing did: of a replay, since the
// data were read that it replays.
func changes(c store.Changes, replay bool) string {
	var parts []string
	for _, p := range []struct {
		n    int64
		word string
	}{{c.Came + c.CameAttributed, "came"}, {c.Went, "went"}} {
		switch {
		case p.n == 0:
		case len(parts) > 0:
			parts = append(parts, human.Thousands(p.n)+" "+p.word)
		default:
			parts = append(parts, human.Count(p.n, "conversion")+" "+p.word)
		}
	}
	if c.Sessions > 0 {
		parts = append(parts, human.Count(c.Sessions, "session")+" went")
	}
	if parts == nil {
		return ""
	}
	since := "while the run was under way; the next run takes that in"
	if replay {
		since = "since the run that is replayed read the data; a run that is no replay takes that in"
	}
	return strings.Join(parts, " and ") + " " + since
}

// Fill puts the sums into a report: ihc, ihc_revenue and cost of the session
// dates it covers, the revenue of its conversions, and the bridge.
func Fill(into *ihcv1.Report, t *store.Totals) {
	into.Ihc, into.IhcRevenue, into.Cost = IHC(t), IHCRevenue(t), Cost(t)
	into.Revenue = &ihcv1.Revenue{InRange: money(t.Range.All.Sub(t.Changes.CameRevenue)).String(), Attributed: money(t.Range.Revenue).String(), Unattributed: money(t.Range.UnattributedRevenue).String()}
	if n := t.Range.Refunds; n > 0 {
		into.Refunds = &ihcv1.Refunds{Conversions: uint64(n), Revenue: money(t.Range.RefundRevenue).String(), Subtracted: t.Subtract}
	}
	if !t.Ranged {
		return
	}
	r, d := &t.Range, &t.Dates
	own := t.Net(d.OwnShare, d.OwnRefunded)
	into.Bridge = &ihcv1.Bridge{NeverAttributed: uint64(d.NeverAttributed),
		Elsewhere:  credit(t.Net(r.Share, r.Refunded).Sub(own), r.Credit.Sub(d.OwnCredit)),
		FromOthers: credit(t.Net(d.Share, d.Refunded).Sub(own), d.Credit.Sub(d.OwnCredit))}
}

func credit(share, revenue unit.Sum) *ihcv1.Credit {
	return &ihcv1.Credit{Ihc: store.Shares(share).String(), IhcRevenue: store.Credit(revenue).String()}
}

// told returns Σ ihc over the session dates in the run's range, as it is told.
func told(t *store.Totals) unit.Sum {
	if t.Ranged {
		return t.Net(t.Dates.Share, t.Dates.Refunded)
	}
	return t.Net(t.Share, t.Refunded)
}

// IHC returns Σ ihc over the session dates in the run's range, refunds counted
// as the run asks for.
func IHC(t *store.Totals) string {
	return store.Shares(told(t)).String()
}

// IHCRevenue returns Σ ihc × revenue over the session dates in the run's range.
func IHCRevenue(t *store.Totals) string {
	credit := t.Credit
	if t.Ranged {
		credit = t.Dates.Credit
	}
	return store.Credit(credit).String()
}

// Cost returns Σ cost over the session dates in the run's range.
func Cost(t *store.Totals) string {
	cost := t.Cost
	if t.Ranged {
		cost = t.Dates.Cost
	}
	return cost.Decimal(unit.CostDecimals).String()
}
