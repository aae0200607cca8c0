package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/service"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/services/reporter"
)

// ending is how a run that was followed ended: with a report or an error. Took
// is how long it was followed.
type ending struct {
	id     string // "" where it did not come to a run
	report *ihcv1.Report
	err    error
	took   time.Duration
	// interrupt is the signal that ended the command, nil for none; file is
	// where the JSON result goes, "" for nowhere.
	interrupt *service.Interrupt
	file      string
	// failed says where the conversions that failed can be seen.
	failed string
}

// conclude prints how a run ended, for people or as JSON, and returns what the
// exit code follows from.
func conclude(out io.Writer, e ending, asJSON bool) error {
	if e.err == nil {
		e.err = verdict(e.report)
		if e.report.GetCounts().GetFailed() > 0 && e.failed != "" {
			e.err = fmt.Errorf("%w; %s", e.err, e.failed)
		}
	}
	written := writeResult(e.file, summary(e))
	switch {
	case asJSON:
		return errors.Join(e.err, summary(e).Write(out), written)
	case e.report != nil:
		printReport(out, e.report, e.took)
	}
	return errors.Join(e.err, written)
}

// verdict returns nil for a run without fault, or what is wrong with it.
func verdict(r *ihcv1.Report) error {
	switch run.Conclusion(r) {
	case run.StatusUnreconciled:
		i := slices.IndexFunc(r.GetReconciliation(), func(e *ihcv1.Equation) bool { return !e.GetHolds() })
		e := r.GetReconciliation()[i]
		return fmt.Errorf("the reconciliation does not hold: %s: %s ≠ %s", e.GetDescription(), e.GetLeft(), e.GetRight())
	case run.StatusPartly:
		return fmt.Errorf("%s of %s failed", human.Thousands(r.GetCounts().GetFailed()), human.Count(r.GetCounts().GetInRange(), "conversion"))
	default:
		return nil
	}
}

// summary makes the JSON result of a run that gave a report, an error or both.
func summary(e ending) run.Result {
	s := run.ResultOf(e.report)
	seconds := e.took.Round(time.Millisecond).Seconds()
	s.Seconds = &seconds
	s.ExitCode = new(int)
	*s.ExitCode = errkind.ExitCode(e.err)
	if e.err != nil {
		s.Error, s.Code = e.err.Error(), errkind.CodeOf(e.err)
		if e.interrupt != nil {
			*s.ExitCode = e.interrupt.ExitCode()
		}
	}
	if e.report == nil {
		s.RunID, s.Status = e.id, run.StatusFailed
		var stop *ops.StateError
		if errors.As(e.err, &stop) {
			s.Status = stop.Status
			if is := stop.State; is != nil { // what is known of it, and what was done
				s.Conversions[run.InRangeName] = is.Planned.GetCounts().GetInRange()
				s.Requests = is.Done().Requests
			}
		}
	}
	return s
}

// printReport prints a run's result for people: the channels, what became of
// the conversions, and the proof.
func printReport(w io.Writer, r *ihcv1.Report, took time.Duration) {
	cells := window(w)
	out := func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		for line := range strings.Lines(text) {
			_, _ = fmt.Fprintln(w, human.Wrap(strings.TrimSuffix(line, "\n"), cells, 2))
		}
	}
	c := r.GetCounts()
	if r.GetBridge() != nil && c.GetInRange() == 0 {
		out("no %s: there is nothing to report\n", run.Describe(r.GetRequest()))
		return
	}
	if r.GetTotal() != nil {
		printChannels(w, r)
		out("\n")
	}
	if b := r.GetBridge(); b != nil {
		printBridge(w, b)
	}
	out("%s\n", conversionsText(c))
	if r.GetRevenue() != nil {
		out("%s\n", revenueText(r))
	}
	work := []string{human.Count(c.GetTouchpoints(), "touchpoint")}
	if r.GetModel() != "" {
		work = append(work, "model "+human.Printable(r.GetModel()))
	}
	if r.GetRequests() > 0 {
		work = append(work, human.Count(r.GetRequests(), "request"))
	}
	out("%s, %.1f s\n", strings.Join(work, ", "), took.Seconds())
	for _, x := range r.GetReasons() {
		if x.GetKind() != ihcv1.OutcomeKind_OUTCOME_KIND_WITHOUT_SESSIONS {
			out("%s %s: %s (one is %q)\n", human.Thousands(x.GetConversions()), run.OutcomeName(x.GetKind()), human.Printable(x.GetReason()), x.GetExampleConvId())
		}
	}
	for _, n := range r.GetNotes() {
		out("note: %s\n", human.Printable(n))
	}
	printProof(w, r.GetReconciliation())
	if r.GetRunId() != "" {
		_, _ = fmt.Fprintf(w, "\nrun:    %s\n", human.Printable(r.GetRunId()))
	}
	if r.GetCsv() != "" {
		_, _ = fmt.Fprintf(w, "page:   %s\nreport: %s\n", human.Printable(filepath.Join(filepath.Dir(r.GetCsv()), reporter.PageFile)), human.Printable(r.GetCsv()))
	}
}

