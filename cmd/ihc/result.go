package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/shopspring/decimal"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// The states of a run, in JSON and in lists. The first four may change: a
// stuck run cannot end while a message of it is among the dead letters, a
// paused one waits for a new budget of requests.
const (
	statusRequested = "requested"
	statusRunning   = "running"
	statusPaused    = "paused"
	statusStuck     = "stuck"
	statusCompleted = "completed"
	statusPartly    = "completed_with_failures"
	statusFailed    = "failed"
	statusCancelled = "cancelled"
)

// verdict returns nil for a run without fault, or what is wrong with it.
func verdict(r *ihcv1.Report) error {
	if n := r.GetCounts().GetFailed(); n > 0 {
		return fmt.Errorf("%s of %s conversions failed; `ihc status %s --failed` lists them on a running stack", human.Thousands(n), human.Thousands(r.GetCounts().GetInRange()), r.GetRunId())
	}
	for _, e := range r.GetReconciliation() {
		if !e.GetHolds() {
			return fmt.Errorf("the reconciliation does not hold: %s: %s ≠ %s", e.GetDescription(), e.GetLeft(), e.GetRight())
		}
	}
	return nil
}

// jsonResult is what --json prints.
type jsonResult struct {
	RunID           string          `json:"run_id"`
	Status          string          `json:"status"`
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
	CSV             string          `json:"csv"`
	Reconciliation  []jsonEquation  `json:"reconciliation"`
	Reasons         []jsonReason    `json:"reasons"`
	Notes           []string        `json:"notes"`
}

type jsonConversions struct {
	InRange         uint64 `json:"in_range"`
	Attributed      uint64 `json:"attributed"`
	Approximated    uint64 `json:"approximated"`
	Excluded        uint64 `json:"excluded"`
	Failed          uint64 `json:"failed"`
	WithoutSessions uint64 `json:"without_sessions"`
}

type jsonEquation struct {
	Name        string      `json:"name"`
	Description string      `json:"description"`
	Left        json.Number `json:"left"`
	Right       json.Number `json:"right"`
	Holds       bool        `json:"holds"`
}

type jsonReason struct {
	Outcome     string `json:"outcome"`
	Reason      string `json:"reason"`
	Conversions uint64 `json:"conversions"`
	Example     string `json:"example_conv_id"`
}

