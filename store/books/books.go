// Package books is what every ledger reckons in the same way, whatever kind of
// database it is kept in: what of a batch counts, how the conversions of a result
// are counted, what scores a run, and whether a run adds up.
package books

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// Refuse returns an error that wraps [store.ErrRefused].
func Refuse(format string, args ...any) error {
	return errkind.As(errkind.Input, fmt.Errorf("%w: "+format, append([]any{store.ErrRefused}, args...)...))
}

// Name names the results of a batch.
func Name(results []*ihcv1.AttributionResult) string {
	first := results[0]
	if len(results) == 1 {
		return fmt.Sprintf("chunk %d of run %s", first.GetChunk(), first.GetRunId())
	}
	return fmt.Sprintf("%d results, from chunk %d of run %s on", len(results), first.GetChunk(), first.GetRunId())
}

// ByRun returns results by the name of their run.
func ByRun(results []*ihcv1.AttributionResult) map[string][]*ihcv1.AttributionResult {
	by := map[string][]*ihcv1.AttributionResult{}
	for _, r := range results {
		by[r.GetRunId()] = append(by[r.GetRunId()], r)
	}
	return by
}

// Own returns those of a run's results that it has a chunk for: once it is known
// how many there are, one with a higher number comes from somebody who lost his
// work.
func Own(results []*ihcv1.AttributionResult, chunks int64) []*ihcv1.AttributionResult {
	return slices.DeleteFunc(slices.Clone(results), func(a *ihcv1.AttributionResult) bool { return int64(a.GetChunk()) > chunks })
}

// Latest returns the highest revision of each chunk, in the order of the chunks.
func Latest(results []*ihcv1.AttributionResult) (latest []*ihcv1.AttributionResult) {
	best := map[uint32]*ihcv1.AttributionResult{}
	for _, r := range results {
		if was := best[r.GetChunk()]; was == nil || r.GetRevision() > was.GetRevision() {
			best[r.GetChunk()] = r
		}
	}
	for _, chunk := range slices.Sorted(maps.Keys(best)) {
		latest = append(latest, best[chunk])
	}
	return latest
}

// Scoring returns what scores a run, which the first of its results settles where
// settled is nil. The error wraps [store.ErrRefused] where a result was scored by
// something else.
func Scoring(id string, settled []byte, results []*ihcv1.AttributionResult) ([]byte, error) {
	for _, r := range results {
		if settled == nil && len(r.GetScoring()) > 0 {
			settled = r.GetScoring()
		}
	}
	for _, r := range results {
		// Nothing scored a chunk without journeys that were to be scored.
		if len(r.GetAttributions()) > 0 && !bytes.Equal(r.GetScoring(), settled) {
			return nil, Refuse("chunk %d of run %s was scored by something else than was settled for the run: ask for the run again", r.GetChunk(), id)
		}
	}
	return settled, nil
}

// Count is how many conversions of a chunk have one outcome, and the touchpoints
// of those that are attributed.
type Count struct {
	Outcome                  string
	Conversions, Touchpoints int64
}

// Gone is the outcome, in pipeline_outcomes alone, of a conversion that was
// attributed and that was not in the database any more when the run was written.
const Gone = "gone"

// reused is what the conversions are counted as, of those attributed and
// approximated, whose attribution was stored before.
const reused = "reused"

// Counts counts a result's conversions by outcome, in the order of the kinds, and
// then those that are reused.
func Counts(r *ihcv1.AttributionResult) []Count {
	by := map[ihcv1.OutcomeKind]*Count{}
	at := func(kind ihcv1.OutcomeKind) *Count {
		if by[kind] == nil {
			by[kind] = &Count{Outcome: run.OutcomeName(kind)}
		}
		return by[kind]
	}
	again := Count{Outcome: reused}
	for _, a := range r.GetAttributions() {
		kind := ihcv1.OutcomeKind_OUTCOME_KIND_ATTRIBUTED
		if a.GetApproximation() != nil {
			kind = ihcv1.OutcomeKind_OUTCOME_KIND_APPROXIMATED
		}
		c := at(kind)
		c.Conversions++
		c.Touchpoints += int64(len(a.GetSessionIds()))
	}
	for _, o := range r.GetOutcomes() {
		c := at(o.GetKind())
		c.Conversions++
		if run.OutcomeOf(o.GetKind()).Attributed {
			c.Touchpoints += int64(o.GetSessions())
			again.Conversions++
			again.Touchpoints += int64(o.GetSessions())
		}
	}
	kinds := slices.Sorted(maps.Keys(by))
	all := make([]Count, 0, len(kinds)+1)
	for _, kind := range kinds {
		all = append(all, *by[kind])
	}
	if again.Conversions > 0 {
		all = append(all, again)
	}
	return all
}

// Add adds a count of a run's chunks to its state.
func Add(s *store.State, c Count) {
	if s.Counts == nil {
		s.Counts = &ihcv1.Counts{}
	}
	if c.Outcome == reused {
		s.Counts.Reused += uint64(c.Conversions)
		return
	}
	run.Add(s.Counts, run.OutcomeKind(c.Outcome), uint64(c.Conversions), uint64(c.Touchpoints))
}

// Close says in the state of a run whose chunks are all counted whether it adds
// up to the conversions that the extractor read.
func Close(s *store.State, read int64) {
	if s.Counts == nil {
		s.Counts = &ihcv1.Counts{}
	}
	s.Complete = true
	if n := run.Accounted(s.Counts); n != s.Counts.GetInRange() || int64(n) != read {
		s.Wrong = fmt.Sprintf("the extractor read %d conversions, the results hold %d, of which %d have an outcome", read, s.Counts.GetInRange(), n)
	}
}

// Missing returns the numbers from 1 to chunks, in order, that are not among
// those stored, which are in order.
func Missing(stored []uint32, chunks uint32) (missing []uint32) {
	next := uint32(1) // that is not looked at yet
	for _, chunk := range stored {
		for ; next < chunk && next <= chunks; next++ {
			missing = append(missing, next)
		}
		next = chunk + 1
	}
	for ; next <= chunks; next++ {
		missing = append(missing, next)
	}
	return missing
}

// CheckShares makes sure that an attribution has one share for each of its
// sessions, none of which occurs twice.
func CheckShares(a *ihcv1.Attribution) error {
	sorted := slices.Sorted(slices.Values(a.GetSessionIds()))
	for i := 1; i < len(sorted); i++ {
		if sorted[i-1] == sorted[i] {
			return fmt.Errorf("session %q occurs twice", sorted[i])
		}
	}
	if len(a.GetIhc()) != len(a.GetSessionIds()) {
		return fmt.Errorf("%d shares for %d sessions", len(a.GetIhc()), len(a.GetSessionIds()))
	}
	return nil
}