// printProof prints the equations, each in a line, or in two where the terminal
// is too narrow.
func printProof(w io.Writer, equations []*ihcv1.Equation) {
	_, _ = fmt.Fprint(w, "\nReconciliation\n")
	cells, words, left, right := window(w), 0, 0, 0
	for _, e := range equations {
		words = max(words, human.Width(human.Printable(e.GetDescription())))
		left, right = max(left, human.Width(human.Printable(e.GetLeft()))), max(right, human.Width(human.Printable(e.GetRight())))
	}
	after := "  " // what is between an equation in words and in numbers
	if cells > 0 && words+left+right+len("  ")*4+len("= ok") > cells {
		after, words = "\n    ", 0
	}
	for _, e := range equations {
		mark := paint(w, green, "ok")
		if !e.GetHolds() {
			mark = paint(w, red, "DOES NOT HOLD")
		}
		said := human.Pad(human.Printable(e.GetDescription()), words)
		if words == 0 {
			said = human.Wrap(said, cells-2, 2)
		}
		_, _ = fmt.Fprintf(w, "  %s%s%s  = %s  %s\n", said, after, human.Pad(human.Printable(e.GetLeft()), left),
			human.Pad(human.Printable(e.GetRight()), right), mark)
	}
}

// printBridge says what leads from the table, which is of session dates, to the
// conversions of the same dates.
func printBridge(w io.Writer, b *ihcv1.Bridge) {
	to, from := b.GetElsewhere(), b.GetFromOthers()
	wrapped(w, "not in the table: conversions of these dates gave %s conversions (ihc), %s revenue (ihc) to earlier sessions", cents(to.GetIhc()), cents(to.GetIhcRevenue()))
	wrapped(w, "in the table: conversions of other dates gave %s conversions (ihc), %s revenue (ihc) to these sessions", cents(from.GetIhc()), cents(from.GetIhcRevenue()))
	if n := b.GetNeverAttributed(); n > 0 {
		wrapped(w, "in no number: later conversions that have sessions of these dates and were never attributed: %s", human.Thousands(n))
	}
	_, _ = fmt.Fprintln(w)
}

// revenueText says what became of the revenue, as [conversionsText] of the
// conversions.
func revenueText(r *ihcv1.Report) string {
	text := fmt.Sprintf("%s revenue in range: %s attributed", cents(r.GetRevenue().GetInRange()), cents(r.GetRevenue().GetAttributed()))
	left := exactly(r.GetRevenue().GetUnattributed())
	for _, o := range run.Outcomes() {
		sum, found := decimal.Zero, false
		for _, x := range r.GetReasons() {
			if x.GetKind() == o.Kind {
				sum, found = sum.Add(exactly(x.GetRevenue())), true
			}
		}
		if found {
			left = left.Sub(sum)
			text += fmt.Sprintf(", %s %s", human.Grouped(sum.StringFixed(2)), o.Words)
		}
	}
	if !left.IsZero() { // of reasons that the report has no room for
		text += fmt.Sprintf(", %s not attributed for other reasons", human.Grouped(left.StringFixed(2)))
	}
	return text
}

