// Package attributor is the pipeline's second stage: it scores journey chunks
// with the IHC API or the built-in model and publishes the results. Any number
// of replicas share the work. It is the only stage that knows the API key.
package attributor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ihcapi"
	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/internal/retry"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/services/attributor/internal/scoring"
)

// Run scores chunks until ctx ends.
func Run(ctx context.Context, cfg Config, d service.Deps) error {
	a := &attributor{cfg: cfg, Deps: d, runs: map[string]*settings{}, metrics: newMetrics(d.Metrics)}
	a.Ready = func(err error) { a.setWaiting(err); d.SetReady(err) }
	a.ended = d.Bus.WatchEnded(ctx, func(e stream.Event, id string) { a.hear(ctx, e, id) })
	if _, err := cfg.ModelParams(""); err != nil {
		return err // now, and not at the first run
	}
	if cfg.APIKey != "" {
		calls, err := a.newCalls(cfg)
		if err != nil {
			return err
		}
		a.calls = calls
		defer calls.Client.Close()
	}
	stop, err := d.Bus.AnswerScoring(a.answer)
	if err != nil {
		return err
	}
	defer stop()
	d.Log.Info("scoring", "default_model", cfg.DefaultModel(), "workers", cfg.Workers)
	return stream.Consume(ctx, d.Bus, stream.Chunks, cfg.Workers, a.gate,
		stream.Proto(func() *ihcv1.JourneyChunk { return &ihcv1.JourneyChunk{} }), a.handle)
}

type attributor struct {
	cfg Config
	service.Deps
	ended   *stream.Ended
	calls   *scoring.Calls // nil without a key
	metrics *metrics

	mu   sync.Mutex
	runs map[string]*settings // those under way
	// waiting is what all are waited with for, nil while all is well.
	waiting error
	// sandboxes are the API sandboxes met so far, by URL.
	sandboxes map[string]*scoring.Calls
}

// settings is what one run is scored with.
type settings struct {
	scorer scoring.Scorer
	digest []byte // of what was settled

	pausing sync.Mutex
	paused  bool   // told so
	since   uint64 // under which event resumed
}

func (a *attributor) newCalls(cfg Config) (*scoring.Calls, error) {
	client, err := ihcapi.NewClient(ihcapi.ClientConfig{BaseURL: cfg.APIURL, Key: string(cfg.APIKey), Timeout: cfg.Timeout})
	if err != nil {
		return nil, err
	}
	calls := &scoring.Calls{Client: client, Breaker: &scoring.Breaker{}, Failures: &scoring.FailureTracker{}, Parts: parts{a.Bus}, Unanswered: a.unanswered, Payloads: a.cfg.Payloads, Log: a.Log, Observe: a.metrics.request}
	if a.cfg.Rate > 0 {
		calls.Limiter = rate.NewLimiter(rate.Limit(a.cfg.Rate), 1)
	}
	return calls, nil
}

// parts keeps the parts of divided chunks in the streams' state.
type parts struct{ bus *stream.Client }

func (p parts) Part(ctx context.Context, id scoring.Node) (*ihcv1.AttributionResult, error) {
	return p.bus.Part(ctx, id.Run, id.Chunk, id.Revision, id.Number)
}

func (p parts) KeepPart(ctx context.Context, id scoring.Node, r *ihcv1.AttributionResult) error {
	return p.bus.KeepPart(ctx, r, id.Number)
}

var errAnswered = errors.New("the chunk has its result")

// unanswered returns nil if the chunk has no result yet, errAnswered if it
// has (invariant 11). It is asked about every chunk that costs money, however often it was
// delivered: a server that crashed may have forgotten to count, and while it
// was away another process may have been given the chunk.
func (a *attributor) unanswered(ctx context.Context, chunk *ihcv1.JourneyChunk) error {
	stored, err := a.Bus.Result(ctx, chunk.GetRunId(), chunk.GetChunk())
	switch {
	case errors.Is(err, stream.ErrNotFound), err == nil && stored.GetRevision() < chunk.GetRevision():
		return nil
	case err == nil:
		return errAnswered
	default:
		return err
	}
}

// gate holds workers back while the API wants to be left alone. It goes without
// saying that this is over when a chunk is scored: see [service.Deps.Outcome].
func (a *attributor) gate(ctx context.Context) {
	for _, b := range a.breakers() {
		b.Wait(ctx, func(why error, next time.Time) {
			a.SetReady(why)
			a.mu.Lock()
			runs := slices.Collect(maps.Keys(a.runs))
			a.mu.Unlock()
			for _, id := range runs {
				a.Bus.WaitingUntil(ctx, id, why.Error(), next)
			}
		})
	}
}

func (a *attributor) setWaiting(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting = err
}

// hear lets go of what is kept of a run that has ended, and tells one that
// begins for what it will have to wait. With the last run ends the waiting, too:
// another replica may have seen it through.
func (a *attributor) hear(ctx context.Context, e stream.Event, id string) {
	a.mu.Lock()
	waiting := a.waiting
	if e != stream.EventAccepted {
		delete(a.runs, id)
	}
	last := len(a.runs) == 0
	a.mu.Unlock()
	switch {
	case waiting == nil:
	case e == stream.EventAccepted:
		a.Bus.Waiting(ctx, id, waiting.Error())
	case last:
		a.SetReady(nil)
	}
}

