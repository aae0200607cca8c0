package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/ihcapi"
)

func TestFaultsAsTheClientSeesThem(t *testing.T) {
	t.Parallel()
	for fault, tc := range map[string]struct {
		faults Faults
		check  func(e *ihcapi.Error) bool
		status string // as counted
	}{
		fault429:      {Faults{Rate429: 1, RetryAfter: Duration(1500 * time.Millisecond)}, func(e *ihcapi.Error) bool { return e.HTTPStatus == 429 && e.RetryAfter == 2*time.Second }, "429"},
		fault5xx:      {Faults{Rate5xx: 1}, func(e *ihcapi.Error) bool { return e.HTTPStatus >= 500 }, ""},
		fault500In200: {Faults{Rate500In200: 1}, func(e *ihcapi.Error) bool { return e.HTTPStatus == 200 && e.StatusCode == 500 }, "500"},
		faultCutOff:   {Faults{RateCutOff: 1}, func(e *ihcapi.Error) bool { return e.HTTPStatus == 200 && e.StatusCode == 0 }, ""},
		faultReset:    {Faults{RateReset: 1}, func(e *ihcapi.Error) bool { return e.HTTPStatus == 0 }, ""},
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			b := setup(t, Config{Faults: tc.faults})
			for range 8 {
				e := b.failed(t, many(20, 2))
				require.Equal(t, ihcapi.Transient, e.Kind, "%v", e)
				require.True(t, tc.check(e), "%+v", e)
			}
			stats := b.Stats()
			require.Equal(t, 8, stats.Requests)
			require.Equal(t, 8, stats.Faults[fault])
			require.Zero(t, stats.ConversionsScored, "nothing that arrived was scored")
			require.Zero(t, stats.Refusals)
			if tc.status != "" {
				require.Equal(t, 8, stats.Answers[tc.status])
			}
		})
	}
}

func TestSlowIsAnsweredAfterAll(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{Faults: Faults{RateSlow: 1, SlowDelay: Duration(30 * time.Millisecond), Latency: Duration(10 * time.Millisecond), Jitter: Duration(5 * time.Millisecond)}})
	start := time.Now()
	_, err := b.compute(t.Context(), journey("c", 2), nil)
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(start), 40*time.Millisecond)
	require.Equal(t, 1, b.Stats().Faults[faultSlow])
	require.Equal(t, 1, b.Stats().Answers["200"])
}

// TestManyAtOnce: calls wait side by side, not one after the other; and a
// client that leaves while it waits is noticed.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	const calls = 64
	b := setup(t, Config{Faults: Faults{Latency: Duration(time.Hour)}})
	patient, err := ihcapi.NewClient(ihcapi.ClientConfig{BaseURL: b.url + "/v1", Key: key, Timeout: time.Hour})
	require.NoError(t, err)
	t.Cleanup(patient.Close)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	errs := make(chan error, calls)
	for i := range calls {
		go func() {
			_, err := patient.Compute(ctx, "any", ihcapi.AppendRequest(nil, journey(fmt.Sprint(i), 2), nil), 2)
			errs <- err
		}()
	}
	require.Eventually(t, func() bool { return b.Stats().InFlight == calls }, time.Minute, time.Millisecond)
	cancel()
	for range calls {
		require.ErrorIs(t, <-errs, context.Canceled)
	}
	require.Eventually(t, func() bool { return b.Stats().Faults["client left"] == calls }, time.Minute, time.Millisecond)
	require.Equal(t, calls, b.Stats().MostInFlight)
	require.Zero(t, b.Stats().ConversionsScored)
}

// TestFaultsFollowTheSeed: the same calls in the same order meet the same faults.
func TestFaultsFollowTheSeed(t *testing.T) {
	t.Parallel()
	fates := func(seed uint64) string {
		b := setup(t, Config{Seed: seed, Faults: Faults{Rate429: 0.25, Rate5xx: 0.25, Rate500In200: 0.25}})
		var all strings.Builder
		for range 40 {
			_, err := b.compute(t.Context(), journey("c", 1), nil)
			fmt.Fprintln(&all, err)
		}
		return all.String()
	}
	one := fates(1)
	require.Equal(t, one, fates(1))
	require.NotEqual(t, one, fates(2))
	for _, kind := range []string{"HTTP 429", "HTTP 50", "statusCode 500", "<nil>"} {
		require.Contains(t, one, kind)
	}
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{Faults: Faults{RequestsPerSecond: 0.01, Burst: 2}})
	for range 2 {
		_, err := b.compute(t.Context(), journey("c", 1), nil)
		require.NoError(t, err)
	}
	e := b.failed(t, journey("c", 1))
	require.Equal(t, ihcapi.Transient, e.Kind)
	require.Equal(t, 429, e.HTTPStatus)
	require.Positive(t, e.RetryAfter)
	require.LessOrEqual(t, e.RetryAfter, 100*time.Second)
	require.Equal(t, 1, b.Stats().Answers["429"])
	require.NoError(t, b.SetFaults(Faults{}))
	_, err := b.compute(t.Context(), journey("c", 1), nil)
	require.NoError(t, err)
}

