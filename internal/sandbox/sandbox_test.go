package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/ihcapi"
	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
)

const key = "a-key"

// bundle is a served sandbox and a client of it: what is said of the sandbox
// here is shown through the client that the pipeline uses.
type bundle struct {
	*Sandbox
	url    string
	client *ihcapi.Client
}

func setup(t *testing.T, c Config) *bundle {
	t.Helper()
	if c.Key == "" {
		c.Key = key
	}
	s, err := New(c)
	require.NoError(t, err)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	client, err := ihcapi.NewClient(ihcapi.ClientConfig{BaseURL: server.URL + "/v1", Key: key, Timeout: 20 * time.Second})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return &bundle{s, server.URL, client}
}

// compute sends the sessions through the client.
func (b *bundle) compute(ctx context.Context, sessions []ihcapi.Session, r *ihcmodel.Redistribution) (*ihcapi.Response, error) {
	return b.client.Compute(ctx, "any", ihcapi.AppendRequest(nil, sessions, r), len(sessions))
}

// failed sends the sessions and returns the error, which must be an *ihcapi.Error.
func (b *bundle) failed(t *testing.T, sessions []ihcapi.Session) *ihcapi.Error {
	t.Helper()
	_, err := b.compute(t.Context(), sessions, nil)
	var e *ihcapi.Error
	require.ErrorAs(t, err, &e)
	return e
}

// post sends a body as it is and returns HTTP status, headers and body.
func (b *bundle) post(t *testing.T, path, body string, header ...string) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+path, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("x-api-key", key)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return b.do(t, r)
}

func (b *bundle) do(t *testing.T, r *http.Request) (int, http.Header, string) {
	t.Helper()
	reply, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { _ = reply.Body.Close() }()
	text, err := io.ReadAll(reply.Body)
	require.NoError(t, err)
	return reply.StatusCode, reply.Header, string(text)
}

const computePath = "/v1/compute_ihc?conv_type_id=any"

// journey makes n sessions of a conversion, ten minutes apart, the last flagged.
func journey(conversion string, n int) []ihcapi.Session {
	sessions := make([]ihcapi.Session, n)
	for i := range sessions {
		sessions[i] = ihcapi.Session{
			ConversionID: conversion,
			SessionID:    fmt.Sprintf("%s-s%d", conversion, i+1),
			TimeMicros:   1_693_573_288_000_000 + int64(i)*600_000_000,
			Channel:      []string{"Direct Traffic", "Affiliate & Partnerships"}[i%2],
			Holder:       true,
			Conversion:   i == n-1,
		}
	}
	return sessions
}

// many makes as many conversions of n sessions.
func many(conversions, n int) (sessions []ihcapi.Session) {
	for i := range conversions {
		sessions = append(sessions, journey(fmt.Sprintf("c%d", i+1), n)...)
	}
	return sessions
}

// TestDocumentedCall is the example of the documentation: a journey of one
// session is initializer 1, holder 0, closer 1, ihc 1.
func TestDocumentedCall(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	status, header, body := b.post(t, computePath, `{
	  "customer_journeys": [
	    {"conversion_id": "c1", "session_id": "s1", "timestamp": "2023-09-01 13:01:28",
	     "channel_label": "Paid Search Brand", "holder_engagement": 1, "closer_engagement": 0,
	     "conversion": 1, "impression_interaction": 0}],
	  "redistribution_parameter": {}}`)
	require.Equal(t, 200, status)
	require.Equal(t, "application/json", header.Get("Content-Type"))
	require.Equal(t, `{"statusCode":200,"partialFailureErrors":[],"value":[{"conversion_id":"c1","session_id":"s1","initializer":1.0,"holder":0.0,"closer":1.0,"ihc":1.0}]}`, body)
}

func TestMixedListSumsToOneInEachJourney(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	// Three journeys, interleaved and out of order; impression left out by none.
	a, c, d := journey("a", 3), journey("c", 4), journey("d", 1)
	got, err := b.compute(t.Context(), []ihcapi.Session{c[2], a[2], c[0], d[0], a[0], c[3], a[1], c[1]}, nil)
	require.NoError(t, err)
	require.Equal(t, ihcapi.StatusOK, got.StatusCode)
	var order []string
	sums := map[string]ihcmodel.Share{}
	for _, v := range got.Values {
		order = append(order, v.SessionID)
		sums[v.ConversionID] += v.IHC
	}
	require.Equal(t, []string{"c-s1", "c-s2", "c-s3", "c-s4", "a-s1", "a-s2", "a-s3", "d-s1"}, order)
	require.Equal(t, map[string]ihcmodel.Share{"a": ihcmodel.Whole, "c": ihcmodel.Whole, "d": ihcmodel.Whole}, sums)
	require.Zero(t, b.Stats().ContractViolations)
}