// handle takes one chunk to its published result, and only then lets go of it
// (invariant 1).
func (a *attributor) handle(ctx context.Context, m stream.Message[*ihcv1.JourneyChunk]) error {
	chunk := m.Body
	if err := scoring.Check(chunk); err != nil {
		return stream.Poison(err)
	}
	id := chunk.GetRunId()
	if a.ended.Has(id) || a.ended.Over(id) && chunk.GetRevision() == 0 {
		return a.Outcome(ctx, nil, id) // nor is anything waited for with it
	}
	s, err := a.settings(ctx, id)
	if err == nil {
		err = s.checkSettled(chunk)
	}
	if err != nil {
		return a.unable(ctx, id, err)
	}
	meter := a.Bus.MeterOf(id) // the same one when the request is answered after the run's end
	// A result that is there already was published by somebody who could not
	// acknowledge any more. Where scoring costs money, the look is taken right
	// before each request.
	if m.Redelivered() {
		if err := a.unanswered(ctx, chunk); err != nil {
			return a.trouble(ctx, s, m, meter, err)
		}
	}
	done, layDown := &scoring.Scored{}, func(*ihcv1.Progress, bool) {}
	if s.scorer.Name() == run.ModelAPI {
		begun, laid := time.Now(), false
		meter.Add(ctx, func(p *ihcv1.Progress) { stream.TakeInHand(p, begun) })
		layDown = func(p *ihcv1.Progress, done bool) { stream.LayDown(p, begun, time.Now(), done); laid = true }
		defer func() {
			if !laid {
				meter.Add(ctx, func(p *ihcv1.Progress) { layDown(p, false) })
			}
		}()
	}
	if len(chunk.GetJourneys()) > 0 {
		if done, err = s.scorer.Score(context.WithValue(ctx, deliveryKey{}, m.Delivery), chunk); err != nil {
			return a.trouble(ctx, s, m, meter, err)
		}
	}
	for _, x := range done.Attributions {
		x.Fingerprint = journey.ScoredBy(x.GetFingerprint(), s.digest)
	}
	err = a.Bus.PublishResult(ctx, &ihcv1.AttributionResult{
		RunId: id, Chunk: chunk.GetChunk(), Attributions: done.Attributions, Scoring: s.digest,
		Outcomes: append(chunk.GetOutcomes(), done.Outcomes...),
		Model:    s.scorer.Name(), Requests: done.Requests, RequestSeconds: done.Seconds, Revision: chunk.GetRevision(), Scored: time.Now().Unix(),
	})
	if err != nil {
		return a.Outcome(ctx, err, id)
	}
	a.metrics.chunk(chunk)
	meter.Add(ctx, func(p *ihcv1.Progress) {
		p.Conversions += uint64(len(done.Attributions)) + run.Attributed(chunk.GetOutcomes())
		p.Chunks++
		p.Requests += uint64(done.Requests)
		p.Waiting = ""
		layDown(p, true)
	})
	return a.Outcome(ctx, nil, id)
}

// unable says what it means that a chunk cannot even be tried. Where this
// attributor lacks what it takes, the chunk is given back for another one, and
// at a pace that leaves the others to those.
func (a *attributor) unable(ctx context.Context, id string, err error) error {
	var lacks *lackError
	if errors.As(err, &lacks) {
		err = stream.Retry(err, lackDelay/4)
		again := a.Outcome(ctx, err, id)
		_ = retry.Sleep(ctx, retry.Real, lackDelay) // if ctx ends, the chunk is given back at once
		return again
	}
	return a.Outcome(ctx, err, id)
}

// lackDelay is how long a worker rests that has met a chunk it cannot score.
const lackDelay = 2 * time.Second

// trouble says what it means that a chunk could not be scored.
func (a *attributor) trouble(ctx context.Context, s *settings, m stream.Message[*ihcv1.JourneyChunk], meter *stream.Meter, err error) error {
	id := m.Body.GetRunId()
	var e *ihcapi.Error
	var refused *refusedError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, stream.ErrVoid), errors.Is(err, errAnswered):
		err = nil
	case a.ended.Has(id): // meanwhile: nothing is waited for with it
		err = nil
	case errors.As(err, &refused):
		err = a.pause(ctx, s, id, refused.budget)
	case !errors.As(err, &e):
	case e.Kind == ihcapi.Transient:
		a.Log.Warn("the IHC API did not answer a chunk; it will be asked again", "run", id, "chunk", m.Body.GetChunk(), "tries", m.Tries, "error", err)
		meter.Add(ctx, func(p *ihcv1.Progress) { p.Retries++ })
		tries := m.Tries
		var repeated *scoring.Repeated
		if errors.As(err, &repeated) {
			tries = repeated.Times
		}
		err = stream.Retry(err, max(e.RetryAfter, retry.API.Delay(int(tries))))
	default: // the key or the address: no chunk of the run will do better
		err = errkind.As(errkind.Environment, err)
	}
	return a.Outcome(ctx, err, id)
}

// settings returns what a run is scored with, as its event accepted says.
// Input and environment faults in it concern every chunk of the run.
func (a *attributor) settings(ctx context.Context, id string) (*settings, error) {
	a.mu.Lock()
	s := a.runs[id]
	a.mu.Unlock()
	if s != nil {
		return s, nil
	}
	accepted, err := a.Bus.Accepted(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("settings of run %s: %w", id, err)
	}
	settled, err := a.settled(ctx, accepted, id)
	if err != nil {
		return nil, err
	}
	scorer, err := a.scorer(settled, accepted.GetRequest())
	if err != nil {
		return nil, err
	}
	s = &settings{scorer: scorer, digest: run.ScoringDigest(settled)}
	a.mu.Lock()
	defer a.mu.Unlock()
	if was := a.runs[id]; was != nil {
		return was, nil // another worker was faster, and has counted
	}
	a.runs[id] = s
	return s, nil
}
