package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/books"
)

// number returns what the other tables call a run, which is entered if it is not
// known, and keeps its row from being changed by others.
func number(ctx context.Context, tx pgx.Tx, id string) (number int64, err error) {
	err = tx.QueryRow(ctx, `INSERT INTO pipeline_runs (run_id) VALUES ($1) ON CONFLICT (run_id) DO UPDATE SET run_id = EXCLUDED.run_id RETURNING run`, id).Scan(&number)
	return number, err
}

// taking is a run that takes results.
type taking struct {
	tx      pgx.Tx
	run     int64
	status  store.Status
	chunks  *int64 // expected
	scoring []byte
}

// take holds a run's row for as long as results are stored: together with other
// writers where it is settled what scores the run, and otherwise alone.
func take(ctx context.Context, tx pgx.Tx, id string) (*taking, error) {
	t := &taking{tx: tx}
	settled := false
	err := tx.QueryRow(ctx, `SELECT scoring IS NOT NULL FROM pipeline_runs WHERE run_id = $1`, id).Scan(&settled)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, err
	}
	if !settled {
		if _, err := number(ctx, tx, id); err != nil {
			return nil, err
		}
	}
	err = tx.QueryRow(ctx, `SELECT run, `+standing+`, expected_chunks, scoring FROM pipeline_runs WHERE run_id = $1 FOR SHARE`, id).Scan(&t.run, &t.status, &t.chunks, &t.scoring)
	return t, err
}

// storeRun puts results of one run into its books and the journal. An ended run
// takes nothing.
func storeRun(ctx context.Context, tx pgx.Tx, id string, results []*ihcv1.AttributionResult) error {
	t, err := take(ctx, tx, id)
	if err != nil || over(t.status) {
		return err
	}
	if t.chunks != nil {
		results = books.Own(results, *t.chunks)
	}
	settled, err := books.Scoring(id, t.scoring, results)
	if err != nil {
		return err
	}
	if t.scoring == nil && settled != nil {
		if _, err := tx.Exec(ctx, `UPDATE pipeline_runs SET scoring = $2 WHERE run = $1`, t.run, settled); err != nil {
			return err
		}
	}
	fresh, err := t.claim(ctx, books.Latest(results))
	if err != nil || len(fresh) == 0 {
		return err
	}
	for _, into := range []func(context.Context, []*ihcv1.AttributionResult) error{t.count, t.outcomes, t.use, t.journeys} {
		if err := into(ctx, fresh); err != nil {
			return err
		}
	}
	return nil
}

// claimed enters chunks, in order, and returns those that were not stored yet. A
// second writer waits at the first chunk that another is storing.
const claimed = `INSERT INTO pipeline_chunks AS c (run, chunk, revision, revised, requests, seconds, model)
	SELECT $1, chunk, revision, least(revision, 1), requests, seconds, model
	FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::double precision[], $6::text[]) AS u(chunk, revision, requests, seconds, model) ORDER BY chunk
	ON CONFLICT (run, chunk) DO UPDATE SET revision = EXCLUDED.revision, revised = c.revised + 1, requests = EXCLUDED.requests,
		seconds = c.seconds + EXCLUDED.seconds, model = greatest(c.model COLLATE "C", EXCLUDED.model), shown = false
	WHERE c.revision < EXCLUDED.revision RETURNING chunk`

// claim enters the chunks of results, which are in order, and returns those that
// are not stored yet. Where an earlier revision of a chunk is stored it is taken
// out.
func (t *taking) claim(ctx context.Context, results []*ihcv1.AttributionResult) (fresh []*ihcv1.AttributionResult, err error) {
	var chunks, revisions, requests []int64
	var seconds []float64
	var models []string
	for _, r := range results {
		chunks, revisions, requests = append(chunks, int64(r.GetChunk())), append(revisions, int64(r.GetRevision())), append(requests, int64(r.GetRequests()))
		seconds, models = append(seconds, r.GetRequestSeconds()), append(models, r.GetModel())
	}
	rows, err := t.tx.Query(ctx, claimed, t.run, chunks, revisions, requests, seconds, models)
	if err != nil {
		return nil, err
	}
	own, err := pgx.CollectRows(rows, pgx.RowTo[uint32])
	if err != nil {
		return nil, err
	}
	var replaced []uint32
	for _, r := range results {
		if !slices.Contains(own, r.GetChunk()) {
			continue
		}
		fresh = append(fresh, r)
		if r.GetRevision() > 0 {
			replaced = append(replaced, r.GetChunk())
		}
	}
	if len(replaced) == 0 {
		return fresh, nil
	}
	return fresh, forget(ctx, t.tx, t.run, replaced)
}

