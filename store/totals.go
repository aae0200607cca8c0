package store

import "github.com/ihc-pipeline/ihc/internal/unit"

// Row is one row of channel_reporting: a channel and a session date, UTC,
// YYYY-MM-DD.
type Row struct {
	Channel, Date string
	// Cost and IHCRevenue are in the shop's currency; IHC is in conversions.
	Cost, IHC, IHCRevenue float64
}

// Totals are what the tables hold, and what of it is a run's. Sums are of
// integers, so that they do not depend on the order rows are read in: shares in
// [ShareDecimals], amounts ([unit.Money], [unit.Cost]), and credit, which is
// share × revenue in [CreditDecimals].
type Totals struct {
	// Rows is channel_reporting by date and channel, as read back.
	Rows []Row

	Share, Credit unit.Sum // over all attributions of known conversions and sessions
	Cost          unit.Sum // over all sessions
	// KnownCosts is the cost of session_costs whose session is known, read by
	// another way than Cost.
	KnownCosts unit.Sum

	// Range is about the conversions in the run's range alone.
	Range Range

	// Orphans counts attributions whose conversion or session is not there.
	Orphans int64
	// WithoutCost counts sessions without a cost, WithoutSession costs without
	// a session.
	WithoutCost, WithoutSession int64
}

// Range is what the tables hold of the conversions in a range of dates.
type Range struct {
	// Conversions counts them, Attributed those that have attributions, and
	// Touchpoints their attributions.
	Conversions, Attributed, Touchpoints int64
	// Share and Credit are summed over their attributions.
	Share, Credit unit.Sum
	// Revenue is that of the attributed ones, read by another way than Credit,
	// in [unit.MoneyDecimals].
	Revenue unit.Sum
}

// ShareDecimals is how many decimals the unit of summed shares has. Shares that
// the pipeline wrote have four; those of another program are summed as they
// are. CreditDecimals is the same of share × revenue.
const (
	ShareDecimals  = 12
	CreditDecimals = ShareDecimals + unit.MoneyDecimals
)
