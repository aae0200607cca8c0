package stream

import (
	"fmt"
	"maps"
	"sync"
	"time"
)

// GoneError says that the settings of a run, by which every stage goes, are not in
// the stream of runs: it was emptied, or they are on their way to the server that
// was asked.
type GoneError struct {
	Run string
	// For is how long they have been looked for in vain.
	For time.Duration
}

func (e *GoneError) Error() string {
	return fmt.Sprintf("nothing is known of run %s any more: was the stream %s emptied while it was under way? Ask for the run again", e.Run, Runs)
}

// Unwrap returns [ErrNotFound].
func (e *GoneError) Unwrap() error { return ErrNotFound }

// Patience is how long a run waits for settings that are gone before it ends.
const Patience = 10 * time.Second

// missing are the runs whose settings were looked for in vain.
type missing struct {
	mu   sync.Mutex
	runs map[string]looked
}

type looked struct{ first, last time.Time }

// miss returns the error of a look in vain. Looks that are far from one another are
// of two occasions, and the earlier is forgotten.
func (m *missing) miss(run string, now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.runs == nil {
		m.runs = map[string]looked{}
	}
	maps.DeleteFunc(m.runs, func(_ string, l looked) bool { return now.Sub(l.last) > Patience })
	l, there := m.runs[run]
	if !there {
		l.first = now
	}
	l.last = now
	m.runs[run] = l
	return &GoneError{run, now.Sub(l.first)}
}

func (m *missing) found(run string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.runs, run)
}