// exactly reads an exact decimal; what is none counts as 0.
func exactly(text string) decimal.Decimal {
	d, err := decimal.NewFromString(text)
	if err != nil {
		return decimal.Zero
	}
	return d
}

// conversionsText says how many conversions ended how.
func conversionsText(c *ihcv1.Counts) string {
	text := fmt.Sprintf("%s in range: %s attributed", human.Count(c.GetInRange(), "conversion"), human.Thousands(run.WithAttribution(c)))
	var of []string
	if n := c.GetApproximated(); n > 0 {
		of = append(of, human.Thousands(n)+" of them approximated")
	}
	if n := c.GetReused(); n > 0 {
		of = append(of, human.Thousands(n)+" of them reused")
	}
	if len(of) > 0 {
		text += " (" + strings.Join(of, ", ") + ")"
	}
	for o, n := range run.Each(c) {
		if n > 0 && !o.Attributed {
			text += fmt.Sprintf(", %s %s", human.Thousands(n), o.Words)
		}
	}
	return text
}

// maxName is how many cells of a table a name may take.
const maxName = 40

// mostShown is how many channels are printed for people; all are in the CSV.
const mostShown = 30

// printChannels prints the report's totals by channel, as ratios of sums.
func printChannels(w io.Writer, r *ihcv1.Report) {
	sessions := "no sessions"
	if r.GetFirstDate() != "" {
		sessions = fmt.Sprintf("sessions from %s to %s", r.GetFirstDate(), r.GetLastDate())
	}
	_, _ = fmt.Fprintf(w, "Channels, %s\n\n", human.Printable(sessions))
	table := [][]string{{"channel", "cost", "conversions (ihc)", "revenue (ihc)", "CPO", "ROAS"}}
	room, gap := maxName, tableGap
	if cells := window(w); cells > 0 {
		if cells < wide {
			table[0], gap = []string{"channel", "cost", "conv.", "revenue", "CPO", "ROAS"}, 1
		}
		room = min(room, cells-numbersWidth(table[0], r)-gap)
	}
	line := func(name string, c *ihcv1.ChannelTotal) {
		table = append(table, []string{name, cents(c.GetCost()), cents(c.GetIhc()), cents(c.GetIhcRevenue()), cents(c.GetCpo()), cents(c.GetRoas())})
	}
	shown := r.GetChannels()[:min(len(r.GetChannels()), mostShown)]
	names := make([]string, len(shown))
	for i, c := range shown {
		names[i] = c.GetChannel()
	}
	for i, name := range human.Names(names, max(room, leastName)) {
		line(name, shown[i])
	}
	if more := r.GetChannelCount() - uint64(len(shown)); more > 0 {
		table = append(table, []string{fmt.Sprintf("(%d more)", more)})
	}
	line("total", r.GetTotal())
	_ = human.TableIn(w, table, gap)
}

const (
	wide      = 80 // cells: a narrower table has shorter titles
	tableGap  = 3  // cells before each column
	leastName = 8  // cells that a name takes at least
)

// numbersWidth returns how many cells the table takes beside the names.
func numbersWidth(titles []string, r *ihcv1.Report) int {
	gap := tableGap
	if titles[2] == "conv." {
		gap = 1
	}
	sum := 0
	for i, title := range titles[1:] {
		width := human.Width(title)
		for _, c := range append(slices.Clone(r.GetChannels()), r.GetTotal()) {
			value := []string{c.GetCost(), c.GetIhc(), c.GetIhcRevenue(), c.GetCpo(), c.GetRoas()}[i]
			width = max(width, human.Width(cents(value)))
		}
		sum += width + gap
	}
	return sum
}

// cents writes an exact decimal with two places, and a dash for none.
func cents(exact string) string {
	d, err := decimal.NewFromString(exact)
	if err != nil {
		return "–"
	}
	return human.Grouped(d.StringFixed(2))
}