// summary makes the JSON result of a run that gave a report, an error or both.
func summary(r *ihcv1.Report, err error, id string, took time.Duration) jsonResult {
	c := r.GetCounts()
	model, params, _ := strings.Cut(r.GetModel(), " ")
	s := jsonResult{RunID: r.GetRunId(), Status: statusCompleted, Model: model, ModelParameters: params,
		StartDate: r.GetRequest().GetStartDate(), EndDate: r.GetRequest().GetEndDate(),
		Seconds:     took.Round(time.Millisecond).Seconds(),
		Conversions: *conversionsJSON(c),
		Touchpoints: c.GetTouchpoints(), Requests: r.GetRequests(), ReportRows: r.GetReportRows(),
		IHC: jsonNumber(r.GetIhc()), IHCRevenue: jsonNumber(r.GetIhcRevenue()), Cost: jsonNumber(r.GetCost()), CSV: r.GetCsv(),
		Reconciliation: []jsonEquation{}, Reasons: []jsonReason{}, Notes: append([]string{}, r.GetNotes()...)}
	for _, e := range r.GetReconciliation() {
		s.Reconciliation = append(s.Reconciliation, jsonEquation{e.GetName(), e.GetDescription(), jsonNumber(e.GetLeft()), jsonNumber(e.GetRight()), e.GetHolds()})
	}
	for _, x := range r.GetReasons() {
		s.Reasons = append(s.Reasons, jsonReason{run.OutcomeName(x.GetKind()), x.GetReason(), x.GetConversions(), x.GetExampleConvId()})
	}
	switch {
	case r == nil:
		s.RunID, s.Status, s.Error = id, statusFailed, err.Error()
		var stop *stoppedError
		if errors.As(err, &stop) {
			s.Status = stop.status
		}
	case err != nil:
		s.Status, s.Error = statusPartly, err.Error()
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
	if err := printChannels(w, r.GetCsv()); err == nil {
		out("\n")
	}
	out("%s", conversionsText(c))
	out("\n%s touchpoints, model %s", human.Thousands(c.GetTouchpoints()), r.GetModel())
	if r.GetRequests() > 0 {
		out(", %s requests", human.Thousands(r.GetRequests()))
	}
	out(", %.1f s\n", took.Seconds())
	for _, x := range r.GetReasons() {
		if x.GetKind() != ihcv1.OutcomeKind_OUTCOME_KIND_WITHOUT_SESSIONS {
			out("%s %s: %s (one is %q)\n", human.Thousands(x.GetConversions()), run.OutcomeName(x.GetKind()), x.GetReason(), x.GetExampleConvId())
		}
	}
	for _, n := range r.GetNotes() {
		out("note: %s\n", n)
	}
	out("\nReconciliation\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, e := range r.GetReconciliation() {
		mark := "ok"
		if !e.GetHolds() {
			mark = "DOES NOT HOLD"
		}
		_, _ = fmt.Fprintf(t, "  %s\t%s\t= %s\t%s\n", e.GetDescription(), e.GetLeft(), e.GetRight(), mark)
	}
	_ = t.Flush()
	if r.GetCsv() != "" {
		out("\nreport: %s\n", r.GetCsv())
	}
}

// conversionsText says how many conversions ended how.
func conversionsText(c *ihcv1.Counts) string {
	text := fmt.Sprintf("%s conversions in range: %s attributed", human.Thousands(c.GetInRange()), human.Thousands(c.GetAttributed()))
	for _, k := range []struct {
		n    uint64
		name string
	}{{c.GetApproximated(), "approximated"}, {c.GetExcluded(), "excluded"}, {c.GetFailed(), "failed"}, {c.GetWithoutSessions(), "without sessions"}} {
		if k.n > 0 {
			text += fmt.Sprintf(", %s %s", human.Thousands(k.n), k.name)
		}
	}
	return text
}

// maxName is how many cells of a table a name may take.
const maxName = 40

// printChannels prints the report's totals by channel, as ratios of sums.
func printChannels(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err // of a stack on another machine
	}
	defer f.Close() //nolint:errcheck // only read
	rows := csv.NewReader(f)
	if _, err := rows.Read(); err != nil {
		return err
	}
	type sum struct{ cost, ihc, revenue decimal.Decimal }
	channels := map[string]*sum{}
	total := &sum{}
	first, last := "", ""
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return errkind.Environmentf("read %s: %w", path, err)
		}
		if channels[row[0]] == nil {
			channels[row[0]] = &sum{}
		}
		if first == "" {
			first = row[1]
		}
		last = row[1]
		for _, s := range []*sum{channels[row[0]], total} {
			for i, into := range []*decimal.Decimal{&s.cost, &s.ihc, &s.revenue} {
				v, err := decimal.NewFromString(row[2+i])
				if err != nil {
					return errkind.Environmentf("read %s: %w", path, err)
				}
				*into = into.Add(v)
			}
		}
	}
	names := make([]string, 0, len(channels))
	for name := range channels {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if c := channels[b].revenue.Cmp(channels[a].revenue); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	_, _ = fmt.Fprintf(w, "Channels, sessions from %s to %s\n\n", first, last)
	table := [][]string{{"channel", "cost", "conversions (ihc)", "revenue (ihc)", "CPO", "ROAS"}}
	line := func(name string, s *sum) {
		ratio := func(a, b decimal.Decimal) string {
			if b.IsZero() {
				return "–"
			}
			return a.DivRound(b, 2).StringFixed(2)
		}
		table = append(table, []string{name, s.cost.StringFixed(2), s.ihc.StringFixed(2), s.revenue.StringFixed(2), ratio(s.cost, s.ihc), ratio(s.revenue, s.cost)})
	}
	for i, name := range names {
		if i == 30 {
			table = append(table, []string{fmt.Sprintf("(%d more)", len(names)-i)})
			break
		}
		line(human.Cut(human.Printable(name), maxName), channels[name])
	}
	line("total", total)
	return human.Table(w, table)
}
