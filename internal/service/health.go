package service

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// Health collects what keeps a process from doing its job. The zero value is
// a healthy one.
type Health struct {
	mu      sync.Mutex
	states  map[string]error
	watched map[string]func() error
}

// Set records the state of one part: nil is well.
func (h *Health) Set(part string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.states == nil {
		h.states = map[string]error{}
	}
	h.states[part] = err
}

// Watch asks for the state of one part whenever somebody wants to know.
func (h *Health) Watch(part string, state func() error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watched == nil {
		h.watched = map[string]func() error{}
	}
	h.watched[part] = state
}

// Ready returns nil if every part is well, or what is not.
func (h *Health) Ready() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := maps.Clone(h.states)
	if all == nil {
		all = map[string]error{}
	}
	for part, state := range h.watched {
		all[part] = state()
	}
	var errs []error
	for _, part := range slices.Sorted(maps.Keys(all)) {
		if all[part] != nil {
			errs = append(errs, fmt.Errorf("%s: %w", part, all[part]))
		}
	}
	return errors.Join(errs...)
}

// Handler serves /healthz (the process is up), /readyz (it can do its job, or
// what keeps it from that) and /metrics in Prometheus' format.
func (h *Health) Handler(metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := h.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ready")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return mux
}

// Serve serves [Health.Handler] on address until ctx ends. An address that
// cannot be listened on is an environment fault.
func (h *Health) Serve(ctx context.Context, address string, metrics prometheus.Gatherer) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return errkind.Environmentf("cannot serve health and metrics on %s: %w", address, err)
	}
	s := &http.Server{Handler: h.Handler(metrics), ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("health server: %w", err)
	}
	return nil
}

// Probe asks the service of this container whether it is ready; nil if so.
func Probe(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return errkind.Inputf("IHC_HTTP %q: write it as host:port", address)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return errkind.Environmentf("not answering: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return errkind.Environmentf("not ready: HTTP status %d", resp.StatusCode)
	}
	return nil
}
