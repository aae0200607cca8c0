package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/shopspring/decimal"

	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
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
	return errors.Join(e.err, printJSON(out, summary(e)))
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

// jsonResult is what --json prints.
type jsonResult struct {
	RunID           string          `json:"run_id"`
	Status          run.Status      `json:"status"`
	Error           string          `json:"error,omitempty"`
	Model           string          `json:"model"`
	ModelParameters string          `json:"model_parameters,omitempty"`
	StartDate       string          `json:"start_date,omitempty"`
	EndDate         string          `json:"end_date,omitempty"`
	Seconds         float64         `json:"seconds"`
	Conversions     jsonConversions `json:"conversions"`
	Touchpoints     uint64          `json:"touchpoints"`
	Requests        uint64          `json:"requests"`
	ReportRows      uint64          `json:"report_rows"`
	IHC             json.Number     `json:"ihc"`
	IHCRevenue      json.Number     `json:"ihc_revenue"`
	Cost            json.Number     `json:"cost"`
	Revenue         jsonRevenue     `json:"revenue"`
	Bridge          *jsonBridge     `json:"bridge,omitempty"`
	Refunds         *jsonRefunds    `json:"refunds,omitempty"`
	CSV             string          `json:"csv"`
	Reconciliation  []jsonEquation  `json:"reconciliation"`
	Reasons         []jsonReason    `json:"reasons"`
	Approximations  []jsonShortened `json:"approximations"`
	Notes           []string        `json:"notes"`
}

// jsonConversions are a run's conversions in range and by outcome, under the
// names of [run.Outcomes]; nil while they are not known. Those approximated are
// among those attributed.
type jsonConversions map[string]uint64

const inRange = "in_range"

func conversionsJSON(c *ihcv1.Counts) jsonConversions {
	j := jsonConversions{inRange: c.GetInRange()}
	for o, n := range run.Each(c) {
		j[o.Name] = n
	}
	j[run.OutcomeOf(ihcv1.OutcomeKind_OUTCOME_KIND_ATTRIBUTED).Name] = run.WithAttribution(c)
	return j
}

// MarshalJSON writes them in the order of the outcomes.
func (j jsonConversions) MarshalJSON() ([]byte, error) { //nolint:unparam // json.Marshaler has an error
	if j == nil {
		return []byte("null"), nil
	}
	text := fmt.Appendf(nil, `{"%s":%d`, inRange, j[inRange])
	for _, o := range run.Outcomes() {
		text = fmt.Appendf(text, `,"%s":%d`, o.Name, j[o.Name])
	}
	return append(text, '}'), nil
}

// jsonRevenue is that of the conversions in range.
type jsonRevenue struct {
	InRange      json.Number `json:"in_range"`
	Attributed   json.Number `json:"attributed"`
	Unattributed json.Number `json:"unattributed"`
}

// jsonBridge leads from the session dates in range to its conversions.
type jsonBridge struct {
	Elsewhere       jsonCredit `json:"elsewhere"`
	FromOthers      jsonCredit `json:"from_others"`
	NeverAttributed uint64     `json:"never_attributed"`
}

type jsonCredit struct {
	IHC        json.Number `json:"ihc"`
	IHCRevenue json.Number `json:"ihc_revenue"`
}

// jsonRefunds are the conversions in range with a negative revenue.
type jsonRefunds struct {
	Conversions uint64      `json:"conversions"`
	Revenue     json.Number `json:"revenue"`
	Subtracted  bool        `json:"subtracted"`
}

func refundsJSON(r *ihcv1.Refunds) *jsonRefunds {
	if r == nil {
		return nil
	}
	return &jsonRefunds{r.GetConversions(), jsonNumber(r.GetRevenue()), r.GetSubtracted()}
}

func bridgeJSON(b *ihcv1.Bridge) *jsonBridge {
	if b == nil {
		return nil
	}
	credit := func(c *ihcv1.Credit) jsonCredit {
		return jsonCredit{jsonNumber(c.GetIhc()), jsonNumber(c.GetIhcRevenue())}
	}
	return &jsonBridge{credit(b.GetElsewhere()), credit(b.GetFromOthers()), b.GetNeverAttributed()}
}

