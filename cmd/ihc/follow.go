package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// follow watches a run to its end and returns its report. A run that failed
// is the error its failure was; one that was cancelled or paused, or that cannot
// end because a message of it is among the dead letters, is a run fault.
func follow(ctx context.Context, client *stream.Client, id string, p *progress) (*ihcv1.Report, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := make(chan stream.StoredEvent)
	dead := make(chan stream.DeadLetter)
	broken := make(chan error, 2)
	go func() { broken <- client.Follow(ctx, id, forward(ctx, events)) }()
	go func() { broken <- client.FollowDead(ctx, id, forward(ctx, dead)) }()
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	defer p.end()
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case err := <-broken:
			if ctx.Err() == nil {
				return nil, errkind.Environmentf("lost the run from sight: %w", err)
			}
		case d := <-dead:
			return nil, &stoppedError{statusStuck, fmt.Errorf("run %s cannot end: a message of the %s is among the dead letters: %s; see `ihc dead ls`", id, d.Stage, d.Reason)}
		case <-tick.C:
			if stages, err := client.Progress(ctx, id); err == nil {
				p.show(stages)
			}
		case e := <-events:
			switch e := e.Event.GetEvent().(type) {
			case *ihcv1.RunEvent_Accepted:
				p.line("run %s: %s", id, run.Describe(e.Accepted.GetRequest()))
				for _, w := range e.Accepted.GetWarnings() {
					p.line("%s", w)
				}
			case *ihcv1.RunEvent_Extracted:
				c := e.Extracted.GetCounts()
				p.total = c.GetInRange()
				p.line("%s conversions in range, %s journeys with %s touchpoints in %s chunks", human.Thousands(c.GetInRange()),
					human.Thousands(c.GetAttributed()), human.Thousands(c.GetTouchpoints()), human.Thousands(e.Extracted.GetChunks()))
			case *ihcv1.RunEvent_Reported:
				return e.Reported.GetReport(), nil
			case *ihcv1.RunEvent_Failed:
				p.end()
				for _, d := range e.Failed.GetDetails() {
					p.line("%s", d)
				}
				return nil, run.Fault(e.Failed)
			case *ihcv1.RunEvent_Cancelled:
				text := "run " + id + " was cancelled"
				if why := e.Cancelled.GetReason(); why != "" {
					text += ": " + why
				}
				return nil, &stoppedError{statusCancelled, errors.New(text)}
			case *ihcv1.RunEvent_Paused:
				resumed, err := client.LastResumed(ctx, id)
				if err != nil {
					return nil, errkind.Environmentf("lost the run from sight: %w", err)
				}
				if e.Paused.GetSince() >= resumed {
					return nil, &stoppedError{statusPaused, fmt.Errorf("%w; `ihc resume %s` lets the run go on", errSpent, id)}
				}
			}
		}
	}
}

// stoppedError says that a run stopped, or was stopped, in one of the states
// that are neither a success nor a failure of its own.
type stoppedError struct {
	status string
	error
}

func (e *stoppedError) Unwrap() error { return e.error }

var errSpent = errors.New("paused: the run's budget of requests (--max-requests) is used up")

func forward[T any](ctx context.Context, to chan<- T) func(T) bool {
	return func(v T) bool {
		select {
		case to <- v:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

// progress shows how far a run is: on a terminal in one line that changes,
// elsewhere in a line every few seconds.
type progress struct {
	w        io.Writer
	terminal bool
	every    time.Duration
	start    time.Time
	total    uint64 // conversions, once known
	shown    int    // width of the changing line
	last     string
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, start: time.Now(), every: 5 * time.Second}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.terminal, p.every = true, 200*time.Millisecond
	}
	return p
}

// line prints a line that stays.
func (p *progress) line(format string, args ...any) {
	p.end()
	_, _ = fmt.Fprintf(p.w, format+"\n", args...)
}

// end wipes the line that changes.
func (p *progress) end() {
	if p.shown > 0 {
		_, _ = fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", p.shown))
		p.shown = 0
	}
}

func (p *progress) show(stages map[string]*ihcv1.Progress) {
	extracted, attributed, written := stages[stream.StageExtractor], stages[stream.StageAttributor], stages[stream.StageWriter]
	if extracted == nil {
		return
	}
	total := max(p.total, extracted.GetConversionsTotal())
	of := func(n uint64) string {
		if total == 0 {
			return human.Thousands(n)
		}
		return fmt.Sprintf("%s of %s", human.Thousands(min(n, total)), human.Thousands(total))
	}
	text := fmt.Sprintf("conversions extracted %s, attributed %s, written %s",
		human.Thousands(extracted.GetConversions()), of(attributed.GetConversions()), of(written.GetConversions()))
	if done := written.GetConversions(); done > 0 {
		seconds := time.Since(p.start).Seconds()
		perSecond := float64(done) / seconds
		text += fmt.Sprintf(", %s/s", human.Thousands(uint64(perSecond)))
		if total > done {
			text += fmt.Sprintf(", %s left", (time.Duration(float64(total-done)/perSecond) * time.Second).Round(time.Second))
		}
	}
	for _, s := range []*ihcv1.Progress{attributed, written, stages[stream.StageReporter]} {
		if s.GetWaiting() != "" {
			text += "; waiting: " + s.GetWaiting()
		}
	}
	if !p.terminal {
		if text != p.last {
			p.last = text
			_, _ = fmt.Fprintln(p.w, text)
		}
		return
	}
	if columns, _, err := term.GetSize(int(p.w.(*os.File).Fd())); err == nil && len(text) >= columns {
		text = text[:max(columns-1, 0)]
	}
	_, _ = fmt.Fprintf(p.w, "\r%s%s", text, strings.Repeat(" ", max(p.shown-len(text), 0)))
	p.shown = len(text)
}
