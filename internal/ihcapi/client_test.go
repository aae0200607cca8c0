package ihcapi

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/freeport"
)

const testKey = "s3cret/key+with=signs"

// setup serves handler and returns a client of it.
func setup(t *testing.T, handler http.HandlerFunc) *Client {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	client, err := NewClient(ClientConfig{BaseURL: server.URL + "/v1/", Key: testKey, Timeout: 20 * time.Second})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

func write(w io.Writer, text string) { _, _ = io.WriteString(w, text) }

func TestCallAsDocumented(t *testing.T) {
	t.Parallel()
	client := setup(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/compute_ihc" || r.URL.RawQuery != "conv_type_id=my+type%26x" ||
			r.Header.Get("Content-Type") != "application/json" || r.Header.Get("x-api-key") != testKey ||
			r.UserAgent() != "ihc-pipeline" || string(body) != "the body" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		write(w, `{"statusCode":200,"partialFailureErrors":[],"value":[{"conversion_id":"c1","session_id":"s1","initializer":1.0,"holder":0.0,"closer":1.0,"ihc":1.0}]}`)
	})
	got, err := client.Compute(t.Context(), "my type&x", []byte("the body"), 1)
	require.NoError(t, err)
	require.Len(t, got.Values, 1)
}

// TestWhatAnAnswerMeans goes through the statuses, of HTTP and of the body.
func TestWhatAnAnswerMeans(t *testing.T) {
	t.Parallel()
	const ok, success = Kind(-1), `{"statusCode":200,"value":[{"conversion_id":"c","session_id":"s","ihc":1}]}`
	for _, tc := range []struct {
		http int
		body string
		kind Kind
		says string
	}{
		{200, success, ok, ""},
		{206, strings.Replace(success, "200", "206", 1), ok, ""},
		{200, strings.Replace(success, "200", "206", 1), ok, ""},
		{200, strings.Replace(success, `"statusCode":200,`, "", 1), ok, ""},
		{200, `{"statusCode":206,"partialFailureErrors":[{}],"value":null}`, ok, ""},
		{400, success, ok, ""}, // the body's status is the one that counts
		{500, `{"statusCode":200,"value":[]}`, Transient, "HTTP 500, statusCode 200"},
		{200, `{"statusCode":500,"value":null}`, Transient, "HTTP 200, statusCode 500"},
		{200, `{"statusCode":429}`, Transient, "statusCode 429"},
		{200, `{"statusCode":200,"value":null}`, Transient, "the reply has no value"},
		{200, `{"statusCode":200,"value":[`, Transient, "ends too early"},
		{200, `<html>busy</html>`, Transient, "not a whole JSON object"},
		{200, ``, Transient, "not a whole JSON object"},
		{429, `{"message":"Too Many Requests"}`, Transient, "HTTP 429): Too Many Requests"},
		{408, ``, Transient, "HTTP 408"},
		{503, `<html>`, Transient, "HTTP 503"},
		{504, `{"message":"Endpoint request timed out"}`, Transient, "timed out"},
		{400, `{"statusCode":400,"message":"bad rows"}`, Refused, "the IHC API refused the request (HTTP 400): bad rows"},
		{200, `{"statusCode":406,"partialFailureErrors":[{"trigger":{"conversion_id":"c7","session_id":"s7"},"reason":"odd","statusCode":406}]}`, Refused, `conversion "c7", session "s7": odd`},
		{400, `nonsense`, Refused, "HTTP 400"},
		{413, ``, Refused, "HTTP 413"},
		{403, `{"message":"Forbidden"}`, Denied, "the IHC API does not accept the key (HTTP 403): Forbidden"},
		{401, ``, Denied, "HTTP 401"},
		{200, `{"statusCode":403}`, Denied, "statusCode 403"},
		{404, `{"message":"no such path"}`, Unexpected, "answered in a way it should not (HTTP 404): no such path"},
		{200, `{"statusCode":302}`, Unexpected, "statusCode 302"},
	} {
		t.Run(fmt.Sprint(tc.http, tc.body), func(t *testing.T) {
			t.Parallel()
			client := setup(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.http)
				write(w, tc.body)
			})
			got, err := client.Compute(t.Context(), "x", nil, 0)
			if tc.kind == ok {
				require.NoError(t, err)
				require.NotNil(t, got)
				require.Contains(t, []int{StatusOK, StatusPartial}, got.StatusCode)
				return
			}
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, tc.kind, e.Kind, "%v", err)
			require.Equal(t, tc.http, e.HTTPStatus)
			require.Contains(t, err.Error(), tc.says)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestRefusalNamesItsRows(t *testing.T) {
	t.Parallel()
	client := setup(t, func(w http.ResponseWriter, _ *http.Request) {
		write(w, `{"statusCode":406,"partialFailureErrors":[{"trigger":{"conversion_id":"c7","session_id":"s7"},"reason":"odd","statusCode":406}]}`)
	})
	_, err := client.Compute(t.Context(), "x", nil, 0)
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, []PartialFailure{{"c7", "s7", "odd", 406}}, e.Failures)
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"":                              0,
		"3":                             3 * time.Second,
		" 0.5 ":                         500 * time.Millisecond,
		"-1":                            0,
		"NaN":                           0,
		"soon":                          0,
		"999999999999999999999":         24 * time.Hour,
		"Fri, 02 Jan 2026 03:04:15 GMT": 10 * time.Second,
		"Fri, 02 Jan 2026 03:00:00 GMT": 0,
		"Fri, 02 Jan 2099 03:00:00 GMT": 24 * time.Hour,
	} {
		require.Equal(t, want, retryAfter(http.Header{"Retry-After": {text}}, now), text)
	}
	client := setup(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	_, err := client.Compute(t.Context(), "x", nil, 0)
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, 7*time.Second, e.RetryAfter)
}

