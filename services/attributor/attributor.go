// Package attributor is the pipeline's second stage: it scores journey chunks
// with the IHC API or the built-in model and publishes the results. Any number
// of replicas share the work. It is the only stage that knows the API key.
package attributor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ihcapi"
	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
	"github.com/ihc-pipeline/ihc/internal/retry"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/services/attributor/internal/scoring"
)

// Config is the attributor's environment.
type Config struct {
	APIKey     Secret        `envconfig:"IHC_API_KEY" desc:"key of the IHC API; without one, the built-in model scores"`
	APIURL     string        `envconfig:"IHC_API_URL" default:"https://api.ihc-attribution.com/v1" desc:"base URL of the IHC API"`
	ConvTypeID string        `envconfig:"IHC_CONV_TYPE_ID" desc:"trained conversion type, for runs that name none"`
	Model      string        `envconfig:"IHC_MODEL" desc:"api or builtin, for runs that name none; default api with a key, builtin without"`
	Workers    int           `envconfig:"IHC_CONCURRENCY" default:"4" desc:"chunks scored at once"`
	Rate       float64       `envconfig:"IHC_REQUEST_RATE" default:"0" desc:"most requests a second; 0 sets no bound"`
	Timeout    time.Duration `envconfig:"IHC_API_TIMEOUT" default:"60s" desc:"how long one request may take"`
	Payloads   string        `envconfig:"IHC_PAYLOADS" desc:"directory to save each request's body in"`
	Sandbox    string        `envconfig:"IHC_SANDBOX_URL_FILE" desc:"file that holds the URL of an API sandbox while one runs, which then takes the API's place"`
	Params     string        `envconfig:"IHC_MODEL_PARAMS" desc:"file with the built-in model's parameters, for runs that bring none"`
}

// Secret is a text that shows itself nowhere by accident.
type Secret string

// String hides the text from formatting and logs.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "(hidden)"
}

// GoString hides the text from %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText hides the text from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Validate returns an input fault that names the variable that is wrong.
func (c Config) Validate() error {
	switch {
	case c.Workers < 1 || c.Workers > 1000:
		return errkind.Inputf("IHC_CONCURRENCY is %d: use a number from 1 to 1000", c.Workers)
	case !(c.Rate >= 0): // NaN is neither
		return errkind.Inputf("IHC_REQUEST_RATE is %v: it cannot be negative", c.Rate)
	case c.Timeout <= 0:
		return errkind.Inputf("IHC_API_TIMEOUT is %s: it must be longer than 0s", c.Timeout)
	case c.Model != "" && c.Model != run.ModelAPI && c.Model != run.ModelBuiltin:
		return errkind.Inputf("IHC_MODEL is %q: use %s or %s", c.Model, run.ModelAPI, run.ModelBuiltin)
	case c.Model == run.ModelAPI && c.APIKey == "":
		return errkind.Inputf("IHC_MODEL is api but IHC_API_KEY is not set")
	}
	return nil
}

// DefaultModel returns what scores runs that name no model: what is set, or
// the API where there is a key, or the built-in model.
func (c Config) DefaultModel() string {
	switch {
	case c.Model != "":
		return c.Model
	case c.APIKey != "":
		return run.ModelAPI
	default:
		return run.ModelBuiltin
	}
}

// ModelParams returns the parameters the built-in model scores a run with:
// those the run brings as a JSON text, or those of the file that is set, or
// the default ones.
func (c Config) ModelParams(text string) (*ihcmodel.Params, error) {
	from := "of the run"
	switch {
	case text == "" && c.Params == "":
		return ihcmodel.DefaultParams(), nil
	case text == "":
		data, err := os.ReadFile(c.Params)
		if err != nil {
			return nil, errkind.Environmentf("IHC_MODEL_PARAMS: %w", err)
		}
		from, text = c.Params, string(data)
	}
	p, err := ihcmodel.ParseParams([]byte(text))
	if err != nil {
		return nil, errkind.Inputf("model parameters %s: %w", from, err)
	}
	return p, nil
}

// Run scores chunks until ctx ends.
func Run(ctx context.Context, cfg Config, d service.Deps) error {
	a := &attributor{cfg: cfg, Deps: d, ended: d.Bus.WatchEnded(ctx), runs: map[string]*settings{}, metrics: newMetrics(d.Metrics)}
	params, err := cfg.ModelParams("")
	if err != nil {
		return err
	}
	if a.model, err = ihcmodel.New(params); err != nil {
		return errkind.As(errkind.Input, err)
	}
	if cfg.APIKey != "" {
		if a.calls, err = a.newCalls(cfg); err != nil {
			return err
		}
		defer a.calls.Client.Close()
	}
	d.Log.Info("scoring", "default_model", cfg.DefaultModel(), "workers", cfg.Workers)
	return stream.Consume(ctx, d.Bus, stream.Chunks, cfg.Workers, a.gate,
		stream.Proto(func() *ihcv1.JourneyChunk { return &ihcv1.JourneyChunk{} }), a.handle)
}

type attributor struct {
	cfg Config
	service.Deps
	ended   *stream.Ended
	model   *ihcmodel.Model // for runs without parameters of their own
	calls   *scoring.Calls  // nil without a key
	metrics *metrics

	mu   sync.Mutex
	runs map[string]*settings
	// sandboxes are the API sandboxes met so far, by URL.
	sandboxes map[string]*scoring.Calls
}

// settings is what one run is scored with.
type settings struct {
	scorer scoring.Scorer
	meter  *stream.Meter

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
		return stream.Retry(err, time.Second)
	}
}

