package run

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// Result is a run's result for programs: what `--json` prints, and what is in
// reconciliation.json. Amounts are exact decimals. Fields are only ever added.
type Result struct {
	RunID  string `json:"run_id"`
	Status Status `json:"status"`
	Error  string `json:"error,omitempty"`
	// Code is that of the error, as package errkind has it.
	Code string `json:"code,omitempty"`
	// ExitCode is that of the command that followed the run; a file has none.
	ExitCode *int `json:"exit_code,omitempty"`
	// Model is what scored, ModelParameters the name of its parameters.
	Model           string `json:"model"`
	ModelParameters string `json:"model_parameters,omitempty"`
	StartDate       string `json:"start_date,omitempty"`
	EndDate         string `json:"end_date,omitempty"`
	// Seconds is how long it was followed; a file, which is the same however
	// often it is written, has none.
	Seconds     *float64        `json:"seconds,omitempty"`
	Conversions Conversions     `json:"conversions"`
	Touchpoints uint64          `json:"touchpoints"`
	Requests    uint64          `json:"requests"`
	ReportRows  uint64          `json:"report_rows"`
	IHC         json.Number     `json:"ihc"`
	IHCRevenue  json.Number     `json:"ihc_revenue"`
	Cost        json.Number     `json:"cost"`
	Revenue     ResultRevenue   `json:"revenue"`
	Bridge      *ResultBridge   `json:"bridge,omitempty"`
	Refunds     *ResultRefunds  `json:"refunds,omitempty"`
	FirstDate   string          `json:"first_date,omitempty"`
	LastDate    string          `json:"last_date,omitempty"`
	Channels    []ResultChannel `json:"channels"`
	Total       *ResultChannel  `json:"total,omitempty"`
	ChannelRows uint64          `json:"channel_count"`
	CSV         string          `json:"csv"`
	// CSVDigest is the SHA-256 of the CSV's bytes: a file that has it is this run's.
	CSVDigest string            `json:"csv_sha256,omitempty"`
	Equations []ResultEquation  `json:"reconciliation"`
	Reasons   []ResultReason    `json:"reasons"`
	Shortened []ResultShortened `json:"approximations"`
	Notes     []string          `json:"notes"`
	Counts    map[string]uint64 `json:"counts,omitempty"`
	Request   json.RawMessage   `json:"request,omitempty"`
	// SourceDigest is that of the source tables as the run read them, empty for a
	// replay; Program the version of the program that reported it.
	SourceDigest string `json:"source_digest,omitempty"`
	Program      string `json:"program,omitempty"`
}

// Write writes the result as indented JSON.
func (r Result) Write(w io.Writer) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	return out.Encode(r)
}

// Conversions are a run's conversions in range and by outcome, under the names
// of [Outcomes]; nil while they are not known. Those approximated and those reused
// are among those attributed.
type Conversions map[string]uint64

// InRangeName is what all of them are called, ReusedName those of the ones
// attributed that were not scored again.
const (
	InRangeName = "in_range"
	ReusedName  = "reused"
)

// ConversionsOf returns counts by name.
func ConversionsOf(c *ihcv1.Counts) Conversions {
	j := Conversions{InRangeName: c.GetInRange()}
	for o, n := range Each(c) {
		j[o.Name] = n
	}
	j[OutcomeOf(ihcv1.OutcomeKind_OUTCOME_KIND_ATTRIBUTED).Name] = WithAttribution(c)
	j[ReusedName] = c.GetReused()
	return j
}

// MarshalJSON writes them in the order of the outcomes.
func (j Conversions) MarshalJSON() ([]byte, error) {
	if j == nil {
		return []byte("null"), nil
	}
	text := fmt.Appendf(nil, `{"%s":%d`, InRangeName, j[InRangeName])
	for _, o := range Outcomes() {
		text = fmt.Appendf(text, `,"%s":%d`, o.Name, j[o.Name])
	}
	return fmt.Appendf(text, `,"%s":%d}`, ReusedName, j[ReusedName]), nil
}

// ResultRevenue is that of the conversions in range.
type ResultRevenue struct {
	InRange      json.Number `json:"in_range"`
	Attributed   json.Number `json:"attributed"`
	Unattributed json.Number `json:"unattributed"`
}

// ResultBridge leads from the session dates in range to its conversions.
type ResultBridge struct {
	Elsewhere       ResultCredit `json:"elsewhere"`
	FromOthers      ResultCredit `json:"from_others"`
	NeverAttributed uint64       `json:"never_attributed"`
}

// ResultCredit is shares of conversions, and the same times their revenue.
type ResultCredit struct {
	IHC        json.Number `json:"ihc"`
	IHCRevenue json.Number `json:"ihc_revenue"`
}

// ResultChannel sums up a channel; a ratio is null where its divisor is 0.
type ResultChannel struct {
	Channel    string       `json:"channel"`
	Cost       json.Number  `json:"cost"`
	IHC        json.Number  `json:"ihc"`
	IHCRevenue json.Number  `json:"ihc_revenue"`
	CPO        *json.Number `json:"cpo"`
	ROAS       *json.Number `json:"roas"`
}

