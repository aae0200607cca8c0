package store

import "github.com/ihc-pipeline/ihc/internal/unit"

// Conversion is all that a database says of one conversion: what was scored,
// by whom, and what became of it.
type Conversion struct {
	ID, User string
	// Time is as in the table: YYYY-MM-DD HH:MM:SS, UTC.
	Time    string
	Revenue unit.Money
	// Run scored it, or recorded why not; nil where the ledger does not know.
	Run *RunJourneys
	// Chunk is the request's number within the run, 0 where it is not known.
	Chunk int64
	// Outcome and Reason say why it has no attribution; empty where it has one.
	Outcome, Reason string
	// Sessions are those that share it, in the order of the journey.
	Sessions []Touchpoint
}

// Touchpoint is one session of a conversion with its share.
type Touchpoint struct {
	Session string
	// Known: session_sources has it. What follows up to Cost is of there.
	Known         bool
	Channel, Time string
	Engagement    unit.Engagement
	// Cost is 0 where session_costs has none.
	Cost unit.Cost
	// IHC is the share as attribution_customer_journey has it, in
	// [ShareDecimals].
	IHC int64
	// Scored: the journal has its share, in ten-thousandths, and Phased: also
	// those in each phase.
	Scored, Phased                     bool
	Share, Initializer, Holder, Closer int64
}

// Cell is what one row of channel_reporting consists of.
type Cell struct {
	Channel, Date string
	// Sessions counts those of the channel and date, Cost is theirs.
	Sessions int64
	Cost     unit.Sum // in [unit.CostDecimals]
	// Share and Credit are summed over Credits, those left out included; units
	// as in [Totals].
	Share, Credit unit.Sum
	// Credits are the shares of conversions that its sessions earned, the
	// largest credit first, at most [MostCredits]; Count is how many there are.
	Credits []CellCredit
	Count   int64
}

// MostCredits is how many credits a [Cell] lists.
const MostCredits = 200

// CellCredit is a session's share of a conversion.
type CellCredit struct {
	Conversion, ConversionTime, Session, SessionTime string
	Share                                            int64 // in [ShareDecimals]
	Revenue                                          unit.Money
}
