package packing

import (
	"fmt"

	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// usual is the most a chunk of several journeys weighs by [Weight], in bytes: a
// message of a mebibyte with room to spare.
const usual = 3 << 18

// maxOutcomes bounds the conversions that ride on one chunk without a journey.
const maxOutcomes = 1000

// SliceConversions is of how many conversions a slice is that extractors share
// (see Slices of package store): as large as the cost of a chunk at its end, which is partly
// filled, does not count, and as small as memory holds what is packed of it.
const SliceConversions = 30_000

// Chunk is one request's worth of journeys, and conversions that need no
// scoring and ride along.
type Chunk struct {
	Journeys []journey.Journey
	Outcomes []*ihcv1.Outcome
}

// Chunks takes the conversions of a run one after the other and gives its
// chunks: the packer decides which journeys travel together, one too long is
// treated as the run asks for, and conversions without a journey ride along. So
// every conversion is in exactly one chunk (invariant 4). The same conversions
// give the same chunks.
type Chunks struct {
	// Counts are the conversions so far by what was planned for them: attributed
	// and approximated are to be scored, with their touchpoints, or known.
	Counts *ihcv1.Counts
	// LeftOut is how many sessions approximated journeys have that are not scored.
	LeftOut uint64
	// Reused is how many conversions, of those attributed and approximated, are known.
	Reused uint64

	req      *ihcv1.RunRequest
	known    func(conv string, fingerprint []byte) (bool, error)
	emit     func(Chunk) error
	limits   Limits
	most     int             // that the largest message may weigh
	model    *ihcmodel.Model // tells where a journey may begin, nil if nobody asks
	packer   *Packer
	outcomes []*ihcv1.Outcome // not yet in a chunk
	weight   int              // of outcomes
	prints   *journey.Fingerprints
}

// NewChunks returns what makes the chunks of a run whose request is complete
// (see [run.Complete]); most is the largest message there can be, in bytes.
// known, when not nil, says whether a conversion's journey with a fingerprint is
// scored already, so that it needs no scoring. emit gets each chunk, in order;
// it may keep it.
func NewChunks(req *ihcv1.RunRequest, most int, known func(conv string, fingerprint []byte) (bool, error), emit func(Chunk) error) (*Chunks, error) {
	c := &Chunks{Counts: &ihcv1.Counts{}, req: req, known: known, emit: emit, most: most * 3 / 4,
		limits: Limits{Sessions: int(req.GetMaxSessions()), Journeys: int(req.GetMaxJourneys()), Bytes: usual},
		prints: journey.NewFingerprints()}
	c.packer = New(c.limits, c.chunk)
	if req.GetLongJourneys() != run.LongCut {
		return c, nil
	}
	params := ihcmodel.DefaultParams()
	if text := req.GetModelParams(); text != "" {
		var err error
		if params, err = ihcmodel.ParseParams([]byte(text)); err != nil {
			return nil, err
		}
	}
	var err error
	c.model, err = ihcmodel.New(params)
	return c, err
}

// Add takes the next conversion in the order of reading, as read by the options
// of [run.Journeys].
func (c *Chunks) Add(j journey.Journey) error {
	if j.Count == 0 {
		reason := "no session of the user comes before the conversion"
		if days := c.req.GetLookbackDays(); days > 0 {
			reason = fmt.Sprintf("no session of the user comes within %d days before the conversion", days)
		}
		return c.ride(&ihcv1.Outcome{ConvId: j.ConvID, Kind: ihcv1.OutcomeKind_OUTCOME_KIND_WITHOUT_SESSIONS, Reason: reason})
	}
	if j.Count > c.limits.Sessions && !run.Whole(c.req) {
		c.approximate(&j)
	}
	weight := Weight(j)
	excluded := ""
	switch {
	case len(j.Sessions) == 0:
		excluded = fmt.Sprintf("the journey has more than %d sessions, the most one request may hold", c.limits.Sessions)
	case weight > c.most:
		excluded = fmt.Sprintf("the journey takes more than %d bytes, the most one message may hold", c.most)
	}
	if excluded != "" {
		return c.ride(&ihcv1.Outcome{ConvId: j.ConvID, Sessions: uint64(j.Count), Kind: ihcv1.OutcomeKind_OUTCOME_KIND_EXCLUDED, Reason: excluded})
	}
	j.Fingerprint = c.prints.Of(j)
	kind := ihcv1.OutcomeKind_OUTCOME_KIND_ATTRIBUTED
	if j.Strategy != "" {
		kind = ihcv1.OutcomeKind_OUTCOME_KIND_APPROXIMATED
		c.LeftOut += uint64(j.LeftOut())
	}
	if c.known != nil {
		if there, err := c.known(j.ConvID, j.Fingerprint); err != nil {
			return err
		} else if there {
			c.Reused++
			return c.ride(&ihcv1.Outcome{ConvId: j.ConvID, Sessions: uint64(len(j.Sessions)), Kind: kind, Fingerprint: j.Fingerprint})
		}
	}
	run.Add(c.Counts, kind, 1, uint64(len(j.Sessions)))
	if len(j.Sessions) > c.limits.Sessions || weight > c.limits.Bytes || j.Strategy == run.LongBuiltin {
		return c.chunk([]journey.Journey{j}) // no other goes with it
	}
	return c.packer.Add(j)
}

// approximate makes of a journey that is too long for a request what the run
// asks for.
func (c *Chunks) approximate(j *journey.Journey) {
	switch how := c.req.GetLongJourneys(); how {
	case run.LongCut:
		begin := c.model.Begin(len(j.Sessions), func(k int) int64 { return j.Sessions[k].Time })
		j.Sessions = j.Sessions[begin:]
		fallthrough
	case run.LongLatest, run.LongBuiltin:
		j.Strategy = how
	default:
		j.Sessions = nil
	}
}

// ride takes a conversion that needs no scoring.
func (c *Chunks) ride(o *ihcv1.Outcome) error {
	run.Add(c.Counts, o.GetKind(), 1, o.GetSessions())
	c.outcomes = append(c.outcomes, o)
	c.weight += outcomeWeight(o)
	if len(c.outcomes) >= maxOutcomes || c.weight > c.limits.Bytes/4 {
		return c.chunk(nil)
	}
	return nil
}

// Flush gives what is left: at the end, and at the end of each slice, so that the
// chunks of one do not depend on another.
func (c *Chunks) Flush() error {
	if err := c.packer.Flush(); err != nil {
		return err
	}
	if len(c.outcomes) > 0 {
		return c.chunk(nil)
	}
	return nil
}

func outcomeWeight(o *ihcv1.Outcome) int {
	return len(o.GetConvId()) + len(o.GetReason()) + len(o.GetFingerprint()) + 24
}

// chunk gives one chunk with the journeys and all outcomes at hand.
func (c *Chunks) chunk(journeys []journey.Journey) error {
	chunk := Chunk{journeys, c.outcomes}
	c.outcomes, c.weight = nil, 0
	return c.emit(chunk)
}