// gate holds workers back while the API wants to be left alone.
func (a *attributor) gate(ctx context.Context) {
	for _, b := range a.breakers() {
		b.Wait(ctx, func(why error) {
			a.Log.Warn("waiting for the IHC API", "reason", why)
			a.mu.Lock()
			defer a.mu.Unlock()
			for _, s := range a.runs {
				s.meter.Add(ctx, func(p *ihcv1.Progress) { p.Waiting = why.Error() })
			}
		})
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
	if a.ended.Has(id) {
		return nil
	}
	s, err := a.settings(ctx, id)
	if err != nil {
		return a.endRun(ctx, id, err)
	}
	// A result that is there already was published by somebody who could not
	// acknowledge any more. Where scoring costs money, the look is taken right
	// before each request.
	if m.Redelivered() {
		if err := a.unanswered(ctx, chunk); err != nil {
			return a.trouble(ctx, s, m, err)
		}
	}
	done := &scoring.Scored{}
	if len(chunk.GetJourneys()) > 0 {
		if done, err = s.scorer.Score(context.WithValue(ctx, deliveryKey{}, m.Delivery), chunk); err != nil {
			return a.trouble(ctx, s, m, err)
		}
	}
	err = a.Bus.PublishResult(ctx, &ihcv1.AttributionResult{
		RunId: id, Chunk: chunk.GetChunk(), Attributions: done.Attributions,
		Outcomes: append(chunk.GetOutcomes(), done.Outcomes...),
		Model:    s.scorer.Name(), Requests: done.Requests, Revision: chunk.GetRevision(),
	})
	if err != nil {
		return err
	}
	a.metrics.chunk(chunk)
	s.meter.Add(ctx, func(p *ihcv1.Progress) {
		p.Conversions += uint64(len(chunk.GetJourneys()) + len(chunk.GetOutcomes()))
		p.Chunks++
		p.Requests += uint64(done.Requests)
		p.Waiting = ""
	})
	return nil
}

// trouble decides what becomes of a chunk that could not be scored.
func (a *attributor) trouble(ctx context.Context, s *settings, m stream.Message[*ihcv1.JourneyChunk], err error) error {
	var e *ihcapi.Error
	var refused *refusedError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, stream.ErrVoid), errors.Is(err, errAnswered):
		return nil
	case errors.As(err, &refused):
		return a.pause(ctx, s, m.Body.GetRunId(), refused.budget)
	case !errors.As(err, &e):
		return a.endRun(ctx, m.Body.GetRunId(), err)
	case e.Kind == ihcapi.Transient:
		a.Log.Warn("the IHC API did not answer a chunk; it will be asked again", "run", m.Body.GetRunId(), "chunk", m.Body.GetChunk(), "tries", m.Tries, "error", err)
		s.meter.Add(ctx, func(p *ihcv1.Progress) { p.Retries++ })
		tries := m.Tries
		var repeated *scoring.Repeated
		if errors.As(err, &repeated) {
			tries = repeated.Times
		}
		return stream.Retry(err, max(e.RetryAfter, retry.API.Delay(int(tries))))
	default: // the key or the address: no chunk of the run will do better
		return a.endRun(ctx, m.Body.GetRunId(), errkind.As(errkind.Environment, err))
	}
}

// endRun tells everybody that a run cannot go on, after which its chunks are
// let go: they stay in the stream, to be replayed once the cause is mended.
func (a *attributor) endRun(ctx context.Context, id string, err error) error {
	if errkind.KindOf(err) == errkind.Run {
		return err
	}
	a.Log.Error("run failed", "run", id, "error", err)
	if err := a.Bus.PublishEvent(ctx, run.Failed(id, stream.StageAttributor, err)); err != nil {
		return stream.Retry(err, time.Second)
	}
	return nil
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
	scorer, err := a.scorer(accepted.GetRequest())
	if err != nil {
		return nil, err
	}
	s = &settings{scorer: scorer, meter: a.Bus.Meter(id)}
	a.mu.Lock()
	defer a.mu.Unlock()
	if was := a.runs[id]; was != nil {
		return was, nil // another worker was faster, and has counted
	}
	if len(a.runs) >= 100 {
		clear(a.runs)
	}
	a.runs[id] = s
	return s, nil
}

func (a *attributor) scorer(r *ihcv1.RunRequest) (scoring.Scorer, error) {
	cfg, calls, err := a.api()
	if err != nil {
		return nil, err
	}
	redistribution := run.Redistribution(r.GetRedistributionParameter())
	model := r.GetModel()
	if model == "" {
		model = cfg.DefaultModel()
	}
	if model == run.ModelBuiltin {
		m := a.model
		if text := r.GetModelParams(); text != "" {
			params, err := cfg.ModelParams(text)
			if err != nil {
				return nil, err
			}
			if m, err = ihcmodel.New(params); err != nil {
				return nil, errkind.As(errkind.Input, err)
			}
		}
		return scoring.NewBuiltin(m, redistribution), nil
	}
	api := &scoring.API{Calls: calls, ConvTypeID: r.GetConvTypeId(), Redistribution: redistribution, Spend: a.spend(r.GetMaxRequests())}
	if api.ConvTypeID == "" {
		api.ConvTypeID = cfg.ConvTypeID
	}
	switch {
	case calls == nil:
		return nil, errkind.Environmentf("the run asks for the IHC API, but the attributor has no key: set IHC_API_KEY")
	case api.ConvTypeID == "":
		return nil, errkind.Inputf("the IHC API needs a conversion type: set IHC_CONV_TYPE_ID or the request's conv_type_id")
	}
	return api, nil
}
