package attributor

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/ihcapi"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/sandbox"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/internal/stream/streamtest"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// api starts an API sandbox with the key "key". front, when not nil, sees each
// request first and says whether it answered.
func api(t *testing.T, faults sandbox.Faults, front func(w http.ResponseWriter, r *http.Request) bool) (*sandbox.Sandbox, Config) {
	t.Helper()
	s, err := sandbox.New(sandbox.Config{Key: "key", Faults: faults})
	require.NoError(t, err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if front == nil || !front(w, r) {
			s.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return s, Config{APIKey: "key", APIURL: server.URL + "/v1", ConvTypeID: "type", Workers: 4, Timeout: time.Minute}
}

func attribute(b *streamtest.Bus, cfg Config) (stop func()) {
	return b.Service(stream.StageAttributor, func(ctx context.Context, d service.Deps) error { return Run(ctx, cfg, d) })
}

// chunks makes n chunks of so many journeys with two sessions each.
func chunks(run string, n, journeys int) (all []*ihcv1.JourneyChunk) {
	for i := range n {
		c := &ihcv1.JourneyChunk{RunId: run, Chunk: uint32(i + 1), Channels: []string{"SEO", "Direct"},
			Outcomes: []*ihcv1.Outcome{{ConvId: fmt.Sprintf("none-%d", i+1), Kind: ihcv1.OutcomeKind_OUTCOME_KIND_WITHOUT_SESSIONS}}}
		for k := range journeys {
			conv := fmt.Sprintf("c%d-%d", i+1, k)
			c.Journeys = append(c.Journeys, &ihcv1.Journey{ConvId: conv, SessionIds: []string{conv + "-a", conv + "-b"},
				TimeDeltas: []int64{1_600_000_000_000_000, 5_000_000}, Channels: []uint32{0, 1}, Flags: []byte{1, 3}})
		}
		all = append(all, c)
	}
	return all
}

func isFailed(e *ihcv1.RunEvent) bool { return e.GetFailed() != nil }
func isPaused(e *ihcv1.RunEvent) bool { return e.GetPaused() != nil }

func TestEveryConversionHasAnOutcome(t *testing.T) {
	t.Parallel()
	for model, requests := range map[string]int{run.ModelBuiltin: 0, run.ModelAPI: 3} {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			b := streamtest.New(t)
			s, cfg := api(t, sandbox.Faults{Shuffle: true}, nil)
			b.Publish(&ihcv1.RunRequest{RunId: "run", Model: model}, nil, chunks("run", 3, 5)...)
			attribute(b, cfg)
			for n, r := range b.Results("run", 3) {
				require.Len(t, r.GetAttributions(), 5)
				require.Len(t, r.GetOutcomes(), 1)
				require.Equal(t, fmt.Sprintf("none-%d", n), r.GetOutcomes()[0].GetConvId())
				require.True(t, strings.HasPrefix(r.GetModel(), model), r.GetModel())
				for _, a := range r.GetAttributions() {
					require.Len(t, a.GetIhc(), 2)
					require.EqualValues(t, 10_000, a.GetIhc()[0]+a.GetIhc()[1])
				}
			}
			b.Idle(stream.Chunks)
			require.Equal(t, requests, s.Stats().Requests)
			require.Zero(t, s.Stats().ContractViolations)
		})
	}
}

func TestPoisonedConversionHarmsOnlyItself(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	_, cfg := api(t, sandbox.Faults{Poison: []string{"c1-37"}, Partial: []string{"c1-5"}, Spoil: map[string]string{"c1-60": "sum"}}, nil)
	b.Publish(&ihcv1.RunRequest{RunId: "run"}, nil, chunks("run", 1, 100)...)
	attribute(b, cfg)
	r := b.Results("run", 1)[1]
	require.Len(t, r.GetAttributions(), 97)
	reasons := map[string]string{}
	for _, o := range r.GetOutcomes() {
		if o.GetKind() == ihcv1.OutcomeKind_OUTCOME_KIND_FAILED {
			reasons[o.GetConvId()] = o.GetReason()
		}
	}
	require.Len(t, reasons, 3)
	require.Contains(t, reasons["c1-37"], "refused")
	require.Contains(t, reasons["c1-5"], "could not be parsed")
	require.Contains(t, reasons["c1-60"], "do not sum to 1")
}

// A conversion that makes its request fail every time does not hold the run,
// though nothing else is left to ask.
func TestConversionThatBreaksTheLastRequestFailsAlone(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	s, cfg := api(t, sandbox.Faults{Break: map[string]string{"c1-3": "500"}}, nil)
	b.Publish(&ihcv1.RunRequest{RunId: "run"}, nil, chunks("run", 1, 10)...)
	attribute(b, cfg)
	r := b.Results("run", 1)[1]
	require.Len(t, r.GetAttributions(), 9)
	require.Len(t, r.GetOutcomes(), 2)
	require.Equal(t, "c1-3", r.GetOutcomes()[1].GetConvId())
	require.Contains(t, r.GetOutcomes()[1].GetReason(), "HTTP 500")
	b.Idle(stream.Chunks)
	require.Empty(t, b.Dead(0))
	require.Zero(t, s.Stats().ConversionsScoredTwice)
}

