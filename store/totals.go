package store

import (
	"cmp"

	"github.com/shopspring/decimal"

	"github.com/ihc-pipeline/ihc/internal/unit"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// Row is one row of channel_reporting: a channel and a session date, UTC,
// YYYY-MM-DD.
type Row struct {
	Channel, Date string
	// Cost and IHCRevenue are in the shop's currency; IHC is in conversions.
	Cost, IHC, IHCRevenue float64
	// Refunded is how much of IHC is of refunds, conversions with a negative
	// revenue. It is in no table.
	Refunded float64
}

// Compare orders rows by date, then by channel, both by their bytes.
func (r Row) Compare(o Row) int {
	return cmp.Or(cmp.Compare(r.Date, o.Date), cmp.Compare(r.Channel, o.Channel))
}

// Totals are what the tables hold, and what of it is a run's. Sums are of
// integers, so that they do not depend on the order rows are read in: shares in
// [ShareDecimals], amounts ([unit.Money], [unit.Cost]), and credit, which is
// share × revenue in [CreditDecimals].
type Totals struct {
	// Rows is channel_reporting by date and channel, as read back, and Covered
	// those rows whose dates are in the run's range.
	Rows, Covered []Row

	// Subtract: what is told of the rows, and of sums of shares, has each refund
	// as a conversion less. The sums here have it as one more.
	Subtract bool

	Share, Credit unit.Sum // over all attributions of known conversions and sessions
	Refunded      unit.Sum // of Share, that of refunds
	Cost          unit.Sum // over all sessions
	// KnownCosts is the cost of session_costs whose session is known, read by
	// another way than Cost.
	KnownCosts unit.Sum

	// Range is about the conversions in the run's range alone. Where that is not
	// all dates it is Ranged, and Dates is about the sessions of these dates.
	Range  Range
	Ranged bool
	Dates  Dates
	// Changes are the conversions that came or went since the run read them or, of
	// a Replay, since the run did that it replays.
	Changes Changes
	Replay  bool
	// Reasons counts why conversions of the run have no attribution, by
	// outcome and reason, the most frequent first, at most 100.
	Reasons []*ihcv1.ReasonCount
	// Approximations counts the run's conversions that were not scored whole and
	// by its model, by strategy and model.
	Approximations []*ihcv1.ApproximationCount
	// Unattributed counts the conversions in range that have no attribution by
	// what the ledger last recorded of them, whichever run it was: its outcome
	// and reason, the unspecified kind where no run has come to them. The most
	// frequent first, at most 100; UnattributedRest is those left out.
	Unattributed     []*ihcv1.ReasonCount
	UnattributedRest int64
	// Journeys is what the journal tells; nil where it is not there or empty.
	Journeys *Journeys

	// Orphans counts attributions whose conversion or session is not there.
	Orphans int64
	// NoShare counts attributions that are no share of a conversion, 0 to 1, and
	// NoShareExample shows one of them. Numbers among them are summed as they
	// are, up to a hundred conversions; all else counts as 0.
	NoShare        int64
	NoShareExample string
	// Uneven counts conversions whose shares do not sum to 1 within a thousandth,
	// of all that have rows, whatever their dates; UnevenExample is one of them.
	Uneven        int64
	UnevenExample string
	// WithoutCost counts sessions without a cost, WithoutSession costs without
	// a session.
	WithoutCost, WithoutSession int64
	Daily                       DailyCosts
}

// DailyCosts are what an import was given by day and channel, whatever range is
// asked for but for Alone.
type DailyCosts struct {
	// Days counts days and channels that have a cost. Cost is theirs, Spread what
	// rows of session_costs have of it, and AloneCost that of days on which the
	// channel had no session.
	Days                    int64
	Cost, Spread, AloneCost unit.Sum
	// Alone are the latter whose date is in range, by date and channel.
	Alone []DailyCost
}

// DailyCost is what a channel cost on a day, YYYY-MM-DD in the zone of the file
// that told.
type DailyCost struct {
	Date, Channel string
	Cost          unit.Cost
}

// Range is what the tables hold of the conversions in a range of dates.
type Range struct {
	// Conversions counts them, Attributed those that have attributions, and
	// Touchpoints their attributions.
	Conversions, Attributed, Touchpoints int64
	// Share and Credit are summed over their attributions.
	Share, Credit unit.Sum
	// All is the revenue of all of them, and Revenue that of the attributed
	// ones, read by another way than Credit; Gross is the same without its
	// signs, since refunds are negative. All are in [unit.MoneyDecimals].
	All, Revenue, Gross unit.Sum
	// Unattributed counts those that have no attribution and an outcome of the
	// run that says why; UnattributedRevenue is theirs.
	Unattributed        int64
	UnattributedRevenue unit.Sum
	// Refunds counts those with a negative revenue, RefundsAttributed those
	// among them that have attributions; RefundRevenue is that of all of them,
	// and Refunded what of Share is theirs.
	Refunds, RefundsAttributed int64
	RefundRevenue, Refunded    unit.Sum
}

// Dates is what the tables hold of the sessions of a range of dates.
type Dates struct {
	// Share and Credit are summed over their attributions, and OwnShare and
	// OwnCredit over those among them of conversions in the same range.
	Share, Credit, OwnShare, OwnCredit unit.Sum
	// Refunded and OwnRefunded are what of the shares is of refunds.
	Refunded, OwnRefunded unit.Sum
	// Cost is theirs, and KnownCosts the same read by another way.
	Cost, KnownCosts unit.Sum
	// NeverAttributed counts conversions after the range that have sessions in
	// it and no attribution.
	NeverAttributed int64
}

// Changes are the conversions that came into a run's range, or left it, since
// the run read them.
type Changes struct {
	// Came counts those in range that the run knows nothing of and that have no
	// attribution; CameRevenue is theirs. CameAttributed are those that another
	// has attributed meanwhile, with so many touchpoints.
	Came, CameAttributed, CameTouchpoints int64
	CameRevenue                           unit.Sum
	// Went counts those of the run that are not in range any more;
	// WentAttributed are those among them that it attributed, with so many
	// touchpoints.
	Went, WentAttributed, WentTouchpoints int64
	// Sessions counts those that went while conversions in range have
	// attributions to them, SessionTouchpoints these, and SessionShare and
	// SessionCredit what they sum to; SessionRefunded is what of the share is of
	// refunds.
	Sessions, SessionTouchpoints                 int64
	SessionShare, SessionRefunded, SessionCredit unit.Sum
}

// ShareDecimals is how many decimals the unit of summed shares has. Shares that
// the pipeline wrote have four; those of another program are summed as they
// are: as many decimals as doubles up to 1 hold. CreditDecimals is the same of
// share × revenue.
const (
	ShareDecimals  = 15
	CreditDecimals = ShareDecimals + unit.MoneyDecimals
)

// How many decimals sums are rounded to when they are told, so that three times
// a third is 1. Those of shares that the pipeline wrote have no more.
const (
	toldShare  = 12
	toldCredit = unit.ShareDecimals + unit.MoneyDecimals
)

// Shares returns a sum of shares, in conversions, rounded to be told.
func Shares(s unit.Sum) decimal.Decimal { return s.Decimal(ShareDecimals).Round(toldShare) }

// Credit returns a sum of share × revenue, in the shop's currency, likewise.
func Credit(s unit.Sum) decimal.Decimal { return s.Decimal(CreditDecimals).Round(toldCredit) }

// Net returns a sum of shares of which a part is of refunds, as it is told.
func (t *Totals) Net(share, refunded unit.Sum) unit.Sum {
	if t.Subtract {
		return share.Sub(refunded).Sub(refunded)
	}
	return share
}

// Told returns the rows of the dates in range as they are told.
func (t *Totals) Told() []Row { return t.Tell(t.Covered) }

// Tell returns rows as they are told: with refunds as conversions less, where the
// report has them so.
func (t *Totals) Tell(all []Row) []Row {
	if !t.Subtract {
		return all
	}
	rows := make([]Row, len(all))
	for i, r := range all {
		r.IHC = decimal.NewFromFloat(r.IHC).Sub(decimal.NewFromFloat(r.Refunded).Mul(decimal.NewFromInt(2))).InexactFloat64()
		rows[i] = r
	}
	return rows
}