func TestTimestampWithZone(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	row := `{"conversion_id":"c","session_id":"%s","timestamp":"%s","channel_label":"A","holder_engagement":0,"closer_engagement":0,"conversion":%d}`
	// By the clock on the wall s1 is later; with its zone it is a minute earlier.
	_, _, body := b.post(t, computePath, `{"customer_journeys":[`+
		fmt.Sprintf(row, "s2", "2023-09-01 13:01:00", 1)+","+fmt.Sprintf(row, "s1", "2023-09-01 17:00:00 +0400", 0)+`]}`)
	require.Less(t, strings.Index(body, `"s1"`), strings.Index(body, `"s2"`), body)
	require.Contains(t, body, `"session_id":"s1","initializer":1.0`)
}

func TestSessionsAfterTheConversionAreReported(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	sessions := journey("c1", 3)
	sessions[1].Conversion, sessions[2].Conversion = true, false
	got, err := b.compute(t.Context(), sessions, nil)
	require.NoError(t, err)
	require.Equal(t, ihcapi.StatusPartial, got.StatusCode)
	require.Equal(t, []ihcapi.PartialFailure{{
		ConversionID: "c1", SessionID: "c1-s3", StatusCode: 206,
		Reason: "Session/Impression excluded from customer journey since it occurs after the conversion event",
	}}, got.Failures)
	require.Len(t, got.Values, 2)
	require.Equal(t, 1, b.Stats().Violations["journey with sessions after the one flagged as the conversion"])

	// In the body 206, over HTTP 200: the two may differ.
	status, _, body := b.post(t, computePath, string(ihcapi.AppendRequest(nil, sessions, nil)))
	require.Equal(t, 200, status)
	require.Contains(t, body, `"statusCode":206`)
}

// TestFlaggingEveryRowCutsAfterTheFirst is the documented trap.
func TestFlaggingEveryRowCutsAfterTheFirst(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	sessions := journey("c1", 4)
	for i := range sessions {
		sessions[i].Conversion = true
	}
	got, err := b.compute(t.Context(), sessions, nil)
	require.NoError(t, err)
	require.Len(t, got.Failures, 3)
	require.Len(t, got.Values, 1)
	require.Equal(t, "c1-s1", got.Values[0].SessionID)
	require.Equal(t, ihcmodel.Whole, got.Values[0].IHC)
}

func TestFlagAmongEqualTimes(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	sessions := journey("c1", 2)
	sessions[1].TimeMicros = sessions[0].TimeMicros
	got, err := b.compute(t.Context(), []ihcapi.Session{sessions[1], sessions[0]}, nil)
	require.NoError(t, err)
	require.Empty(t, got.Failures, "a session at the very time of the conversion is not after it")
}

func TestNoFlagScoresUpToTheLast(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	flagged := journey("c1", 3)
	want, err := b.compute(t.Context(), flagged, nil)
	require.NoError(t, err)
	flagged[2].Conversion = false
	got, err := b.compute(t.Context(), flagged, nil)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Equal(t, map[string]int{"journey without a session flagged as the conversion": 1}, b.Stats().Violations)
}

func TestKey(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	for _, wrong := range []string{"", "another", key + "x"} {
		status, _, body := b.post(t, computePath, "{}", "x-api-key", wrong)
		require.Equal(t, 403, status)
		require.JSONEq(t, `{"message":"Forbidden"}`, body)
	}
	stranger, err := ihcapi.NewClient(ihcapi.ClientConfig{BaseURL: b.url + "/v1", Key: "stranger"})
	require.NoError(t, err)
	t.Cleanup(stranger.Close)
	_, err = stranger.Compute(t.Context(), "any", ihcapi.AppendRequest(nil, journey("c", 1), nil), 1)
	var e *ihcapi.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, ihcapi.Denied, e.Kind)
	require.Equal(t, 4, b.Stats().Answers["403"])

	open, err := New(Config{})
	require.NoError(t, err)
	require.True(t, open.keyFits("any"))
	require.False(t, open.keyFits(""))
}

func TestConversionType(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{ConvTypeIDs: []string{"any"}})
	body := ihcapi.AppendRequest(nil, journey("c", 1), nil)
	for convType, says := range map[string]string{"": "conv_type_id is missing", "other": `"other" is not a trained conversion type`} {
		_, err := b.client.Compute(t.Context(), convType, body, 1)
		var e *ihcapi.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, ihcapi.Refused, e.Kind)
		require.Contains(t, e.Reason, says)
	}
	_, err := b.client.Compute(t.Context(), "any", body, 1)
	require.NoError(t, err)
}

func TestPlanLimits(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		limits   ihcapi.Limits
		sessions []ihcapi.Session
		fits     bool
	}{
		{ihcapi.FreeLimits, many(100, 2), true},
		{ihcapi.FreeLimits, many(101, 1), false},
		{ihcapi.FreeLimits, many(67, 3), false},
		{ihcapi.PaidLimits, many(100, 30), true},
		{ihcapi.PaidLimits, many(1, 3001), false},
		{ihcapi.PaidLimits, many(101, 1), false},
	} {
		b := setup(t, Config{Limits: tc.limits})
		got, err := b.compute(t.Context(), tc.sessions, nil)
		if tc.fits {
			require.NoError(t, err)
			require.Len(t, got.Values, len(tc.sessions))
			continue
		}
		var e *ihcapi.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, ihcapi.Refused, e.Kind)
		require.Contains(t, e.Reason, "the plan allows")
		require.Equal(t, 1, b.Stats().ContractViolations)
		require.Equal(t, 1, b.Stats().Refusals)
	}
}