// A run goes on by itself when the API is back, and has lost nothing.
func TestRunGoesOnWhenTheAPIIsBack(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string]sandbox.Faults{
		"5xx":           {Rate5xx: 1},
		"500 in 200":    {Rate500In200: 1},
		"resets":        {RateReset: 1},
		"broken bodies": {RateCutOff: 1},
		"429":           {Rate429: 1, RetryAfter: sandbox.Duration(time.Second)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := streamtest.New(t)
			s, cfg := api(t, faults, nil)
			b.Publish(&ihcv1.RunRequest{RunId: "run"}, nil, chunks("run", 6, 3)...)
			attribute(b, cfg)
			require.Eventually(t, func() bool { return s.Stats().Requests >= 5 }, 30*time.Second, 10*time.Millisecond)
			require.NoError(t, s.SetFaults(sandbox.Faults{}))
			for _, r := range b.Results("run", 6) {
				require.Len(t, r.GetAttributions(), 3)
			}
			b.Idle(stream.Chunks)
			require.Empty(t, b.Dead(0))
		})
	}
}

// When the API asks for patience nobody asks before the time is up.
func TestRetryAfterHoldsEverybody(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	var mu sync.Mutex
	var until time.Time
	early, refused := 0, 0
	_, cfg := api(t, sandbox.Faults{}, func(w http.ResponseWriter, _ *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if time.Now().Before(until) {
			early++
		}
		if refused == 3 {
			return false
		}
		refused++
		until = time.Now().Add(time.Second)
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	cfg.Workers = 1
	b.Publish(&ihcv1.RunRequest{RunId: "run"}, nil, chunks("run", 4, 1)...)
	attribute(b, cfg)
	b.Results("run", 4)
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, 3, refused)
	require.Zero(t, early)
}

func TestWhatNoRequestCanMendEndsTheRun(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Config)
		cause  ihcv1.Cause
		says   string
	}{
		"wrong key":          {func(c *Config) { c.APIKey = "wrong" }, ihcv1.Cause_CAUSE_ENVIRONMENT, "does not accept the key"},
		"no key":             {func(c *Config) { c.APIKey = "" }, ihcv1.Cause_CAUSE_ENVIRONMENT, "set IHC_API_KEY"},
		"no conversion type": {func(c *Config) { c.ConvTypeID = "" }, ihcv1.Cause_CAUSE_INPUT, "conversion type"},
		"wrong address":      {func(c *Config) { c.APIURL += "/nowhere" }, ihcv1.Cause_CAUSE_ENVIRONMENT, "404"},
		"payloads nowhere":   {func(c *Config) { c.Payloads = "/dev/null/x" }, ihcv1.Cause_CAUSE_ENVIRONMENT, "cannot save request payloads"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := streamtest.New(t)
			_, cfg := api(t, sandbox.Faults{}, nil)
			c.change(&cfg)
			b.Publish(&ihcv1.RunRequest{RunId: "run", Model: run.ModelAPI}, nil, chunks("run", 3, 1)...)
			attribute(b, cfg)
			failed := b.Await("run", isFailed).GetFailed()
			require.Equal(t, c.cause, failed.GetCause())
			require.Equal(t, stream.StageAttributor, failed.GetStage())
			require.Contains(t, failed.GetReason(), c.says)
			b.Idle(stream.Chunks) // let go, not retried for ever
			require.Empty(t, b.Dead(0))
		})
	}
}

func TestGarbageEndsInTheDeadLetters(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	_, cfg := api(t, sandbox.Faults{}, nil)
	all := chunks("run", 2, 1)
	all[0].Journeys[0].Flags = nil
	b.Publish(&ihcv1.RunRequest{RunId: "run"}, nil, all...)
	attribute(b, cfg)
	d := b.Dead(1)[0]
	require.Equal(t, stream.StageAttributor, d.Stage)
	require.EqualValues(t, 1, d.Chunk)
	require.Contains(t, d.Reason, "differ in length")
	require.Contains(t, b.Results("run", 1), uint32(2))
}

func TestCancelledRunIsNotScored(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	s, cfg := api(t, sandbox.Faults{}, nil)
	b.Publish(&ihcv1.RunRequest{RunId: "run"}, nil, chunks("run", 5, 1)...)
	b.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Cancelled{Cancelled: &ihcv1.RunCancelled{}}})
	attribute(b, cfg)
	b.Idle(stream.Chunks)
	require.Zero(t, s.Stats().Requests)
	b.Results("run", 0)
}

