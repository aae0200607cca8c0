// Package sandbox is a stand-in for the IHC API on one's own machine: its
// contract over the built-in model. It checks the key, holds to the limits of
// a plan, answers in the API's forms, and on request it is slow, rate limited
// and faulty in the ways a web service is. It counts what it is asked, so that
// tests can tell how a client behaves.
//
// What the vendor does not document (the body for a wrong key, over-limit
// requests) is the sandbox's own choice, and no client may depend on it.
package sandbox

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/ihc-pipeline/ihc/internal/ihcapi"
	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
)

// Config is what a sandbox is made of. Its zero value serves: any key, any
// conversion type, the free plan, the published shop's model, no faults.
type Config struct {
	Key         string          // the one key taken; empty: any key but none
	ConvTypeIDs []string        // the trained conversion types; empty: any but none
	Limits      ihcapi.Limits   // of the plan; zero: the free plan's
	Model       *ihcmodel.Model // nil: the published shop's
	Faults      Faults          // to begin with
	Seed        uint64          // of all that is drawn: the same calls in the same order meet the same faults
	MaxBody     int64           // the largest body taken, in bytes; 0: 64 MiB
}

// Sandbox is an http.Handler; its paths are listed at /.
type Sandbox struct {
	config Config
	mux    *http.ServeMux
	ledger *ledger

	mu      sync.Mutex // guards what follows
	faults  Faults
	random  *rand.Rand
	limiter *rate.Limiter
}

const index = `The IHC API sandbox: the API's contract over the built-in model.

POST   /v1/compute_ihc?conv_type_id=ID   score journeys, header x-api-key
GET    /stats                            what was asked and answered so far, as JSON
DELETE /stats                            count from zero again
GET    /faults                           how it misbehaves, as JSON
PATCH  /faults                           change some of that, e.g. {"rate_429": 0.1, "latency": "200ms"}
PUT    /faults                           set all of it; {} is no faults at all
GET    /healthz                          ok
`

// New makes a sandbox; the error says which part of the configuration is wrong.
func New(c Config) (*Sandbox, error) {
	if c.Limits == (ihcapi.Limits{}) {
		c.Limits = ihcapi.FreeLimits
	}
	if c.MaxBody <= 0 {
		c.MaxBody = 64 << 20
	}
	if c.Model == nil {
		m, err := ihcmodel.New(ihcmodel.DefaultParams())
		if err != nil {
			return nil, err
		}
		c.Model = m
	}
	if err := c.Faults.Validate(); err != nil {
		return nil, err
	}
	s := &Sandbox{
		config: c,
		mux:    http.NewServeMux(),
		ledger: newLedger(),
		random: rand.New(rand.NewPCG(c.Seed, c.Seed)),
	}
	s.setFaults(c.Faults)
	s.mux.HandleFunc("/v1"+ihcapi.ComputePath, s.compute)
	s.mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, index) })
	s.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	s.mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, s.Stats()) })
	s.mux.HandleFunc("DELETE /stats", s.resetStats)
	s.mux.HandleFunc("POST /stats/reset", s.resetStats)
	s.mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, s.Faults()) })
	s.mux.HandleFunc("PUT /faults", func(w http.ResponseWriter, r *http.Request) { s.changeFaults(w, r, Faults{}) })
	s.mux.HandleFunc("PATCH /faults", func(w http.ResponseWriter, r *http.Request) { s.changeFaults(w, r, s.Faults()) })
	return s, nil
}

// ServeHTTP answers one request.
func (s *Sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Stats returns the counts so far.
func (s *Sandbox) Stats() Stats { return s.ledger.snapshot() }

// ResetStats counts from zero again, and forgets what was scored.
func (s *Sandbox) ResetStats() { s.ledger.reset() }

// Faults returns the present faults.
func (s *Sandbox) Faults() Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults
}

// SetFaults replaces the faults, if they are valid.
func (s *Sandbox) SetFaults(f Faults) error {
	if err := f.Validate(); err != nil {
		return err
	}
	s.setFaults(f)
	return nil
}

func (s *Sandbox) setFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limiter == nil || f.RequestsPerSecond != s.faults.RequestsPerSecond || f.Burst != s.faults.Burst {
		limit := rate.Limit(f.RequestsPerSecond)
		if f.RequestsPerSecond == 0 {
			limit = rate.Inf
		}
		s.limiter = rate.NewLimiter(limit, max(f.Burst, 1))
	}
	s.faults = f
}

