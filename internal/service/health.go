package service

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
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
	watched map[string]func(context.Context) error
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
func (h *Health) Watch(part string, state func(context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watched == nil {
		h.watched = map[string]func(context.Context) error{}
	}
	h.watched[part] = state
}

// Ready returns nil if every part is well, or what is not. Parts whose name is,
// or ends in, one of the words in but are not asked.
func (h *Health) Ready(ctx context.Context, but ...string) error {
	h.mu.Lock()
	all, watched := maps.Clone(h.states), maps.Clone(h.watched)
	h.mu.Unlock()
	if all == nil {
		all = map[string]error{}
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for part, state := range watched {
		if !excluded(part, but) {
			wg.Go(func() {
				err := state(ctx)
				mu.Lock()
				defer mu.Unlock()
				all[part] = err
			})
		}
	}
	wg.Wait()
	var errs []error
	for _, part := range slices.Sorted(maps.Keys(all)) {
		if all[part] != nil && !excluded(part, but) {
			errs = append(errs, fmt.Errorf("%s: %w", part, all[part]))
		}
	}
	return errors.Join(errs...)
}

func excluded(part string, but []string) bool {
	return slices.ContainsFunc(but, func(word string) bool { return part == word || strings.HasSuffix(part, " "+word) })
}

// askFor bounds how long a question about readiness takes.
const askFor = 2 * time.Second

// Handler serves /healthz (the process is up), /readyz (it can do its job, or
// what keeps it from that; ?exclude=PART leaves a part out) and /metrics in
// Prometheus' format.
func (h *Health) Handler(metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), askFor)
		defer cancel()
		if err := h.Ready(ctx, r.URL.Query()["exclude"]...); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ready")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return mux
}

// Listen takes the address that health is to be served on. One that cannot be
// listened on is an environment fault.
func (h *Health) Listen(ctx context.Context, address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, errkind.Environmentf("cannot serve health and metrics on %s: %w", address, err)
	}
	return l, nil
}

// idle is how long a connection is kept that asks nothing: longer than the pause
// between two scrapes.
const idle = 2 * time.Minute

// Serve serves [Health.Handler] on l until ctx ends.
func (h *Health) Serve(ctx context.Context, l net.Listener, metrics prometheus.Gatherer) error {
	s := &http.Server{Handler: h.Handler(metrics), ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: idle, MaxHeaderBytes: 16 << 10}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("health server: %w", err)
	}
	return nil
}

// Database is the part of a service's health that a deployment is complete
// without: see [Probe].
const Database = "database"

// Probe asks the service of this container whether it is ready; nil if so. A
// database that is not there yet makes no container unhealthy: it is for a user
// to put there, when the stack is up.
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
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz?exclude="+Database, nil)
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