func TestInvalidRequests(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{MaxBody: 2000})
	for body, want := range map[string]int{
		`{`:                          400,
		`{"customer_journeys":[]}`:   400,
		`{"customer_journeys":null}`: 400,
		`{"customer_journeys":[{"conversion_id":"c","session_id":"s","timestamp":"yesterday","channel_label":"A","holder_engagement":0,"closer_engagement":0,"conversion":1}]}`: 406,
		strings.Repeat(" ", 2001): 413,
	} {
		status, _, text := b.post(t, computePath, body)
		require.Equal(t, want, status, body)
		if want != 413 {
			require.Contains(t, text, fmt.Sprintf(`"statusCode":%d`, want))
		}
	}
	status, _, text := b.post(t, computePath, "{}", "Content-Type", "text/plain")
	require.Equal(t, 400, status)
	require.Contains(t, text, "Content-Type")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+computePath, nil)
	require.NoError(t, err)
	r.Header.Set("x-api-key", key)
	status, header, _ := b.do(t, r)
	require.Equal(t, 405, status)
	require.Equal(t, "POST", header.Get("Allow"))
	require.Equal(t, 7, b.Stats().ContractViolations)
	require.Equal(t, 7, b.Stats().Requests)
	require.Zero(t, b.Stats().ConversionsScored)
}

func TestOneBadJourneyAmongGood(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	body := string(ihcapi.AppendRequest(nil, many(2, 2), nil))
	_, _, text := b.post(t, computePath, strings.Replace(body, "2023-09-01 13:01:28", "2023-09-01", 1))
	got, err := ihcapi.DecodeResponse(strings.NewReader(text), 1<<20, 10)
	require.NoError(t, err)
	require.Equal(t, ihcapi.StatusPartial, got.StatusCode)
	require.Len(t, got.Failures, 1)
	require.Equal(t, ihcapi.StatusUnparseable, got.Failures[0].StatusCode)
	require.Len(t, got.Values, 2)
	require.Equal(t, "c2", got.Values[0].ConversionID)
}

func TestRedistributionOfTheRequest(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	r := &ihcmodel.Redistribution{Initializer: &ihcmodel.Rule{Direction: ihcmodel.LaterSessions, Channels: []string{"Direct Traffic"}}}
	got, err := b.compute(t.Context(), journey("c", 2), r)
	require.NoError(t, err)
	require.Zero(t, got.Values[0].Initializer)
	require.Equal(t, ihcmodel.Whole, got.Values[1].Initializer)
	r.Initializer.Channels = []string{"nothing of the kind"} // changes nothing, silently
	same, err := b.compute(t.Context(), journey("c", 2), r)
	require.NoError(t, err)
	plain, err := b.compute(t.Context(), journey("c", 2), nil)
	require.NoError(t, err)
	require.Equal(t, plain, same)
}

func TestStats(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	for range 2 {
		_, err := b.compute(t.Context(), many(3, 2), nil)
		require.NoError(t, err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+"/stats", nil)
	require.NoError(t, err)
	status, _, text := b.do(t, r)
	require.Equal(t, 200, status)
	var stats Stats
	require.NoError(t, json.Unmarshal([]byte(text), &stats))
	require.Equal(t, Stats{
		Requests: 2, Answers: map[string]int{"200": 2}, Faults: map[string]int{}, Violations: map[string]int{},
		Sessions: 12, Journeys: 6, ConversionsScored: 6, ConversionsScoredTwice: 3, MostInFlight: 1,
	}, stats)
	r.Method = http.MethodDelete
	status, _, _ = b.do(t, r)
	require.Equal(t, http.StatusNoContent, status)
	require.Zero(t, b.Stats().Requests)
	_, err = b.compute(t.Context(), many(3, 2), nil)
	require.NoError(t, err)
	require.Zero(t, b.Stats().ConversionsScoredTwice, "a reset forgets what was scored")
}

func TestOtherPages(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	for path, want := range map[string]string{"/": "compute_ihc", "/healthz": "ok"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+path, nil)
		require.NoError(t, err)
		status, _, text := b.do(t, r)
		require.Equal(t, 200, status)
		require.Contains(t, text, want)
	}
	require.NoError(t, b.client.Ping(t.Context()))
	require.Zero(t, b.Stats().Requests, "none of this is a call")
}

func BenchmarkCompute(b *testing.B) {
	s, err := New(Config{Limits: ihcapi.PaidLimits})
	require.NoError(b, err)
	for _, n := range []int{2, 30} {
		body := ihcapi.AppendRequest(nil, many(100, n), nil)
		b.Run(fmt.Sprintf("%d-sessions", n*100), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPost, computePath, bytes.NewReader(body))
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set(ihcapi.KeyHeader, "any")
				w := httptest.NewRecorder()
				s.ServeHTTP(w, r)
				require.Equal(b, 200, w.Code)
			}
		})
	}
}