func (s *Sandbox) resetStats(w http.ResponseWriter, _ *http.Request) {
	s.ResetStats()
	w.WriteHeader(http.StatusNoContent)
}

func (s *Sandbox) changeFaults(w http.ResponseWriter, r *http.Request, f Faults) {
	if err := f.change(http.MaxBytesReader(w, r.Body, 1<<20)); err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	s.setFaults(f)
	writeJSON(w, http.StatusOK, f)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // the one failure left is a client that went away
}

// compute answers one call for scores.
func (s *Sandbox) compute(w http.ResponseWriter, r *http.Request) {
	arrived := time.Now()
	s.ledger.begin()
	defer s.ledger.end()
	if !s.keyFits(r.Header.Get(ihcapi.KeyHeader)) {
		s.refuseBare(w, http.StatusForbidden, "Forbidden")
		return
	}
	if r.Method != http.MethodPost {
		s.violation("method is not POST")
		w.Header().Set("Allow", http.MethodPost)
		s.refuseBare(w, http.StatusMethodNotAllowed, "Method Not Allowed")
		return
	}
	if wait, ok := s.admit(arrived); !ok {
		w.Header().Set("Retry-After", wholeSeconds(wait))
		s.refuseBare(w, http.StatusTooManyRequests, "Too Many Requests")
		return
	}
	faults, drawn := s.draw()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.config.MaxBody))
	if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
		s.violation("body too large")
		s.refuseBare(w, http.StatusRequestEntityTooLarge, "Request Too Long")
		return
	} else if err != nil {
		return // the client went away
	}
	call := &call{Sandbox: s, w: w, r: r, faults: &faults, drawn: drawn, due: arrived.Add(drawn.delay)}
	call.answer(body)
}

func (s *Sandbox) keyFits(key string) bool {
	if s.config.Key == "" {
		return key != ""
	}
	return subtle.ConstantTimeCompare([]byte(key), []byte(s.config.Key)) == 1
}

// admit takes one of the limited requests a second, or says when there is one.
func (s *Sandbox) admit(now time.Time) (wait time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	reservation := s.limiter.ReserveN(now, 1)
	if wait = reservation.DelayFrom(now); wait > 0 {
		reservation.CancelAt(now)
		return wait, false
	}
	return 0, true
}

// injection is what is drawn for one call.
type injection struct {
	fault  string        // one of the kinds below; "" for none
	delay  time.Duration // from the call's arrival to its answer
	status int           // the HTTP status of a 5xx fault
	order  uint64        // the seed of the shuffle of values
}

// The kinds of fault, as Stats names them.
const (
	fault429      = "429"
	fault5xx      = "5xx"
	fault500In200 = "500_in_200"
	faultCutOff   = "truncated"
	faultReset    = "reset"
	faultSlow     = "slow"
)

// draw draws the injection of one call. It takes the same amount of random
// numbers for each call, so that changing one fault's rate leaves the other
// faults on the calls they were on.
func (s *Sandbox) draw() (Faults, injection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.faults
	at, jitter := s.random.Float64(), s.random.Float64()
	drawn := injection{
		delay:  time.Duration(f.Latency) + time.Duration(jitter*float64(f.Jitter)),
		status: []int{500, 502, 503, 504}[s.random.IntN(4)],
		order:  s.random.Uint64(),
	}
	for _, kind := range []struct {
		name string
		rate float64
	}{
		{fault429, f.Rate429},
		{fault5xx, f.Rate5xx},
		{fault500In200, f.Rate500In200},
		{faultCutOff, f.RateCutOff},
		{faultReset, f.RateReset},
		{faultSlow, f.RateSlow},
	} {
		if at < kind.rate {
			drawn.fault = kind.name
			break
		}
		at -= kind.rate
	}
	if drawn.fault == faultSlow {
		drawn.delay += time.Duration(f.SlowDelay)
	}
	return f, drawn
}

func (s *Sandbox) violation(what string) {
	s.ledger.update(func(st *Stats) {
		st.ContractViolations++
		st.Violations[what]++
	})
}

// refuseBare answers as a gateway does, in front of the service: a message and no statusCode.
func (s *Sandbox) refuseBare(w http.ResponseWriter, status int, message string) {
	s.ledger.update(func(st *Stats) {
		st.Answers[strconv.Itoa(status)]++
		st.Refusals++
	})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "{\"message\":%q}\n", message)
}

func wholeSeconds(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}
