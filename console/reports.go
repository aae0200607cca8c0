package console

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/sheet"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/report"
)

// asked is what an address asks a report of.
func (c *console) asked(q url.Values) (report.Query, error) {
	a := report.Query{By: q.Get("by"), Channel: q.Get("channel"), Compare: q.Get("compare"), Zone: q.Get("timezone"), Currency: cmp.Or(q.Get("currency"), c.Currency)}
	zone, err := civil.Zone(a.Zone)
	if err != nil {
		return a, fmt.Errorf("timezone %w", err)
	}
	if a.Start, a.End, err = civil.ResolveRange("start_date", q.Get("start_date"), "end_date", q.Get("end_date"), civil.Today(time.Now().In(zone))); err != nil {
		return a, err
	}
	for name, into := range map[string]*bool{"phases": &a.Phases, "paths": &a.Paths, "unattributed": &a.Unattributed} {
		if *into, err = yes(q, name); err != nil {
			return a, err
		}
	}
	return a, nil
}

// yes reads a parameter that is true or false, and false where it is left out.
func yes(q url.Values, name string) (bool, error) {
	text := q.Get(name)
	if text == "" {
		return false, nil
	}
	is, err := strconv.ParseBool(text)
	if err != nil {
		return false, errkind.Inputf("%s %.20q: use true or false", name, text)
	}
	return is, nil
}

// dialect is how an address wants its CSV spelled.
func dialect(q url.Values) (sheet.Dialect, error) {
	mark, err := yes(q, "bom")
	if err != nil {
		return sheet.Dialect{}, err
	}
	return sheet.ParseDialect(q.Get("delimiter"), q.Get("decimal"), mark)
}

