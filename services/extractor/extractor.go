// Package extractor is the pipeline's first stage. It takes run requests,
// checks the source data, builds the journeys of the conversions in range and
// publishes them in chunks that each fit one request to the IHC API.
package extractor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/packing"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/open"

	"golang.org/x/sync/errgroup"
)

// Config is the extractor's environment.
type Config struct {
	// Database is the path of the SQLite database with the source tables.
	Database string `envconfig:"IHC_DB" default:"/data/ihc.db" desc:"the database: path of a SQLite file, or postgres://…"`
	// LongJourneys is what becomes of journeys with more sessions than a request
	// may hold, for runs that do not say.
	LongJourneys string `envconfig:"IHC_LONG_JOURNEYS" default:"latest" desc:"what becomes of journeys longer than a request: latest, cut, builtin or exclude"`
	// SliceConversions is of how many conversions a slice is that extractors share;
	// 0 for [packing.SliceConversions]. All extractors of a database have the same.
	SliceConversions int `ignored:"true"`
}

// Validate returns an input fault that names the variable that is wrong.
func (c Config) Validate() error {
	if err := run.CheckLongJourneys(c.LongJourneys); err != nil {
		return errkind.Inputf("IHC_LONG_JOURNEYS: %w", err)
	}
	return nil
}

// Run processes run requests, one at a time, and beside them slices of runs that
// are shared, one at a time, until ctx ends.
func Run(ctx context.Context, cfg Config, d service.Deps) error {
	db := open.Database(cfg.Database)
	defer db.Close() //nolint:errcheck // every transaction is committed or gone
	return runOn(ctx, db, cfg, d)
}

func runOn(ctx context.Context, db store.Database, cfg Config, d service.Deps) error {
	d.Check(service.Database, db.Check)
	under := &underWay{runs: map[string]*ihcv1.RunAccepted{}}
	e := &extractor{db: db, longJourneys: cmp.Or(cfg.LongJourneys, run.DefaultLongJourneys), sliceSize: cmp.Or(cfg.SliceConversions, packing.SliceConversions), Deps: d, under: under, ended: d.Bus.WatchEnded(ctx, under.hear)}
	switch err := e.goOn(ctx); {
	case ctx.Err() != nil:
		return nil //nolint:nilerr // told to stop, which is no failure
	case err != nil:
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { e.watch(ctx); return nil })
	group.Go(func() error { return stream.Consume(ctx, d.Bus, stream.Requests, 1, nil, decode, e.handle) })
	group.Go(func() error {
		decode := stream.Proto(func() *ihcv1.Slice { return &ihcv1.Slice{} })
		return stream.Consume(ctx, d.Bus, stream.Slices, 1, nil, decode, e.slice)
	})
	group.Go(func() error { return d.Look(ctx, e.ended, e.lookAfter) })
	return group.Wait()
}

// decode reads a request, or an event, which alone names its run in the
// subject. It does not fail on a request: one that cannot be read becomes a
// failed run, which tells its publisher more than a dead letter alone would.
func decode(d stream.Delivery, data []byte) (request, error) {
	if d.Run != "" {
		e, err := stream.DecodeEvent(d, data)
		return request{event: e}, err
	}
	r, err := run.Decode(data)
	return request{RunRequest: r, err: err}, nil
}

type request struct {
	*ihcv1.RunRequest
	err   error
	event *ihcv1.RunEvent // in place of a request: resumed or failed
}

type extractor struct {
	db           store.Database
	longJourneys string // where a run does not say
	sliceSize    int    // in conversions
	service.Deps
	ended *stream.Ended
	under *underWay

	checked checked
	// What the last look at a run found to be without a result, and to be lost.
	missing, lost service.Noticed
}

// handle takes one request to its end: chunks and the event extracted, or the
// event failed. Only then is the request acknowledged (invariant 1).
func (e *extractor) handle(ctx context.Context, m stream.Message[request]) error {
	defer e.db.Close() //nolint:errcheck // every transaction is committed or gone; no run is under way here
	switch {
	case m.Body.event.GetResumed() != nil:
		return e.resume(ctx, m.Run, m.Body.event.GetResumed(), m.Sequence)
	case m.Body.event != nil:
		next, err := e.successor(ctx, m.Body.event)
		if next == nil {
			return err
		}
		m.Body = request{RunRequest: next}
	}
	id, asked := run.IDOf(m.Body.RunRequest, m.Time, m.Sequence), run.Asked(m.Time, m.Sequence)
	log := e.Log.With("run", id)
	if another, err := e.isAnother(ctx, id, m.Body); another || err != nil {
		return e.Outcome(ctx, err)
	}
	if e.ended.Over(id) {
		if over, err := e.unheard(ctx, id, asked); err != nil || over {
			return e.Outcome(ctx, err, id)
		}
		e.ended.Forget(id) // the streams were emptied since: it is another run of that name
	}
	switch _, err := e.Bus.Extracted(ctx, id); {
	case err == nil:
		return nil // a request published twice, or delivered again after its last step
	case !errors.Is(err, stream.ErrNotFound):
		return e.Outcome(ctx, err, id)
	}
	log.Info("run requested", "tries", m.Tries)
	start := time.Now()
	counts, err := e.untilEnded(ctx, id, func(ctx context.Context) (*ihcv1.Counts, error) { return e.extract(ctx, id, asked, m.Body) })
	whole := err == nil
	switch {
	case errors.Is(err, errEnded), errors.Is(err, stream.ErrOver):
		err = nil // cancelled, or failed elsewhere
	case err != nil && (m.Lost() || e.takenOver(ctx, id)):
		log.Warn("another extractor took the run over; this one lets go of it", "error", err)
		return err // not settled: see [stream.Delivery.Lost]
	case err == nil:
		log.Info("run extracted", "conversions", counts.GetInRange(), "journeys", run.WithAttribution(counts),
			"touchpoints", counts.GetTouchpoints(), "seconds", time.Since(start).Seconds())
	}
	if err := e.Outcome(ctx, err, id); err != nil {
		return err
	}
	if m.Body.err != nil {
		return stream.Poison(m.Body.err) // keep the bytes for whoever wonders (invariant 5)
	}
	if whole {
		return nil
	}
	if _, err := e.unheard(ctx, id, asked); err != nil {
		return e.Outcome(ctx, err)
	}
	return nil
}