// TestConnectionLost: what happens beneath HTTP is transient.
func TestConnectionLost(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]http.HandlerFunc{
		"reset before the reply": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"cut off in the reply": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			write(w, `{"statusCode":200,"value":[`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := setup(t, handler)
			_, err := client.Compute(t.Context(), "x", nil, 0)
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, Transient, e.Kind)
		})
	}
	client, err := NewClient(ClientConfig{BaseURL: "http://" + freeport.Hold(t).String(), Key: testKey})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	_, err = client.Compute(t.Context(), "x", nil, 0)
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, Transient, e.Kind)
	require.Contains(t, err.Error(), "connection refused")
	require.ErrorAs(t, client.Ping(t.Context()), &e)
}

func TestTimeoutIsTransientAndCancelIsNot(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{}, 8)
	release := make(chan struct{})
	hold := func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		if r.URL.Query().Get(ConvTypeParam) == "headers first" {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
		}
		<-release
	}
	client := setup(t, hold)
	t.Cleanup(func() { close(release) }) // before the server's own, which waits for its handlers

	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	_, err := client.Compute(ctx, "x", nil, 0)
	require.ErrorIs(t, err, context.Canceled)
	var e *Error
	require.NotErrorAs(t, err, &e)

	client.timeout = 50 * time.Millisecond
	for _, convType := range []string{"no headers", "headers first"} {
		_, err = client.Compute(t.Context(), convType, nil, 0)
		require.ErrorAs(t, err, &e)
		require.Equal(t, Transient, e.Kind)
		require.Contains(t, err.Error(), "did not answer within 50ms")
	}
}

func TestWrongCertificateIsNotRetried(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(nil)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it would log the handshake that fails
	server.StartTLS()
	t.Cleanup(server.Close)
	client, err := NewClient(ClientConfig{BaseURL: server.URL, Key: testKey})
	require.NoError(t, err)
	_, err = client.Compute(t.Context(), "x", nil, 0)
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, Unexpected, e.Kind)
	require.Contains(t, err.Error(), "certificate")
}

func TestTooLargeAReply(t *testing.T) {
	t.Parallel()
	client := setup(t, func(w http.ResponseWriter, _ *http.Request) { write(w, strings.Repeat(" ", 100)) })
	client.maxReply = 50
	_, err := client.Compute(t.Context(), "x", nil, 0)
	var e *Error
	require.ErrorAs(t, err, &e)
	require.ErrorIs(t, err, ErrTooLarge)
	require.Equal(t, Unexpected, e.Kind)
}