func TestPoisonPartialAndSpoil(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{Faults: Faults{Poison: []string{"bad", "worse-*"}, Partial: []string{"part"}}})
	for _, id := range []string{"bad", "worse-1"} {
		e := b.failed(t, append(journey("good", 2), journey(id, 2)...))
		require.Equal(t, ihcapi.Refused, e.Kind)
		require.Equal(t, 400, e.StatusCode)
		require.Contains(t, e.Reason, id)
	}
	got, err := b.compute(t.Context(), append(journey("badly-not", 2), journey("part", 2)...), nil)
	require.NoError(t, err)
	require.Equal(t, ihcapi.StatusPartial, got.StatusCode)
	require.Len(t, got.Values, 2)
	require.Equal(t, "part", got.Failures[0].ConversionID)
	require.Equal(t, ihcapi.Refused, b.failed(t, journey("part", 2)).Kind, "nothing is left: 406")

	require.NoError(t, b.SetFaults(Faults{Spoil: map[string]string{
		"c1": spoilSum, "c2": spoilMissing, "c3": spoilForeign, "c4": spoilTwice, "c5": spoilNegative,
	}}))
	got, err = b.compute(t.Context(), many(6, 2), nil)
	require.NoError(t, err)
	by := map[string][]ihcapi.Value{}
	for _, v := range got.Values {
		by[v.ConversionID] = append(by[v.ConversionID], v)
	}
	require.InDelta(t, 5000, float64(by["c1"][0].IHC+by["c1"][1].IHC), 1)
	require.Len(t, by["c2"], 1)
	require.Len(t, by["c3"], 3)
	require.Len(t, by["c4"], 3)
	require.Contains(t, by["c5"][1].Problem, "ihc is -")
	require.Len(t, by["c6"], 2)
}

func TestShuffleKeepsTheValues(t *testing.T) {
	t.Parallel()
	plain, shuffled := setup(t, Config{}), setup(t, Config{Faults: Faults{Shuffle: true}})
	want, err := plain.compute(t.Context(), many(9, 9), nil)
	require.NoError(t, err)
	got, err := shuffled.compute(t.Context(), many(9, 9), nil)
	require.NoError(t, err)
	require.NotEqual(t, want.Values, got.Values)
	require.ElementsMatch(t, want.Values, got.Values)
}

func TestFaultsChangeAtRunTime(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{Faults: Faults{Rate429: 0.5}})
	send := func(method, body string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, b.url+"/faults", strings.NewReader(body))
		require.NoError(t, err)
		status, _, text := b.do(t, r)
		return status, text
	}
	status, text := send(http.MethodPatch, `{"latency":"5ms","poison":["x"],"spoil":{"a":"sum"}}`)
	require.Equal(t, 200, status, text)
	require.Equal(t, Faults{Rate429: 0.5, Latency: Duration(5 * time.Millisecond), Poison: []string{"x"}, Spoil: map[string]string{"a": "sum"}}, b.Faults())
	status, _ = send(http.MethodPatch, `{"spoil":{"b":"twice"}}`)
	require.Equal(t, 200, status)
	require.Equal(t, map[string]string{"b": "twice"}, b.Faults().Spoil)
	_, text = send(http.MethodGet, "")
	require.Contains(t, text, `"latency": "5ms"`)
	for body, says := range map[string]string{
		`{"rate_429":1.5}`:                "rate_429: 1.5 is not within 0 to 1",
		`{"rate_429":0.6,"rate_5xx":0.6}`: "the rates sum to",
		`{"latency":200}`:                 "a duration is text",
		`{"latency":"soon"}`:              "invalid duration",
		`{"jitter":"-1s"}`:                "jitter: -1s is not within",
		`{"burst":-1}`:                    "burst: -1",
		`{"requests_per_second":-1}`:      "requests_per_second: -1",
		`{"spoil":{"a":"rotten"}}`:        `"rotten" is none of`,
		`{"rate_404":1}`:                  "unknown field",
		`{} {}`:                           "something follows",
		``:                                "EOF",
	} {
		status, text = send(http.MethodPatch, body)
		require.Equal(t, 400, status, body)
		var answer struct{ Error string }
		require.NoError(t, json.Unmarshal([]byte(text), &answer))
		require.Contains(t, answer.Error, says, body)
	}
	require.Equal(t, 0.5, b.Faults().Rate429, "what is refused changes nothing")
	status, _ = send(http.MethodPut, `{}`)
	require.Equal(t, 200, status)
	require.Equal(t, Faults{}, b.Faults())
	_, err := New(Config{Faults: Faults{Rate5xx: 2}})
	require.ErrorContains(t, err, "rate_5xx")
}
