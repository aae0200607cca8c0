// Package writer is the pipeline's third stage: it stores results and the
// ledger of runs in one transaction, and tells when a run is complete.
package writer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/open"

	"golang.org/x/sync/errgroup"
)

// Config is the writer's environment.
type Config struct {
	// Database is the path of the SQLite database that gets the results.
	Database string `envconfig:"IHC_DB" default:"/data/ihc.db" desc:"the database: path of a SQLite file, or postgres://…"`
	// Batch is how many results go into one transaction at the most.
	Batch int `envconfig:"IHC_WRITE_BATCH" default:"128" desc:"most results in one transaction"`
}

// Validate returns an input fault that names the variable that is wrong.
func (c Config) Validate() error {
	if c.Batch < 1 || c.Batch > 1000 {
		return errkind.Inputf("IHC_WRITE_BATCH is %d: use a number from 1 to 1000", c.Batch)
	}
	return nil
}

// Run stores results until ctx ends. Any number of writers share the results of a
// run: each is stored by whoever claims it first. PostgreSQL gets faster by it; a
// SQLite file takes one writer at a time, so that a second one is told so.
func Run(ctx context.Context, cfg Config, d service.Deps) error {
	db := open.Database(cfg.Database)
	defer db.Close() //nolint:errcheck // every transaction is committed or gone
	d.Check(service.Database, db.Check)
	w := &writer{Deps: d, ledger: db, metrics: newMetrics(d.Metrics), owned: map[string]bool{}}
	w.ended = d.Bus.WatchEnded(ctx, w.hear)
	group, ctx := errgroup.WithContext(ctx)
	atATime := 1
	if open.IsAddress(cfg.Database) { // where others may store beside it, and so may it itself
		atATime = 2
	}
	for range atATime {
		group.Go(func() error {
			return stream.ConsumeBatches(ctx, d.Bus, stream.Scored, cfg.Batch, decode, w.results)
		})
	}
	group.Go(func() error {
		return stream.Consume(ctx, d.Bus, stream.Milestones, 1, nil, stream.DecodeEvent, w.milestone)
	})
	group.Go(func() error { return d.Look(ctx, w.ended, w.lookAfter) })
	if !open.IsAddress(cfg.Database) {
		group.Go(func() error { w.tellAlone(ctx); return nil })
	}
	return group.Wait()
}

// decode refuses results that could only be stored wrongly.
func decode(d stream.Delivery, data []byte) (*ihcv1.AttributionResult, error) {
	r, err := stream.Proto(func() *ihcv1.AttributionResult { return &ihcv1.AttributionResult{} })(d, data)
	if err != nil {
		return nil, err
	}
	if r.GetRunId() != d.Run || r.GetChunk() != d.Chunk {
		return nil, fmt.Errorf("it says run %q, chunk %d, its subject %s", r.GetRunId(), r.GetChunk(), d.Subject)
	}
	for _, a := range r.GetAttributions() {
		if len(a.GetSessionIds()) != len(a.GetIhc()) || len(a.GetIhc()) == 0 {
			return nil, fmt.Errorf("conversion %q has %d sessions and %d shares", a.GetConvId(), len(a.GetSessionIds()), len(a.GetIhc()))
		}
	}
	return r, nil
}

type writer struct {
	service.Deps
	metrics *metrics
	ledger  store.Database
	ended   *stream.Ended

	// finishing is held while a run is brought to the table: the last result and the
	// event extracted may both find it complete.
	finishing sync.Mutex

	missing service.Noticed // results, at the last look

	mu    sync.Mutex
	owned map[string]bool // runs that were found to be this database's
}

