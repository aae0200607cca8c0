package store

import (
	"github.com/shopspring/decimal"
)

// Cause is why what channels cost and earned changed from one report to the
// next.
type Cause string

// The causes. Between two reports their amounts add up to the difference,
// exactly.
const (
	// NewConversions were attributed for the first time.
	NewConversions Cause = "new_conversions"
	// ChangedJourneys: sessions came, went, or were corrected.
	ChangedJourneys Cause = "changed_journeys"
	// RemovedConversions went, or have no attribution any more.
	RemovedConversions Cause = "removed_conversions"
	// ChangedRevenue of conversions, at the shares they had before.
	ChangedRevenue Cause = "changed_revenue"
	// ChangedCost: costs came, went, or were corrected.
	ChangedCost Cause = "changed_cost"
	// OtherSettings: the same sessions were scored by something else, or anew, or
	// journeys were cut otherwise.
	OtherSettings Cause = "other_settings"
	// ByHand: attribution_customer_journey has what the pipeline did not write.
	ByHand Cause = "by_hand"
)

// Causes are all of them, in the order in which they are told.
var Causes = []Cause{NewConversions, ChangedJourneys, RemovedConversions, ChangedRevenue, ChangedCost, OtherSettings, ByHand}

// Amounts are what a channel earned and cost, or a change of it: IHC in
// conversions, Revenue and Cost in the shop's currency. All are exact.
type Amounts struct{ IHC, Revenue, Cost decimal.Decimal }

// Plus returns a + b.
func (a Amounts) Plus(b Amounts) Amounts {
	return Amounts{a.IHC.Add(b.IHC), a.Revenue.Add(b.Revenue), a.Cost.Add(b.Cost)}
}

// Minus returns a - b.
func (a Amounts) Minus(b Amounts) Amounts {
	return Amounts{a.IHC.Sub(b.IHC), a.Revenue.Sub(b.Revenue), a.Cost.Sub(b.Cost)}
}

// IsZero says whether all of them are 0.
func (a Amounts) IsZero() bool { return a.IHC.IsZero() && a.Revenue.IsZero() && a.Cost.IsZero() }

// Difference is what changed from one run's report to that of a later one, in
// channel_reporting as a whole, whatever ranges the runs had.
type Difference struct {
	From, To RunRecord
	// Channels are those of either report, by name.
	Channels []ChannelDifference
}

// ChannelDifference is what changed of a channel. Before and the causes add up
// to After.
type ChannelDifference struct {
	Channel       string
	Before, After Amounts
	// Causes are those with an amount that is not 0.
	Causes map[Cause]Amounts
}

// RunRecord is what a database keeps of a run that is over.
type RunRecord struct {
	ID string
	// Request is what it was asked for, completed, as JSON; ScoredBy what scored it,
	// likewise, and empty where that was not settled when it began.
	Request, ScoredBy string
	// Model is what scored it, as the attributor names it.
	Model string
	// Program is the version of the program that accepted it, and Source the digest
	// of the source tables as it read them. Both are empty in runs of earlier
	// releases, and Source in replays.
	Program, Source string
}

// KnownRun is a run as a database knows it, whether it is over or not.
type KnownRun struct {
	RunRecord
	Status Status
	// Asked says when and where in its stream the run was asked for, as [run.Asked]
	// writes it; "" where that is not known.
	Asked string
	// InRange is how many conversions its range has, 0 while that is not known.
	InRange int64
	// Report is the number of its report among all of the database, 0 for none.
	Report int64
	// Dropped says that of its records this alone is left, see [Reports.Keep].
	Dropped bool
}