// report reads what a report is of, when it is its turn.
func (c *console) report(ctx context.Context, q report.Query) (*report.Report, error) {
	done, err := c.reading(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return q.Read(ctx, c.db, func(name string) string { return name })
}

// Media types that a report comes in, the first where none is asked for.
var reportTypes = []string{"application/json", "text/csv", "text/html"}

// accepted returns the first of the media types that the header asks for most,
// "" for none of them.
func acceptedType(header string, types []string) string {
	if header == "" {
		return types[0]
	}
	best, weight := "", 0.0
	for one := range strings.SplitSeq(header, ",") {
		kind, params, err := mime.ParseMediaType(strings.TrimSpace(one))
		if err != nil {
			continue
		}
		q := 1.0
		if text, there := params["q"]; there {
			if q, err = strconv.ParseFloat(text, 64); err != nil {
				continue
			}
		}
		for _, t := range types {
			major, _, _ := strings.Cut(t, "/")
			if (kind == t || kind == "*/*" || kind == major+"/*") && q > weight {
				best, weight = t, q
			}
		}
	}
	return best
}

func (c *console) getReport(w http.ResponseWriter, r *http.Request) error {
	q, err := c.asked(r.URL.Query())
	if err != nil {
		return err
	}
	kind := acceptedType(r.Header.Get("Accept"), reportTypes)
	if kind == "" {
		return refuse(http.StatusNotAcceptable, codeAcceptable, "a report comes as %s", strings.Join(reportTypes, ", "))
	}
	rep, err := c.report(r.Context(), q)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	switch kind {
	case "text/html":
		page := rep.Page()
		if err := page.Write(&b); err != nil {
			return err
		}
		w.Header().Set("Content-Security-Policy", reportPolicy)
	case "text/csv":
		tables := q.Tables(rep)
		if len(tables) > 1 {
			return errkind.Inputf("a CSV is one table: leave out phases, paths and unattributed, or ask for JSON")
		}
		d, err := dialect(r.URL.Query())
		if err != nil {
			return err
		}
		if err := tables[0].CSVAs(&b, d); err != nil {
			return err
		}
		kind += "; header=present"
	default:
		return answerJSON(w, r, http.StatusOK, rep.JSON(q.Tables(rep)))
	}
	return answer(w, r, http.StatusOK, kind+"; charset=utf-8", b.Bytes())
}

// explain reads a conversion and explains it.
func (c *console) explain(ctx context.Context, id string) (*report.Explanation, error) {
	conversion, err := c.db.Conversion(ctx, id)
	if err != nil {
		return nil, err
	}
	return report.Explain(conversion), nil
}

func (c *console) getConversion(w http.ResponseWriter, r *http.Request) error {
	e, err := c.explain(r.Context(), r.PathValue("conv_id"))
	if err != nil {
		return err
	}
	return answerJSON(w, r, http.StatusOK, e)
}

// getDiff answers what changed from one run's report to another's.
func (c *console) getDiff(w http.ResponseWriter, r *http.Request) error {
	d, err := c.db.Difference(r.Context(), r.URL.Query().Get("with"), r.PathValue("run_id"))
	if err != nil {
		return err
	}
	return answerJSON(w, r, http.StatusOK, report.DifferenceOf(d))
}

// found is what is odd about the data.
type found struct {
	Sound    bool `json:"sound"`
	Errors   int  `json:"errors"`
	Warnings int  `json:"warnings"`
	Notes    int  `json:"notes"`
	*findings.Findings
}

func (c *console) validate(ctx context.Context, start, end string) (*findings.Findings, error) {
	if err := civil.CheckRange("start_date", start, "end_date", end); err != nil {
		return nil, err
	}
	done, err := c.reading(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return c.db.Validate(ctx, findings.Options{StartDate: start, EndDate: end})
}

func (c *console) getFindings(w http.ResponseWriter, r *http.Request) error {
	f, err := c.validate(r.Context(), r.URL.Query().Get("start_date"), r.URL.Query().Get("end_date"))
	if err != nil {
		return err
	}
	return answerJSON(w, r, http.StatusOK, found{f.Err() == nil, f.Count(findings.Error), f.Count(findings.Warning), f.Count(findings.Note), f})
}

// plannable returns the request that an address or a form asks for, complete.
func plannable(q url.Values) (*ihcv1.RunRequest, error) {
	req := &ihcv1.RunRequest{RunId: q.Get("run_id"), StartDate: q.Get("start_date"), EndDate: q.Get("end_date"), Model: q.Get("model"), LongJourneys: q.Get("long_journeys")}
	for name, into := range map[string]*uint32{"max_sessions": &req.MaxSessions, "max_journeys": &req.MaxJourneys, "lookback_days": &req.LookbackDays, "max_age_days": &req.MaxAgeDays} {
		n, err := number(q.Get(name), name, 0, 0)
		if err != nil {
			return nil, err
		}
		*into = uint32(min(n, 1<<31)) // what is too much is refused below
	}
	n, err := number(q.Get("max_requests"), "max_requests", 0, 0)
	if err != nil {
		return nil, err
	}
	req.MaxRequests = n
	switch full := q.Get("full"); full {
	case "", "false":
	case "true":
		req.Full = true
	default:
		return nil, errkind.Inputf("full %.20q: use true or false", full)
	}
	return run.Complete(req)
}

// plan returns what a run would do, at the pace of one attributor that sends a
// request at a time where the address says nothing else.
func (c *console) plan(ctx context.Context, q url.Values) (*ops.PlanView, error) {
	req, err := plannable(q)
	if err != nil {
		return nil, err
	}
	var pace ops.Pace
	if pace.DailyQuota, err = number(q.Get("daily_quota"), "daily_quota", 0, 0); err != nil {
		return nil, err
	}
	if text := q.Get("latency"); text != "" {
		if pace.Latency, err = time.ParseDuration(text); err != nil || pace.Latency < 0 {
			return nil, errkind.Inputf("latency %.20q: use a time, as in 400ms", text)
		}
	}
	atOnce, err := number(q.Get("concurrency"), "concurrency", 4, 1000)
	if err != nil {
		return nil, err
	}
	pace.Concurrency = int(atOnce)
	scoring := c.usualScoring(ctx, req)
	req.Model = cmp.Or(req.GetModel(), scoring.GetModel(), run.ModelBuiltin)
	if req.GetLongJourneys() == "" {
		req.LongJourneys = run.DefaultLongJourneys
	}
	done, err := c.reading(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	var known func(string, []byte) (bool, error)
	if scoring != nil {
		if known, err = store.Unchanged(ctx, c.db, req, scoring); err != nil {
			return nil, err
		}
	}
	p, err := ops.NewPlan(ctx, c.db, req, c.bus.MaxMessage(), known, pace)
	if err != nil {
		return nil, err
	}
	v := ops.ViewPlan(p, pace)
	return &v, nil
}

// usualScoring is what an attributor says that a run would be scored by; nil
// where none is there, or where it says that it cannot.
func (c *console) usualScoring(ctx context.Context, req *ihcv1.RunRequest) *ihcv1.Scoring {
	a, err := c.bus.AskScoring(ctx, req)
	if err != nil || a.GetScoring().GetModel() == "" {
		return nil
	}
	return a.GetScoring()
}

func (c *console) getPlan(w http.ResponseWriter, r *http.Request) error {
	p, err := c.plan(r.Context(), r.URL.Query())
	if err != nil {
		return err
	}
	return answerJSON(w, r, http.StatusOK, p)
}

// healthz says that the console is there, and no more.
func (c *console) healthz(w http.ResponseWriter, _ *http.Request) error {
	_, err := io.WriteString(w, "ok\n")
	return err
}