// ResultEquation is one line of the reconciliation.
type ResultEquation struct {
	Name        string      `json:"name"`
	Description string      `json:"description"`
	Left        json.Number `json:"left"`
	Right       json.Number `json:"right"`
	Holds       bool        `json:"holds"`
}

// ResultReason says how many conversions share an outcome and its reason. Kind
// is the outcome as messages name it.
type ResultReason struct {
	Outcome     string      `json:"outcome"`
	Kind        string      `json:"kind"`
	Reason      string      `json:"reason"`
	Conversions uint64      `json:"conversions"`
	Revenue     json.Number `json:"revenue"`
	Example     string      `json:"example_conv_id"`
}

// ResultRefunds are the conversions in range with a negative revenue.
type ResultRefunds struct {
	Conversions uint64      `json:"conversions"`
	Revenue     json.Number `json:"revenue"`
	Subtracted  bool        `json:"subtracted"`
}

// ResultShortened is how some conversions with journeys too long were scored.
type ResultShortened struct {
	Strategy    string `json:"strategy"`
	Model       string `json:"model,omitempty"`
	Conversions uint64 `json:"conversions"`
	LeftOut     uint64 `json:"sessions_left_out"`
}

// ResultOf returns the result that a report holds; of none, one without
// numbers.
func ResultOf(r *ihcv1.Report) Result {
	c := r.GetCounts()
	model, params, _ := strings.Cut(r.GetModel(), " ")
	s := Result{RunID: r.GetRunId(), Status: Conclusion(r), Model: model, ModelParameters: params, SourceDigest: r.GetSourceDigest(), Program: r.GetProgram(),
		StartDate: r.GetRequest().GetStartDate(), EndDate: r.GetRequest().GetEndDate(),
		Conversions: ConversionsOf(c), Touchpoints: c.GetTouchpoints(), Requests: r.GetRequests(), ReportRows: r.GetReportRows(),
		IHC: exact(r.GetIhc()), IHCRevenue: exact(r.GetIhcRevenue()), Cost: exact(r.GetCost()), CSV: r.GetCsv(), CSVDigest: r.GetCsvSha256(),
		Revenue: ResultRevenue{exact(r.GetRevenue().GetInRange()), exact(r.GetRevenue().GetAttributed()), exact(r.GetRevenue().GetUnattributed())},
		Bridge:  bridgeOf(r.GetBridge()), FirstDate: r.GetFirstDate(), LastDate: r.GetLastDate(), ChannelRows: r.GetChannelCount(),
		Channels: []ResultChannel{}, Equations: []ResultEquation{}, Reasons: []ResultReason{}, Shortened: []ResultShortened{}, Notes: append([]string{}, r.GetNotes()...)}
	for _, t := range r.GetChannels() {
		s.Channels = append(s.Channels, *channelOf(t))
	}
	if r.GetTotal() != nil {
		s.Total = channelOf(r.GetTotal())
	}
	for _, q := range r.GetReconciliation() {
		s.Equations = append(s.Equations, ResultEquation{q.GetName(), q.GetDescription(), exact(q.GetLeft()), exact(q.GetRight()), q.GetHolds()})
	}
	for _, x := range r.GetReasons() {
		s.Reasons = append(s.Reasons, ResultReason{OutcomeName(x.GetKind()), x.GetKind().String(), x.GetReason(), x.GetConversions(), exact(x.GetRevenue()), x.GetExampleConvId()})
	}
	for _, a := range r.GetApproximations() {
		s.Shortened = append(s.Shortened, ResultShortened{a.GetStrategy(), a.GetModel(), a.GetConversions(), a.GetSessionsLeftOut()})
	}
	if f := r.GetRefunds(); f != nil {
		s.Refunds = &ResultRefunds{f.GetConversions(), exact(f.GetRevenue()), f.GetSubtracted()}
	}
	if c != nil {
		s.Counts = map[string]uint64{"touchpoints": c.GetTouchpoints()}
		for name, n := range s.Conversions {
			s.Counts[name] = n
		}
	}
	if request, err := JSON(r.GetRequest(), "  "); err == nil && r.GetRequest() != nil {
		s.Request = request
	}
	return s
}

func bridgeOf(b *ihcv1.Bridge) *ResultBridge {
	if b == nil {
		return nil
	}
	credit := func(c *ihcv1.Credit) ResultCredit {
		return ResultCredit{exact(c.GetIhc()), exact(c.GetIhcRevenue())}
	}
	return &ResultBridge{credit(b.GetElsewhere()), credit(b.GetFromOthers()), b.GetNeverAttributed()}
}

func channelOf(t *ihcv1.ChannelTotal) *ResultChannel {
	ratio := func(text string) *json.Number {
		if text == "" {
			return nil
		}
		n := json.Number(text)
		return &n
	}
	return &ResultChannel{t.GetChannel(), exact(t.GetCost()), exact(t.GetIhc()), exact(t.GetIhcRevenue()), ratio(t.GetCpo()), ratio(t.GetRoas())}
}

func exact(text string) json.Number {
	if text == "" {
		return "0"
	}
	return json.Number(text)
}
