package store

import "github.com/ihc-pipeline/ihc/internal/unit"

// Journeys is what the journal tells of the scored journeys that
// attribution_customer_journey shows: where in a journey channels stand, which
// ways people take, and how long it takes them. Shares are in ten-thousandths
// ([unit.Share]).
type Journeys struct {
	// Phases is by channel, of sessions whose dates are in range, by name.
	Phases []ChannelPhases
	// Runs are those that scored the conversions in range, by number.
	Runs []RunJourneys
	// Last is the latest date of a conversion that is attributed, whatever the
	// range: up to there the numbers know what was sold.
	Last string
	// Lags is the share that sessions earned by how many days before the
	// conversion they were, of all journeys; from 0 to [LongestWait], where what
	// is longer counts too.
	Lags []int64

	// What follows is of the conversions in range.

	Conversions int64
	// WithPhases counts those whose phases are known.
	WithPhases int64
	// Days counts them by the days from the first session to the conversion,
	// from 0 to [LongestWait], where what is longer counts too; Lengths by the number of sessions, from 0 on.
	Days, Lengths []int64
	// LengthRevenue is their revenue, parallel to Lengths.
	LengthRevenue []unit.Sum
	// Pairs says what sessions of one channel opened and sessions of another
	// closed, by initializer and closer; nil where there are more than
	// [MostPaired] channels.
	Pairs []Pair
	// Paths are the most frequent ways, at most [MostPaths] of them, the most
	// frequent first, of DistinctPaths. Where there are more ways than memory is
	// kept for, rare ones are let go meanwhile: no count is then short by more
	// than PathsShort.
	Paths         []Path
	DistinctPaths int64
	PathsShort    int64
}

// Bounds of what [Journeys] holds.
const (
	MostPaired = 200
	MostPaths  = 40
	// MostSteps is how many steps of a path are told apart; of a longer one
	// these are the first and the last, with a gap between them.
	MostSteps = 12
	// LongestWait is up to how many days waits are told apart: ten years.
	LongestWait = 3653
)

// ChannelPhases is what the sessions of a channel earned, as a whole and in
// each phase, of journeys whose phases are known.
type ChannelPhases struct {
	Channel                          string
	IHC, Initializer, Holder, Closer int64
}

// Pair is how many conversions, in hundred-millionths, the sessions of one
// channel opened and those of the other closed.
type Pair struct {
	Initializer, Closer string
	Weight              int64
}

// PairDecimals is how many decimals the unit of [Pair.Weight] has.
const PairDecimals = 2 * unit.ShareDecimals

// Path is one way of channels to a conversion, visits of one channel in a row
// taken together.
type Path struct {
	Steps       []Step
	Conversions int64
	Revenue     unit.Sum // in [unit.MoneyDecimals]
	// Cut says that steps were left out after half of [MostSteps].
	Cut bool
}

// Step is the visits of one channel in a row, summed over the path's
// conversions.
type Step struct {
	Channel                          string
	Visits                           int64
	IHC, Initializer, Holder, Closer int64
}

// RunJourneys is a run and how many of the conversions in range it scored.
type RunJourneys struct {
	RunID, Model string
	// Request is the accepted request as JSON.
	Request     string
	Conversions int64
}