// rowsOf collects rows for COPY.
type rowsOf [][]any

func (r *rowsOf) add(values ...any) { *r = append(*r, values) }

// into copies the rows into a table.
func (r rowsOf) into(ctx context.Context, tx pgx.Tx, table string, columns ...string) error {
	if len(r) == 0 {
		return nil
	}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromRows(r))
	return err
}

// count counts the conversions by outcome.
func (t *taking) count(ctx context.Context, results []*ihcv1.AttributionResult) error {
	var rows rowsOf
	for _, r := range results {
		for _, c := range books.Counts(r) {
			rows.add(t.run, int64(r.GetChunk()), c.Outcome, c.Conversions, c.Touchpoints)
		}
	}
	return rows.into(ctx, t.tx, "pipeline_counts", "run", "chunk", "outcome", "conversions", "touchpoints")
}

// outcomes notes why conversions have no attribution.
func (t *taking) outcomes(ctx context.Context, results []*ihcv1.AttributionResult) error {
	var rows rowsOf
	for _, r := range results {
		for _, o := range r.GetOutcomes() {
			if !run.OutcomeOf(o.GetKind()).Attributed {
				rows.add(t.run, int64(r.GetChunk()), o.GetConvId(), run.OutcomeName(o.GetKind()), o.GetReason(), int64(o.GetSessions()))
			}
		}
	}
	return rows.into(ctx, t.tx, "pipeline_outcomes", "run", "chunk", "conv_id", "outcome", "reason", "sessions")
}

// journalColumns are those that a run's rows of the journal have.
const journalColumns = `run, chunk, conv_id, fingerprint, sessions, ihc, phases, strategy, left_out, model, scored, seal`

// journeys puts what was scored into the journal.
func (t *taking) journeys(ctx context.Context, results []*ihcv1.AttributionResult) error {
	if !slices.ContainsFunc(results, func(r *ihcv1.AttributionResult) bool { return len(r.GetAttributions()) > 0 }) {
		return nil
	}
	return copied(ctx, t.tx, "pipeline_journeys", journalColumns, func(to io.Writer) error {
		var row []byte
		for _, r := range results {
			for _, a := range r.GetAttributions() {
				shares, err := sharesOf(a)
				if err != nil {
					return fmt.Errorf("chunk %d, conversion %q: %w", r.GetChunk(), a.GetConvId(), err)
				}
				phases := phasesOf(shares)
				row = addInteger(beginRow(row, 12), int32(t.run))
				row = addSome(addText(addBigint(row, int64(r.GetChunk())), a.GetConvId()), a.GetFingerprint())
				row = addArray(row, textType, a.GetSessionIds(), addText[string])
				row = addSome(addArray(row, integerType, shares[0], addInteger), phases)
				of := a.GetApproximation()
				row = addSome(addBigint(addSome(row, of.GetStrategy()), int64(of.GetLeftOut())), of.GetModel())
				row = addText(addBigint(row, r.GetScored()), seal(a.GetConvId(), a.GetSessionIds(), shares[0], phases))
				if _, err := to.Write(row); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// sharesOf returns the shares of an attribution, as a whole and, where they are
// known, in each phase.
func sharesOf(a *ihcv1.Attribution) (shares [4][]int32, err error) {
	err = books.CheckShares(a)
	for i, of := range [][]uint32{a.GetIhc(), a.GetInitializer(), a.GetHolder(), a.GetCloser()} {
		shares[i] = asIntegers(of)
		if len(shares[i]) != len(of) {
			err = errors.Join(err, errors.New("a share is out of range"))
		}
	}
	if n := len(shares[0]); len(shares[1]) != n || len(shares[2]) != n || len(shares[3]) != n {
		shares[1], shares[2], shares[3] = nil, nil, nil // not known
	}
	return shares, err
}

// asIntegers returns shares as PostgreSQL's integers, fewer where one has no place
// in those.
func asIntegers(shares []uint32) []int32 {
	all := make([]int32, 0, len(shares))
	for _, s := range shares {
		if s > math.MaxInt32 {
			return nil
		}
		all = append(all, int32(s))
	}
	return all
}

func bytesOrNull(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}