// results stores a batch, and only then are its messages acknowledged
// (invariant 1).
func (w *writer) results(ctx context.Context, batch []stream.Message[*ihcv1.AttributionResult]) error {
	var results []*ihcv1.AttributionResult
	touched := map[string]*ihcv1.Progress{}
	for _, m := range batch {
		if !w.ended.Has(m.Run) {
			results = append(results, m.Body)
			did := touched[m.Run]
			if did == nil {
				did = &ihcv1.Progress{}
				touched[m.Run] = did
			}
			did.Conversions += uint64(len(m.Body.GetAttributions()) + len(m.Body.GetOutcomes()))
			did.Chunks++
		}
	}
	if len(results) == 0 {
		return w.Outcome(ctx, nil)
	}
	runs := slices.Sorted(maps.Keys(touched))
	err := w.own(ctx, runs)
	if err == nil {
		err = w.ledger.Store(ctx, results)
	}
	if err != nil {
		return w.trouble(ctx, err, runs...)
	}
	w.SetReady(nil)
	for id, did := range touched {
		w.Bus.MeterOf(id).Add(ctx, func(p *ihcv1.Progress) {
			p.Conversions += did.GetConversions()
			p.Chunks += did.GetChunks()
			p.Waiting = ""
		})
		if err := w.finish(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// milestone records what happened to a run outside the results.
func (w *writer) milestone(ctx context.Context, m stream.Message[*ihcv1.RunEvent]) error {
	id := m.Body.GetRunId()
	var err error
	switch e := m.Body.GetEvent().(type) {
	case *ihcv1.RunEvent_Accepted:
		if err = w.ledger.Accept(ctx, e.Accepted); err == nil {
			err = w.overAlready(ctx, id)
		}
	case *ihcv1.RunEvent_Extracted:
		if err = w.extracted(ctx, id, e.Extracted); err == nil {
			return w.finish(ctx, id)
		}
	case *ihcv1.RunEvent_Failed, *ihcv1.RunEvent_Cancelled:
		return w.ending(ctx, id, m.Body)
	}
	return w.trouble(ctx, err, id)
}

// ending records that a run was ended before its time, if that is its first end.
func (w *writer) ending(ctx context.Context, id string, e *ihcv1.RunEvent) error {
	first, err := w.Bus.Over(ctx, id)
	if err != nil {
		return w.Outcome(ctx, err, id)
	}
	if first == nil {
		w.Log.Warn("a run was ended that was not there; that changes nothing", "run", id, "reason", e.GetFailed().GetReason()+e.GetCancelled().GetReason())
		return w.Outcome(ctx, nil, id)
	}
	if first.GetReported() != nil || first.GetFailed() == nil && e.GetFailed() != nil || first.GetCancelled() == nil && e.GetCancelled() != nil {
		w.Log.Warn("the run had ended; what comes after that changes nothing", "run", id, "reason", e.GetFailed().GetReason()+e.GetCancelled().GetReason())
		return w.Outcome(ctx, nil, id)
	}
	status := store.EndedAs(e)
	switch e := e.GetEvent().(type) {
	case *ihcv1.RunEvent_Failed:
		if err = w.end(ctx, id, status); err == nil {
			w.metrics.endedEarly.WithLabelValues("failed").Inc()
		}
	case *ihcv1.RunEvent_Cancelled:
		if _, notFound := w.Bus.Accepted(ctx, id); errors.Is(notFound, stream.ErrNotFound) {
			w.Log.Info("run cancelled before it was accepted", "run", id, "reason", e.Cancelled.GetReason())
			break
		}
		w.Log.Info("run cancelled", "run", id, "reason", e.Cancelled.GetReason())
		if err = w.end(ctx, id, status); err == nil {
			w.metrics.endedEarly.WithLabelValues("cancelled").Inc()
		}
	}
	return w.trouble(ctx, err, id)
}

// overAlready records the end of a run that was ended at the moment it was accepted.
func (w *writer) overAlready(ctx context.Context, id string) error {
	end, err := w.Bus.Over(ctx, id)
	if status := store.EndedAs(end); status != "" {
		return w.end(ctx, id, status)
	}
	return err
}

// extracted records what a run has to come to. Its event accepted may still be
// in the hands of a process that died; without it the run is not to end.
func (w *writer) extracted(ctx context.Context, id string, e *ihcv1.RunExtracted) error {
	accepted, err := w.Bus.Accepted(ctx, id)
	if err != nil {
		return err
	}
	if err := w.ledger.Accept(ctx, accepted); err != nil {
		return err
	}
	if err := w.ledger.Expect(ctx, id, e); err != nil {
		return err
	}
	if accepted.GetResultsRun() == "" {
		return nil
	}
	return w.replay(ctx, id, accepted, e)
}

// replay stores the results of an earlier run again.
func (w *writer) replay(ctx context.Context, id string, accepted *ihcv1.RunAccepted, e *ihcv1.RunExtracted) error {
	origin := accepted.GetResultsRun()
	stored, err := w.Bus.Scored(ctx, origin)
	if err != nil {
		return err
	}
	n := 0
	for chunk := range stored {
		if chunk >= 1 && chunk <= e.GetChunks() {
			n++
		}
	}
	// Before anything is stored, let alone shown.
	if n != int(e.GetChunks()) {
		return errkind.Inputf("only %d of the %d results of run %s are stored; replay it from its journeys, or start a new run if `ihc forget` or age took these too", n, e.GetChunks(), origin)
	}
	return w.storeAgain(ctx, origin, id, func(uint32) bool { return true })
}

// storeAgain stores the wanted results that are in the stream of one run as those
// of another, or of the same.
func (w *writer) storeAgain(ctx context.Context, from, id string, wanted func(chunk uint32) bool) error {
	var batch []*ihcv1.AttributionResult
	store := func() error {
		all := batch
		batch = nil
		if len(all) == 0 || w.ended.Has(id) {
			return nil
		}
		return w.ledger.Store(ctx, all)
	}
	err := w.Bus.EachResult(ctx, from, func(r *ihcv1.AttributionResult) error {
		if !wanted(r.GetChunk()) {
			return nil
		}
		r.RunId = id
		if batch = append(batch, r); len(batch) < 64 {
			return nil
		}
		return store()
	})
	if err != nil {
		return err
	}
	return store()
}

// lookAfter sees to a run whose results were acknowledged and are not in the
// ledger, as in a database that was restored from a backup, if it does not get on.
func (w *writer) lookAfter(ctx context.Context, id string) error {
	e, err := w.Bus.Extracted(ctx, id)
	if err != nil {
		return err
	}
	missing, err := w.ledger.Missing(ctx, id, e.GetChunks())
	if err != nil || !w.missing.Again(w.ended, id, missing) {
		return err // all of them are, or it gets on
	}
	done, err := w.Bus.Done(ctx, stream.Scored)
	if err != nil {
		return err
	}
	accepted, err := w.Bus.Accepted(ctx, id)
	if err != nil || accepted.GetResultsRun() != "" {
		return err // stored in one go: see replay
	}
	results, err := w.Bus.Scored(ctx, id)
	if err != nil {
		return err
	}
	if missing, err = w.ledger.Missing(ctx, id, e.GetChunks()); err != nil {
		return err
	}
	lost := map[uint32]bool{}
	for _, chunk := range missing {
		if at := results[chunk]; at > 0 && at <= done {
			lost[chunk] = true
		}
	}
	if len(lost) == 0 {
		return nil
	}
	w.Log.Warn("results of the run were acknowledged and are not in the ledger; they are stored again", "run", id, "chunks", len(lost))
	if err := w.extracted(ctx, id, e); err != nil {
		return err
	}
	if err := w.storeAgain(ctx, id, id, func(chunk uint32) bool { return lost[chunk] }); err != nil {
		return err
	}
	return w.finish(ctx, id)
}

// turn returns an error that has a run wait that is complete while another is
// written and not reported: what the proof of that one is of, this one would
// change. It waits for five minutes at the most, since a report may never come.
// Where it is not complete there is nothing to be done for it now, even if its last
// result comes in this moment: whoever stores that looks again, and waits.
func (w *writer) turn(ctx context.Context, id string) (now bool, err error) {
	for _, other := range w.ended.Open() {
		if other == id {
			continue
		}
		at, err := w.Bus.WrittenAt(ctx, other)
		if errors.Is(err, stream.ErrNotFound) || err == nil && time.Since(at) > 5*time.Minute {
			continue
		}
		if err != nil {
			return false, w.Outcome(ctx, err, id)
		}
		e, err := w.Bus.Extracted(ctx, id)
		if errors.Is(err, stream.ErrNotFound) {
			return false, nil
		}
		var missing []uint32
		if err == nil {
			missing, err = w.ledger.Missing(ctx, id, e.GetChunks())
		}
		if err != nil || len(missing) > 0 {
			return false, w.Outcome(ctx, err, id)
		}
		why := fmt.Errorf("waiting for the report of run %s, which is written", other)
		w.Bus.Waiting(ctx, id, why.Error())
		return false, stream.Retry(why, time.Second/2)
	}
	return true, nil
}

// finish tells that a run is complete, if it is.
func (w *writer) finish(ctx context.Context, id string) error {
	// What the writer hears of ends may come too late to keep a run from showing.
	if end, err := w.Bus.Over(ctx, id); err != nil || end != nil && end.GetReported() == nil {
		return w.Outcome(ctx, err, id)
	}
	if now, err := w.turn(ctx, id); !now || err != nil {
		return err
	}
	w.finishing.Lock()
	tell, end := w.Bus.MeterOf(id).Step(ctx, run.StepSweep)
	s, err := w.ledger.Finish(store.OnStep(ctx, tell), id)
	end()
	w.finishing.Unlock()
	first := false
	switch {
	case err != nil:
		return w.trouble(ctx, err, id)
	case !s.Complete:
		return nil
	case s.Wrong != "":
		err = w.Bus.PublishEvent(ctx, run.Failed(id, stream.StageWriter, errors.New("the counts of the run do not add up: "+s.Wrong)))
	default:
		first, err = w.Bus.PublishFirst(ctx, &ihcv1.RunEvent{RunId: id, Event: &ihcv1.RunEvent_Written{Written: &ihcv1.RunWritten{
			Counts: s.Counts, Requests: s.Requests, Model: s.Model, Revision: s.Revision}}})
	}
	if err != nil {
		return w.Outcome(ctx, err, id)
	}
	if first {
		w.Log.Info("run written", "run", id, "conversions", s.Counts.GetInRange(), "attributed", run.WithAttribution(s.Counts), "failed", s.Counts.GetFailed())
	}
	return w.ledger.Close()
}
