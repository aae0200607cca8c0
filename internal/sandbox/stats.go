package sandbox

import (
	"hash/maphash"
	"maps"
	"sync"

	"github.com/ihc-pipeline/ihc/internal/ihcapi"
)

// Stats are what the sandbox has seen since it started or was reset. Every
// request is either in Answers or, as "truncated", "reset" or "client left", in Faults.
type Stats struct {
	Requests               int            `json:"requests"`
	Answers                map[string]int `json:"by_status"` // whole answers, by statusCode (HTTP's where the body has none)
	Faults                 map[string]int `json:"faults"`    // calls with an injected fault, by its kind
	Refusals               int            `json:"refusals"`  // 4xx given for a reason, not by injection
	Sessions               int            `json:"sessions"`  // sent in calls that were scored
	Journeys               int            `json:"journeys"`  // likewise
	ConversionsScored      int            `json:"conversions_scored"`
	ConversionsScoredTwice int            `json:"conversions_scored_twice"` // of those, ones that had been scored before
	ContractViolations     int            `json:"contract_violations"`
	Violations             map[string]int `json:"violations"` // by what was wrong
	InFlight               int            `json:"in_flight"`
	MostInFlight           int            `json:"most_in_flight"`
}

// ledger keeps Stats. Conversions are remembered by a hash, so that millions
// of them take little memory.
type ledger struct {
	mu     sync.Mutex
	stats  Stats
	seed   maphash.Seed
	scored map[uint64]struct{}
}

func newLedger() *ledger {
	l := &ledger{seed: maphash.MakeSeed()}
	l.reset()
	return l
}

func (l *ledger) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.scored = map[uint64]struct{}{}
	l.stats = Stats{
		Answers: map[string]int{}, Faults: map[string]int{}, Violations: map[string]int{},
		InFlight: l.stats.InFlight, MostInFlight: l.stats.InFlight,
	}
}

func (l *ledger) snapshot() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Answers, s.Faults, s.Violations = maps.Clone(s.Answers), maps.Clone(s.Faults), maps.Clone(s.Violations)
	return s
}

// update changes the counts under the lock.
func (l *ledger) update(change func(s *Stats)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.stats)
}

func (l *ledger) begin() {
	l.update(func(s *Stats) {
		s.Requests++
		s.InFlight++
		s.MostInFlight = max(s.MostInFlight, s.InFlight)
	})
}

func (l *ledger) end() { l.update(func(s *Stats) { s.InFlight-- }) }

// answered counts the conversions of an answer that was sent whole.
func (l *ledger) answered(req *ihcapi.Request, reply *ihcapi.Response) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Sessions += req.Rows
	l.stats.Journeys += req.Journeys
	counted := map[string]bool{}
	for i := range reply.Values {
		id := reply.Values[i].ConversionID
		if counted[id] {
			continue
		}
		counted[id] = true
		l.stats.ConversionsScored++
		h := maphash.String(l.seed, id)
		if _, before := l.scored[h]; before {
			l.stats.ConversionsScoredTwice++
		}
		l.scored[h] = struct{}{}
	}
}