// A request that was under way when its run was cancelled counts beside those
// before it, and not in their place.
func TestWhatIsAnsweredAfterTheEndDoesNotTakeThePlaceOfWhatWasDone(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	var asked atomic.Int64
	release := make(chan struct{})
	_, cfg := api(t, sandbox.Faults{}, func(http.ResponseWriter, *http.Request) bool {
		if asked.Add(1) == 4 {
			<-release
		}
		return false
	})
	bus := make(chan service.Deps, 1)
	b.Service(stream.StageAttributor, func(ctx context.Context, d service.Deps) error {
		bus <- d
		return Run(ctx, cfg, d)
	})
	d := <-bus
	first := d.Bus.MeterOf("run")
	b.Publish(&ihcv1.RunRequest{RunId: "run"}, nil, chunks("run", 4, 1)...)
	b.Results("run", 3)
	b.Event("run", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Cancelled{Cancelled: &ihcv1.RunCancelled{}}})
	require.Eventually(t, func() bool { return d.Bus.MeterOf("run") != first }, 50*time.Second, 10*time.Millisecond, "the attributor has heard of the end")
	close(release)
	b.Idle(stream.Chunks)
	require.Eventually(t, func() bool {
		told, err := b.Progress(b.Ctx, "run")
		return err == nil && told[stream.StageAttributor].GetRequests() == 4
	}, 50*time.Second, 10*time.Millisecond)
}

func TestStoredResultIsNotPaidTwice(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	s, cfg := api(t, sandbox.Faults{}, nil)
	require.NoError(t, b.PublishResult(b.Ctx, &ihcv1.AttributionResult{RunId: "run", Chunk: 2}))
	b.Publish(&ihcv1.RunRequest{RunId: "run"}, nil, chunks("run", 3, 1)...)
	attribute(b, cfg)
	b.Results("run", 3)
	b.Idle(stream.Chunks)
	require.Equal(t, 2, s.Stats().Requests)
}

// Replicas send exactly as many requests together as the run's budget allows,
// retries included; the run pauses, and resumed it scores what is left once.
func TestBudgetPausesTheRun(t *testing.T) {
	t.Parallel()
	const chunksInAll, budget = 20, 7
	b := streamtest.New(t)
	s, cfg := api(t, sandbox.Faults{}, nil)
	b.Publish(&ihcv1.RunRequest{RunId: "run", MaxRequests: budget}, nil, chunks("run", chunksInAll, 2)...)
	attribute(b, cfg)
	attribute(b, cfg)
	paused := b.Await("run", isPaused).GetPaused()
	require.EqualValues(t, budget, paused.GetRequests())
	require.Zero(t, paused.GetSince())
	b.Idle(stream.Chunks)
	b.Results("run", budget)
	require.Equal(t, budget, s.Stats().Requests)

	// As the extractor does when a user resumes the run.
	resume := func(more, sequence uint64) {
		left, err := b.Lift(b.Ctx, "run", more, sequence)
		require.NoError(t, err)
		_, err = b.PutBack(b.Ctx, "run", left.GetBarrier())
		require.NoError(t, err)
	}
	resume(budget, 100)
	again := b.Await("run", func(e *ihcv1.RunEvent) bool { return e.GetPaused().GetSince() == 100 }).GetPaused()
	require.EqualValues(t, 2*budget, again.GetRequests())
	b.Idle(stream.Chunks)
	require.Equal(t, 2*budget, s.Stats().Requests)

	resume(0, 200)
	b.Results("run", chunksInAll)
	b.Idle(stream.Chunks)
	require.Equal(t, chunksInAll, s.Stats().Requests, "requests whose results were published were sent again")
	require.Zero(t, s.Stats().ConversionsScoredTwice)
}

// Requests that fail count too: they may have been paid.
func TestBudgetCountsRetries(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	s, cfg := api(t, sandbox.Faults{Rate5xx: 1}, nil)
	b.Publish(&ihcv1.RunRequest{RunId: "run", MaxRequests: 4}, nil, chunks("run", 1, 1)...)
	attribute(b, cfg)
	b.Await("run", isPaused)
	require.Equal(t, 4, s.Stats().Requests)
	b.Idle(stream.Chunks)
}

// The built-in model sends no requests, so a budget does not stop it.
func TestBudgetIsOfNoConcernToTheBuiltinModel(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	b.Publish(&ihcv1.RunRequest{RunId: "run", Model: run.ModelBuiltin, MaxRequests: 1}, nil, chunks("run", 5, 1)...)
	attribute(b, Config{Workers: 2})
	b.Results("run", 5)
}

func TestSecretsAreHidden(t *testing.T) {
	t.Parallel()
	c := Config{APIKey: "very secret"}
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), fmt.Sprintf("%s %q", c.APIKey, c.APIKey)} {
		require.NotContains(t, text, "very secret")
	}
}

// A key in an error of the API must not get out with it.
func TestKeyIsInNoEvent(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	_, cfg := api(t, sandbox.Faults{}, func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprintf(w, `{"message":"no such key: %s"}`, r.Header.Get(ihcapi.KeyHeader))
		return true
	})
	cfg.APIKey = "very-secret"
	b.Publish(&ihcv1.RunRequest{RunId: "run"}, nil, chunks("run", 1, 1)...)
	attribute(b, cfg)
	require.NotContains(t, b.Await("run", isFailed).String(), "very-secret")
	require.NotErrorIs(t, b.Ctx.Err(), context.DeadlineExceeded)
}