// takenOver says whether another extractor has taken the run to its end
// meanwhile, so that whatever befell this one is nothing to the run.
func (e *extractor) takenOver(ctx context.Context, id string) bool {
	_, err := e.Bus.Extracted(ctx, id)
	return err == nil
}

// resumeDelay is when it is looked again whether a run was accepted that is to go on.
const resumeDelay = 2 * time.Second

// resume gives a paused run its new budget and puts its chunks back. Both may
// be done twice.
func (e *extractor) resume(ctx context.Context, id string, r *ihcv1.RunResumed, at uint64) error {
	if e.ended.Over(id) {
		e.Log.Warn("a run that has ended was to go on; that changes nothing", "run", id)
		return nil
	}
	switch begun, err := e.Bus.Begun(ctx, id); {
	case errors.Is(err, stream.ErrNotFound), err == nil && at < begun:
		e.Log.Warn("a run was to go on that was not there; that changes nothing", "run", id)
		return nil
	case err != nil:
		return e.Outcome(ctx, err, id)
	}
	if _, err := e.Bus.Accepted(ctx, id); errors.Is(err, stream.ErrNotFound) {
		return stream.Retry(err, resumeDelay) // it waits, or is being checked
	}
	if goesOn, err := e.goOnWith(ctx, id); !goesOn {
		return err
	}
	budget, err := e.Bus.Lift(ctx, id, r.GetMaxRequests(), at)
	if err != nil {
		return fmt.Errorf("resume run %s: %w", id, err)
	}
	chunks, err := e.Bus.PutBack(ctx, id, budget.GetBarrier())
	if err != nil {
		return fmt.Errorf("put back the chunks of run %s: %w", id, err)
	}
	e.Log.Info("run resumed", "run", id, "chunks", chunks)
	// Some may have aged out of the stream while it was paused.
	return e.Outcome(ctx, e.putBackLost(ctx, id, true), id)
}

// untilEnded extracts a run for as long as nobody ends it: a single statement of
// the database may take for ever.
func (e *extractor) untilEnded(ctx context.Context, id string, extract func(context.Context) (*ihcv1.Counts, error)) (*ihcv1.Counts, error) {
	working, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	e.under.work(id, cancel)
	defer e.under.work(id, nil)
	if e.ended.Over(id) { // while it was told
		return nil, errEnded
	}
	counts, err := extract(working)
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(working), errEnded) {
		err = errEnded
	}
	return counts, err
}

// errEnded says that the run was cancelled or failed while it was extracted.
var errEnded = errors.New("the run was ended")

func (e *extractor) extract(ctx context.Context, id, asked string, r request) (*ihcv1.Counts, error) {
	if r.err != nil {
		return nil, r.err
	}
	req, err := run.Complete(r.RunRequest)
	if err != nil {
		return nil, err
	}
	req.RunId = id
	req.LongJourneys = cmp.Or(req.GetLongJourneys(), e.longJourneys)
	if req.GetReplayOf() != "" {
		return e.replay(ctx, req, asked)
	}
	return e.fromDatabase(ctx, req, asked)
}

// finish closes the run's chunks.
func (e *extractor) finish(ctx context.Context, id string, chunks uint32, counts *ihcv1.Counts) error {
	err := e.Bus.PublishEvent(ctx, &ihcv1.RunEvent{RunId: id, Event: &ihcv1.RunEvent_Extracted{
		Extracted: &ihcv1.RunExtracted{Chunks: chunks, Counts: counts}}})
	if err != nil {
		return fmt.Errorf("tell the end of extraction: %w", err)
	}
	return nil
}

// unsoundError is source data that cannot give a true result.
type unsoundError struct {
	lines []string
	err   error
}

func (u *unsoundError) Error() string { return u.err.Error() }
func (u *unsoundError) Unwrap() error { return u.err }

// Details returns each finding in a line of its own, for the failed run.
func (u *unsoundError) Details() []string { return u.lines }
