package service

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

type settings struct {
	Name   string        `envconfig:"IHC_TEST_NAME" default:"somebody"`
	Number int           `envconfig:"IHC_TEST_NUMBER" default:"3"`
	Key    time.Duration `envconfig:"IHC_TEST_KEY"`
}

func TestFromEnv(t *testing.T) {
	t.Setenv("IHC_TEST_NAME", "") // as compose passes a variable left out
	t.Setenv("IHC_TEST_NUMBER", "5")
	got, err := FromEnv[settings]()
	require.NoError(t, err)
	require.Equal(t, settings{Name: "somebody", Number: 5}, got)

	t.Setenv("IHC_TEST_NUMBER", "many")
	_, err = FromEnv[settings]()
	require.ErrorContains(t, err, "IHC_TEST_NUMBER")
	require.ErrorContains(t, err, `"many"`)
	require.Equal(t, errkind.Input, errkind.KindOf(err))

	t.Setenv("IHC_TEST_NUMBER", "5")
	t.Setenv("IHC_TEST_KEY", "secret-words")
	_, err = FromEnv[settings]()
	require.ErrorContains(t, err, "IHC_TEST_KEY")
	require.NotContains(t, err.Error(), "secret-words")
}

func TestSettingsAreChecked(t *testing.T) {
	t.Setenv("IHC_ACK_WAIT", "1ms")
	_, err := FromEnv[Streams]()
	require.ErrorContains(t, err, "IHC_ACK_WAIT")
	require.Equal(t, errkind.Input, errkind.KindOf(err))
}

func TestHealth(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "ihc_test_total", Help: "A test."})
	registry.MustRegister(counter)
	counter.Inc()
	h := &Health{}
	server := httptest.NewServer(h.Handler(registry))
	defer server.Close()
	get := func(path string) (int, string) {
		r := httptest.NewRecorder()
		h.Handler(registry).ServeHTTP(r, httptest.NewRequest(http.MethodGet, path, nil))
		return r.Code, r.Body.String()
	}
	address := strings.TrimPrefix(server.URL, "http://")

	code, _ := get("/readyz")
	require.Equal(t, http.StatusOK, code)
	require.NoError(t, Probe(address))

	h.Set("streams", errors.New("not connected yet"))
	h.Watch("nats", func(context.Context) error { return errors.New("away") })
	code, text := get("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Equal(t, "nats: away\nstreams: not connected yet\n", text)
	require.Equal(t, errkind.Environment, errkind.KindOf(Probe(address)))
	code, _ = get("/healthz")
	require.Equal(t, http.StatusOK, code, "a process that waits is alive")

	h.Set("streams", nil)
	h.Watch("nats", func(context.Context) error { return nil })
	require.NoError(t, Probe(address))
	_, text = get("/metrics")
	require.Contains(t, text, "ihc_test_total 1")
	require.Equal(t, errkind.Input, errkind.KindOf(Probe("nonsense")))
}

func TestLogLevelFromEnv(t *testing.T) {
	t.Setenv("IHC_LOG_LEVEL", "warn")
	b, err := FromEnv[Base]()
	require.NoError(t, err)
	require.Equal(t, slog.LevelWarn, b.LogLevel)
}
