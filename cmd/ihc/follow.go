package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// watch follows a run of a running stack to its end.
func (f following) watch(ctx context.Context, runs *ops.Runs, id string, p *progress) (*ihcv1.Report, error) {
	report, err := f.follow(ctx, runs, id, p)
	if err != nil && ctx.Err() != nil {
		err := fmt.Errorf("no longer watching; run %s goes on: see it with `ihc status %s --watch`, end it with `ihc cancel %s`", id, id, id)
		return nil, &ops.StateError{Run: id, Status: run.StatusRunning, Err: err}
	}
	var stop *ops.StateError
	if errors.As(err, &stop) && stop.Status == run.StatusStuck {
		stop.Err = fmt.Errorf("%w; see `ihc dead ls --run %s`", stop.Err, stop.Run)
	}
	return report, err
}

// follow shows a run until it stops and returns its report, or why it has none.
func follow(ctx context.Context, runs *ops.Runs, id string, p *progress) (*ihcv1.Report, error) {
	defer p.end()
	s, err := runs.Follow(ctx, id, p.every, p.tell)
	if err != nil {
		return nil, err
	}
	return s.Report, nil
}

// progress shows how far a run is: on a terminal in one line that changes,
// elsewhere in a line every few seconds.
type progress struct {
	w        io.Writer
	terminal bool
	every    time.Duration
	left     run.TimeLeft
	shown    int // width of the changing line

	// What was last printed in lines, for what a run waited then, and when.
	last, why string
	printed   time.Time
}

// pause is between two lines where no line can change.
const pause = 5 * time.Second

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, printed: time.Now(), every: 500 * time.Millisecond}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.terminal, p.every = true, 200*time.Millisecond
	}
	return p
}

// line prints a line that stays.
func (p *progress) line(format string, args ...any) {
	p.end()
	_, _ = fmt.Fprintln(p.w, human.Wrap(human.PrintableLines(fmt.Sprintf(format, args...)), window(p.w), 2))
}

// end wipes the line that changes.
func (p *progress) end() {
	if p.shown > 0 {
		room := p.room()
		p.unfold(room)
		_, _ = fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", min(p.shown, room)))
		p.shown = 0
	}
}

// unfold wipes the rows into which a terminal has broken the changing line when
// it was made narrower.
func (p *progress) unfold(room int) {
	if p.shown <= room {
		return
	}
	rows := (p.shown - 1) / (room + 1)
	_, _ = fmt.Fprintf(p.w, "\x1b[%dA\r\x1b[J", rows)
	p.shown = 0
}

// room returns how many cells the changing line may take now: the window may
// have been made narrower.
func (p *progress) room() int {
	if f, ok := p.w.(*os.File); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil {
			return max(columns-1, 1)
		}
	}
	return math.MaxInt
}

// tell shows what has changed of a run.
func (p *progress) tell(u ops.Update) {
	if u.Event == nil {
		p.show(u.State)
		return
	}
	switch e := u.Event.GetEvent().(type) {
	case *ihcv1.RunEvent_Accepted:
		p.line("run %s: %s", u.State.ID, run.Describe(u.State.Request))
		for _, w := range u.State.Warnings {
			p.line("%s", w)
		}
	case *ihcv1.RunEvent_Extracted:
		c := e.Extracted.GetCounts()
		p.line("%s in range, %s with %s in %s", human.Count(c.GetInRange(), "conversion"), human.Count(run.WithAttribution(c), "journey"),
			human.Count(c.GetTouchpoints(), "touchpoint"), human.Count(e.Extracted.GetChunks(), "chunk"))
	case *ihcv1.RunEvent_Failed:
		p.end()
		for _, d := range e.Failed.GetDetails() {
			p.line("%s", d)
		}
		if e.Failed.GetSupersededBy() != "" {
			p.line("%s", e.Failed.GetReason())
		}
	}
}

func (p *progress) show(s *run.State) {
	if s.Progress.Extractor == nil {
		if s.Progress.Full != "" {
			p.put("waiting: "+human.Printable(s.Progress.Full), s.Progress.Full)
		}
		return
	}
	pace := p.left.See(time.Now(), s)
	text := doing(s, pace)
	if pace.Known {
		text += ", " + human.About(pace.Left) + " left"
	}
	why := waiting(s.Progress)
	switch {
	case why != "" && !strings.HasPrefix(why, "waiting"):
		text = "waiting: " + human.Printable(why) + "; " + text
	case why != "":
		text = human.Printable(why) + "; " + text
	}
	p.put(text, why)
}

// doing returns what is done with a run, in a few words where there is nothing to
// count.
func doing(s *run.State, pace run.Pace) string {
	extracted, attributed, written := s.Progress.Extractor, s.Progress.Attributor, s.Progress.Writer
	total := max(s.Planned.GetCounts().GetInRange(), extracted.GetConversionsTotal())
	switch {
	case s.Step() == run.StepCheck:
		return "checking the tables"
	case s.Phase() == run.PhaseExtracting && extracted.GetConversions() == 0:
		return "sorting the sessions"
	case s.Phase() == run.PhaseReporting:
		return "making the report"
	case s.Step() == run.StepSweep, total > 0 && written.GetConversions() >= total:
		return "writing the tables"
	}
	of := func(n, total uint64) string {
		if total == 0 {
			return human.Thousands(n)
		}
		return fmt.Sprintf("%s of %s", human.Thousands(min(n, total)), human.Thousands(total))
	}
	text := fmt.Sprintf("conversions extracted %s, attributed %s, written %s",
		human.Thousands(extracted.GetConversions()), of(attributed.GetConversions(), run.WithAttribution(s.Planned.GetCounts())), of(written.GetConversions(), total))
	if pace.PerSecond >= 1 {
		text += fmt.Sprintf(", %s/s", human.Thousands(uint64(pace.PerSecond)))
	}
	if pace.Awaits != "" {
		text += ", waiting for " + pace.Awaits
	}
	return text
}

// waiting returns what is waited for with a run, "" for nothing. What keeps all
// from their work comes before what keeps one.
func waiting(p run.Progress) string {
	waits := []string{p.Full}
	for _, stage := range []*ihcv1.Progress{p.Extractor, p.Attributor, p.Writer, p.Reporter} {
		waits = append(waits, ops.Waits(stage))
	}
	return cmp.Or(waits...)
}

// put shows a text in the line that changes, or in a line every few seconds and
// as soon as something else is waited for.
func (p *progress) put(text, why string) {
	if !p.terminal {
		if text != p.last && (why != p.why || time.Since(p.printed) >= pause) {
			p.last, p.why, p.printed = text, why, time.Now()
			_, _ = fmt.Fprintln(p.w, text)
		}
		return
	}
	room := p.room()
	for again := true; again && human.Width(text) > room; { // the end of the line says the most
		_, after, found := strings.Cut(text, ", ")
		if again = found && why == ""; found {
			text = after
		}
	}
	text = human.Cut(text, room)
	p.unfold(room)
	_, _ = fmt.Fprintf(p.w, "\r%s", human.Pad(text, min(p.shown, room)))
	p.shown = human.Width(text)
}
