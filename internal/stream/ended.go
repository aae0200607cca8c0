package stream

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/ihc-pipeline/ihc/internal/retry"
)

// Ended knows which runs have ended, and how. The first end of a run counts that
// comes after its beginning (see [Client.Begun]). One that is accepted after its
// end is another of the same name, which was asked for after the streams were
// emptied (invariant 12); unless it was asked for before its end, and ended at the
// moment it was accepted.
type Ended struct {
	mu   sync.RWMutex
	runs map[string]end
	open map[string]time.Time // accepted then, and not ended
}

type end struct {
	event Event
	at    time.Time
}

// WatchEnded returns an [Ended] that knows the past, and keeps it up to date
// until ctx ends. It waits for as long as NATS is away.
//
// heard is called with the event of each run that begins ([EventAccepted]) or is
// over ([EventReported], [EventFailed], [EventCancelled]), those of the past
// among them: so that what a process keeps of a run goes when the run does. The
// client's meter of the run goes as well.
func (c *Client) WatchEnded(ctx context.Context, heard ...func(e Event, run string)) *Ended {
	e := &Ended{runs: map[string]end{}, open: map[string]time.Time{}}
	known := make(chan struct{})
	go func() {
		begun := &begunAmong{Client: c, past: true}
		once := sync.OnceFunc(func() { begun.past = false; close(known) })
		defer once()
		for ctx.Err() == nil {
			var subjects []string
			for _, event := range []Event{EventAccepted, EventReported, EventFailed, EventCancelled} {
				subjects = append(subjects, eventSubject(event, "*"))
			}
			err := c.follow(ctx, Runs, true, subjects, once, func(m jetstream.Msg) bool {
				run, _ := place(m.Subject())
				event := Event(strings.Split(m.Subject(), ".")[3])
				meta, err := m.Metadata()
				if err != nil {
					c.log.Warn("skipped an event", "error", err)
					return true
				}
				var asked time.Time
				if e.wonders(event, run, meta.Timestamp) {
					err := retry.Do(ctx, c.clock, retry.Watch, func(ctx context.Context) (err error) { asked, err = begun.of(ctx, run); return err }, nil)
					if err != nil {
						return false // ctx has ended
					}
				}
				if !e.hear(event, run, meta.Timestamp, asked) {
					return true
				}
				if event != EventAccepted {
					c.forget(ctx, run)
				}
				for _, f := range heard {
					f(event, run)
				}
				return true
			})
			if err != nil && ctx.Err() == nil {
				c.log.Warn("lost sight of ended runs, looking again", "error", err)
				_ = retry.Sleep(ctx, c.clock, retry.Watch.Delay(1)) // the loop looks at ctx itself
			}
		}
	}()
	<-known
	return e
}

// wonders says whether it depends on when a run was asked for what an event means.
func (e *Ended) wonders(event Event, run string, at time.Time) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	was, over := e.runs[run]
	accepted, open := e.open[run]
	if event == EventAccepted {
		return over && at.After(was.at)
	}
	return !over && (!open || !at.After(accepted))
}

// hear says whether an event changes anything. asked is when the run was asked for,
// the zero time for never, where it wonders.
func (e *Ended) hear(event Event, run string, at, asked time.Time) bool {
	wonders := e.wonders(event, run, at)
	e.mu.Lock()
	defer e.mu.Unlock()
	was, over := e.runs[run]
	if event == EventAccepted {
		if over && (!wonders || !asked.IsZero() && asked.Before(was.at)) {
			return false
		}
		delete(e.runs, run)
		e.open[run] = at
		return true
	}
	if over || wonders && (asked.IsZero() || !asked.Before(at)) {
		return false
	}
	e.runs[run] = end{event, at}
	delete(e.open, run)
	return true
}

// Forget lets go of the end of a run, since it is not in the streams any more.
func (e *Ended) Forget(run string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.runs, run)
}

// Has says whether the run was ended before its time, failed or cancelled.
func (e *Ended) Has(run string) bool {
	end := e.end(run)
	return end == EventFailed || end == EventCancelled
}

// Over says whether the run has ended, in whatever way: then nothing is to be
// done for it but with what was put back from the dead letters.
func (e *Ended) Over(run string) bool { return e.end(run) != "" }

func (e *Ended) end(run string) Event {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.runs[run].event
}

// Open returns the runs that were accepted and have not ended, by name.
func (e *Ended) Open() []string {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return slices.Sorted(maps.Keys(e.open))
}