type jsonEquation struct {
	Name        string      `json:"name"`
	Description string      `json:"description"`
	Left        json.Number `json:"left"`
	Right       json.Number `json:"right"`
	Holds       bool        `json:"holds"`
}

type jsonReason struct {
	Outcome     string      `json:"outcome"`
	Reason      string      `json:"reason"`
	Conversions uint64      `json:"conversions"`
	Revenue     json.Number `json:"revenue"`
	Example     string      `json:"example_conv_id"`
}

// jsonShortened is how some conversions with journeys too long were scored.
type jsonShortened struct {
	Strategy    string `json:"strategy"`
	Model       string `json:"model,omitempty"`
	Conversions uint64 `json:"conversions"`
	LeftOut     uint64 `json:"sessions_left_out"`
}

// summary makes the JSON result of a run that gave a report, an error or both.
func summary(e ending) jsonResult {
	r := e.report
	c := r.GetCounts()
	model, params, _ := strings.Cut(r.GetModel(), " ")
	s := jsonResult{RunID: r.GetRunId(), Status: run.Conclusion(r), Model: model, ModelParameters: params,
		StartDate: r.GetRequest().GetStartDate(), EndDate: r.GetRequest().GetEndDate(),
		Seconds:     e.took.Round(time.Millisecond).Seconds(),
		Conversions: conversionsJSON(c),
		Touchpoints: c.GetTouchpoints(), Requests: r.GetRequests(), ReportRows: r.GetReportRows(),
		IHC: jsonNumber(r.GetIhc()), IHCRevenue: jsonNumber(r.GetIhcRevenue()), Cost: jsonNumber(r.GetCost()), CSV: r.GetCsv(),
		Revenue:        jsonRevenue{jsonNumber(r.GetRevenue().GetInRange()), jsonNumber(r.GetRevenue().GetAttributed()), jsonNumber(r.GetRevenue().GetUnattributed())},
		Bridge:         bridgeJSON(r.GetBridge()),
		Refunds:        refundsJSON(r.GetRefunds()),
		Reconciliation: []jsonEquation{}, Reasons: []jsonReason{}, Approximations: []jsonShortened{}, Notes: append([]string{}, r.GetNotes()...)}
	for _, q := range r.GetReconciliation() {
		s.Reconciliation = append(s.Reconciliation, jsonEquation{q.GetName(), q.GetDescription(), jsonNumber(q.GetLeft()), jsonNumber(q.GetRight()), q.GetHolds()})
	}
	for _, x := range r.GetReasons() {
		s.Reasons = append(s.Reasons, jsonReason{run.OutcomeName(x.GetKind()), x.GetReason(), x.GetConversions(), jsonNumber(x.GetRevenue()), x.GetExampleConvId()})
	}
	for _, a := range r.GetApproximations() {
		s.Approximations = append(s.Approximations, jsonShortened{a.GetStrategy(), a.GetModel(), a.GetConversions(), a.GetSessionsLeftOut()})
	}
	if e.err != nil {
		s.Error = e.err.Error()
	}
	if r == nil {
		s.RunID, s.Status = e.id, run.StatusFailed
		var stop *ops.StateError
		if errors.As(e.err, &stop) {
			s.Status = stop.Status
			if is := stop.State; is != nil { // what is known of it, and what was done
				s.Conversions[inRange] = is.Planned.GetCounts().GetInRange()
				s.Requests = is.Done().Requests
			}
		}
	}
	return s
}

func jsonNumber(text string) json.Number {
	if text == "" {
		return "0"
	}
	return json.Number(text)
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
		out("\nreport: %s\n", human.Printable(r.GetCsv()))
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
	text := fmt.Sprintf("%s in range: %s attributed", human.Count(c.GetInRange(), "conversion"), human.Thousands(run.WithAttribution(c)))
	if n := c.GetApproximated(); n > 0 {
		text += fmt.Sprintf(" (%s of them approximated)", human.Thousands(n))
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
