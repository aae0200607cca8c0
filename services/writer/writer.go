// Package writer is the pipeline's third stage: it stores results and the
// ledger of runs in one transaction, and tells when a run is complete.
package writer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

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
	Database string `envconfig:"IHC_DB" default:"/data/ihc.db" desc:"path of the SQLite database"`
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

// Run stores results until ctx ends. Two writers on one database do no harm:
// each result is stored by whoever comes first.
func Run(ctx context.Context, cfg Config, d service.Deps) error {
	db := open.Database(cfg.Database)
	defer db.Close() //nolint:errcheck // every transaction is committed or gone
	d.Check(service.Database, db.Check)
	w := &writer{Deps: d, ledger: db, ended: d.Bus.WatchEnded(ctx), metrics: newMetrics(d.Metrics)}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return stream.ConsumeBatches(ctx, d.Bus, stream.Scored, cfg.Batch, decode, w.results)
	})
	group.Go(func() error {
		return stream.Consume(ctx, d.Bus, stream.Milestones, 1, nil, stream.DecodeEvent, w.milestone)
	})
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
}

// results stores a batch, and only then are its messages acknowledged
// (invariant 1).
func (w *writer) results(ctx context.Context, batch []stream.Message[*ihcv1.AttributionResult]) error {
	var store []*ihcv1.AttributionResult
	for _, m := range batch {
		if !w.ended.Has(m.Run) {
			store = append(store, m.Body)
		}
	}
	if len(store) == 0 {
		return w.Outcome(ctx, nil)
	}
	touched := map[string]*ihcv1.Progress{}
	for _, r := range store {
		did := touched[r.GetRunId()]
		if did == nil {
			did = &ihcv1.Progress{}
			touched[r.GetRunId()] = did
		}
		did.Conversions += uint64(len(r.GetAttributions()) + len(r.GetOutcomes()))
		did.Chunks++
	}
	if err := w.ledger.Store(ctx, store); err != nil {
		return w.Outcome(ctx, err, slices.Collect(maps.Keys(touched))...)
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
		err = w.ledger.Accept(ctx, e.Accepted.GetRequest())
	case *ihcv1.RunEvent_Extracted:
		if err = w.extracted(ctx, id, e.Extracted); err == nil {
			return w.finish(ctx, id)
		}
	case *ihcv1.RunEvent_Failed:
		// A run that never began has no place in the database: there may be
		// none, or it may be what the run failed on.
		if _, notFound := w.Bus.Accepted(ctx, id); notFound == nil {
			err = errors.Join(w.ledger.End(ctx, id, endOf(e.Failed)), w.ledger.Close())
		}
		if err == nil {
			w.metrics.endedEarly.WithLabelValues("failed").Inc()
		}
	case *ihcv1.RunEvent_Cancelled:
		if err = errors.Join(w.ledger.End(ctx, id, store.Cancelled), w.ledger.Close()); err == nil {
			w.metrics.endedEarly.WithLabelValues("cancelled").Inc()
		}
	}
	return w.Outcome(ctx, err, id)
}

// endOf returns what the ledger calls a run that failed.
func endOf(f *ihcv1.RunFailed) store.Status {
	if f.GetSupersededBy() != "" {
		return store.Superseded
	}
	return store.Failed
}

// extracted records what a run has to come to. Its event accepted may still be
// in the hands of a process that died; without it the run is not to end.
func (w *writer) extracted(ctx context.Context, id string, e *ihcv1.RunExtracted) error {
	accepted, err := w.Bus.Accepted(ctx, id)
	if err != nil {
		return err
	}
	if err := w.ledger.Accept(ctx, accepted.GetRequest()); err != nil {
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
	chunks := map[uint32]bool{}
	var batch []*ihcv1.AttributionResult
	err := w.Bus.EachResult(ctx, accepted.GetResultsRun(), func(r *ihcv1.AttributionResult) error {
		if w.ended.Has(id) {
			return nil
		}
		r.RunId = id
		chunks[r.GetChunk()] = true
		if batch = append(batch, r); len(batch) < 64 {
			return nil
		}
		store := batch
		batch = nil
		return w.ledger.Store(ctx, store)
	})
	if err != nil {
		return err
	}
	if len(batch) > 0 {
		if err := w.ledger.Store(ctx, batch); err != nil {
			return err
		}
	}
	if len(chunks) != int(e.GetChunks()) && !w.ended.Has(id) {
		err := errkind.Inputf("only %d of the %d results of run %s are stored; replay it from its journeys", len(chunks), e.GetChunks(), accepted.GetResultsRun())
		return w.Bus.PublishEvent(ctx, run.Failed(id, stream.StageWriter, err))
	}
	return nil
}

// finish tells that a run is complete, if it is.
func (w *writer) finish(ctx context.Context, id string) error {
	s, err := w.ledger.Finish(ctx, id)
	switch {
	case err != nil:
		return w.Outcome(ctx, err, id)
	case !s.Complete:
		return nil
	case s.Wrong != "":
		err = w.Bus.PublishEvent(ctx, run.Failed(id, stream.StageWriter, errors.New("the counts of the run do not add up: "+s.Wrong)))
	default:
		err = w.Bus.PublishEvent(ctx, &ihcv1.RunEvent{RunId: id, Event: &ihcv1.RunEvent_Written{Written: &ihcv1.RunWritten{
			Counts: s.Counts, Requests: s.Requests, Model: s.Model, Revision: s.Revision}}})
	}
	if err != nil {
		return w.Outcome(ctx, err, id)
	}
	w.Log.Info("run written", "run", id, "conversions", s.Counts.GetInRange(), "attributed", run.WithAttribution(s.Counts), "failed", s.Counts.GetFailed())
	return w.ledger.Close()
}
