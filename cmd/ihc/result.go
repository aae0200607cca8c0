package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/shopspring/decimal"

	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/run"
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
}

// conclude prints how a run ended, for people or as JSON, and returns what the
// exit code follows from.
func conclude(out io.Writer, e ending, asJSON bool) error {
	if e.err != nil && !asJSON {
		return e.err
	}
	if e.err == nil {
		e.err = verdict(e.report)
	}
	if !asJSON {
		printReport(out, e.report, e.took)
		return e.err
	}
	return errors.Join(e.err, summary(e).Write(out))
}

// verdict returns nil for a run without fault, or what is wrong with it.
func verdict(r *ihcv1.Report) error {
	switch run.Conclusion(r) {
	case run.StatusUnreconciled:
		i := slices.IndexFunc(r.GetReconciliation(), func(e *ihcv1.Equation) bool { return !e.GetHolds() })
		e := r.GetReconciliation()[i]
		return fmt.Errorf("the reconciliation does not hold: %s: %s ≠ %s", e.GetDescription(), e.GetLeft(), e.GetRight())
	case run.StatusPartly:
		return fmt.Errorf("%s of %s conversions failed; `ihc status %s --failed` lists them on a running stack",
			human.Thousands(r.GetCounts().GetFailed()), human.Thousands(r.GetCounts().GetInRange()), r.GetRunId())
	default:
		return nil
	}
}

// summary makes the JSON result of a run that gave a report, an error or both.
func summary(e ending) run.Result {
	s := run.ResultOf(e.report)
	seconds := e.took.Round(time.Millisecond).Seconds()
	s.Seconds = &seconds
	if e.err != nil {
		s.Error = e.err.Error()
	}
	if e.report == nil {
		s.RunID, s.Status = e.id, run.StatusFailed
		var stop *ops.StateError
		if errors.As(e.err, &stop) {
			s.Status = stop.Status
		}
	}
	return s
}

// printReport prints a run's result for people: the channels, what became of
// the conversions, and the proof.
func printReport(w io.Writer, r *ihcv1.Report, took time.Duration) {
	out := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }
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
	out("%s", conversionsText(c))
	if r.GetRevenue() != nil {
		out("\n%s", revenueText(r))
	}
	out("\n%s, model %s", human.Count(c.GetTouchpoints(), "touchpoint"), human.Printable(r.GetModel()))
	if r.GetRequests() > 0 {
		out(", %s", human.Count(r.GetRequests(), "request"))
	}
	out(", %.1f s\n", took.Seconds())
	for _, x := range r.GetReasons() {
		if x.GetKind() != ihcv1.OutcomeKind_OUTCOME_KIND_WITHOUT_SESSIONS {
			out("%s %s: %s (one is %q)\n", human.Thousands(x.GetConversions()), run.OutcomeName(x.GetKind()), human.Printable(x.GetReason()), x.GetExampleConvId())
		}
	}
	for _, n := range r.GetNotes() {
		out("note: %s\n", human.Printable(n))
	}
	out("\nReconciliation\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, e := range r.GetReconciliation() {
		mark := "ok"
		if !e.GetHolds() {
			mark = "DOES NOT HOLD"
		}
		_, _ = fmt.Fprintf(t, "  %s\t%s\t= %s\t%s\n", human.Printable(e.GetDescription()), human.Printable(e.GetLeft()), human.Printable(e.GetRight()), mark)
	}
	_ = t.Flush()
	if r.GetCsv() != "" {
		out("\npage:   %s\nreport: %s\n", human.Printable(filepath.Join(filepath.Dir(r.GetCsv()), reporter.PageFile)), human.Printable(r.GetCsv()))
	}
}

// printBridge says what leads from the table, which is of session dates, to the
// conversions of the same dates.
func printBridge(w io.Writer, b *ihcv1.Bridge) {
	out := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }
	to, from := b.GetElsewhere(), b.GetFromOthers()
	out("not in the table: conversions of these dates gave %s conversions (ihc), %s revenue (ihc) to earlier sessions\n", cents(to.GetIhc()), cents(to.GetIhcRevenue()))
	out("in the table: conversions of other dates gave %s conversions (ihc), %s revenue (ihc) to these sessions\n", cents(from.GetIhc()), cents(from.GetIhcRevenue()))
	if n := b.GetNeverAttributed(); n > 0 {
		out("in no number: later conversions that have sessions of these dates and were never attributed: %s\n", human.Thousands(n))
	}
	out("\n")
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
			text += fmt.Sprintf(", %s %s", sum.StringFixed(2), o.Words)
		}
	}
	if !left.IsZero() { // of reasons that the report has no room for
		text += fmt.Sprintf(", %s not attributed for other reasons", left.StringFixed(2))
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
	text := fmt.Sprintf("%s in range: %s attributed", human.Count(c.GetInRange(), "conversion"), human.Thousands(c.GetAttributed()))
	for o, n := range run.Each(c) {
		if n > 0 && o.Kind != ihcv1.OutcomeKind_OUTCOME_KIND_ATTRIBUTED {
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
	line := func(name string, c *ihcv1.ChannelTotal) {
		table = append(table, []string{name, cents(c.GetCost()), cents(c.GetIhc()), cents(c.GetIhcRevenue()), cents(c.GetCpo()), cents(c.GetRoas())})
	}
	shown := r.GetChannels()[:min(len(r.GetChannels()), mostShown)]
	for _, c := range shown {
		line(human.Cut(human.Printable(c.GetChannel()), maxName), c)
	}
	if more := r.GetChannelCount() - uint64(len(shown)); more > 0 {
		table = append(table, []string{fmt.Sprintf("(%d more)", more)})
	}
	line("total", r.GetTotal())
	_ = human.Table(w, table)
}

// cents writes an exact decimal with two places, and a dash for none.
func cents(exact string) string {
	d, err := decimal.NewFromString(exact)
	if err != nil {
		return "–"
	}
	return d.StringFixed(2)
}