// TestTooManyRowsAreNotAskedForAgain: the next reply would have as many.
func TestTooManyRowsAreNotAskedForAgain(t *testing.T) {
	t.Parallel()
	client := setup(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		zipped := gzip.NewWriter(w)
		write(zipped, `{"statusCode":200,"value":[`+strings.Repeat("0,", 1<<20)+`0]}`)
		_ = zipped.Close()
	})
	_, err := client.Compute(t.Context(), "x", nil, 1)
	var e *Error
	require.ErrorAs(t, err, &e)
	require.ErrorIs(t, err, ErrTooLarge)
	require.Equal(t, Unexpected, e.Kind)
	require.Contains(t, err.Error(), "(102 rows of value)")
}

// TestKeyGoesNowhereElse: not along a redirect, not into an error, not with a ping.
func TestKeyGoesNowhereElse(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the redirect was followed")
	}))
	t.Cleanup(elsewhere.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		client := setup(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/?k="+r.Header.Get(KeyHeader), status)
		})
		_, err := client.Compute(t.Context(), "x", nil, 0)
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, Unexpected, e.Kind)
		require.Contains(t, err.Error(), "redirects to http://127.0.0.1")
		requireNoKey(t, err)
	}

	client := setup(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			if r.Header.Get(KeyHeader) != "" {
				t.Error("a ping carries the key")
			}
			w.WriteHeader(http.StatusNotFound)
			return
		}
		key := r.Header.Get(KeyHeader)
		if r.URL.Query().Get(ConvTypeParam) == "fail" {
			w.WriteHeader(http.StatusForbidden)
			write(w, `{"message":"the key `+key+` is wrong","partialFailureErrors":[{"reason":"`+key+`"}]}`)
			return
		}
		write(w, `{"statusCode":206,"partialFailureErrors":[{"reason":"`+key+`"}],"value":[{"conversion_id":"c","session_id":"s","ihc":"`+key+`"}]}`)
	})
	require.NoError(t, client.Ping(t.Context()), "any status will do")
	_, err := client.Compute(t.Context(), "fail", nil, 0)
	requireNoKey(t, err)
	require.Contains(t, err.Error(), "the key [key] is wrong")
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "[key]", e.Failures[0].Reason)

	got, err := client.Compute(t.Context(), "x", nil, 0)
	require.NoError(t, err)
	require.Equal(t, "[key]", got.Failures[0].Reason)
	require.Equal(t, `ihc is "[key]", not a number from 0 to 1`, got.Values[0].Problem)
}

// requireNoKey looks through the whole chain of errors.
func requireNoKey(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	for e := err; e != nil; e = errors.Unwrap(e) {
		require.NotContains(t, e.Error(), testKey)
		require.NotContains(t, e.Error(), "s3cret")
		require.NotContains(t, fmt.Sprintf("%+v", e), "s3cret")
	}
}

func TestNewClientSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ url, key, says string }{
		{"", "", "no API key: set IHC_API_KEY"},
		{"", "two\nlines", "IHC_API_KEY holds"},
		{"", "schlüssel", "IHC_API_KEY holds"},
		{"ftp://host", testKey, "is not an http or https URL"},
		{"localhost:8088", testKey, "is not an http or https URL"},
		{"http://", testKey, "is not an http or https URL"},
		{"http://[", testKey, "is not a URL"},
		{"https://me:word@host/v1", testKey, "holds a user"},
		{"https://host/v1?key=a", testKey, "a query"},
	} {
		_, err := NewClient(ClientConfig{BaseURL: tc.url, Key: tc.key})
		require.ErrorContains(t, err, tc.says)
		require.Equal(t, errkind.Input, errkind.KindOf(err))
		require.NotContains(t, err.Error(), "two")
		require.NotContains(t, err.Error(), "schl")
		require.NotContains(t, err.Error(), "word")
	}
	client, err := NewClient(ClientConfig{Key: testKey})
	require.NoError(t, err)
	require.Equal(t, "https://api.ihc-attribution.com/v1", client.base.String())
}
