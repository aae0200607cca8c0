package console

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/page"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/version"
	"github.com/ihc-pipeline/ihc/store/report"
)

//go:embed assets
var assets embed.FS

// reportPolicy is that of the report's page, which has its style and its script
// in itself.
var reportPolicy = page.Policy + "; frame-ancestors 'none'"

// view is what a page is made from. What a page does not need stays empty.
type view struct {
	Title    string
	At       string // the page's address, for what is current in the menu
	ReadOnly bool
	Session  bool // there is one that can be ended
	Version  string
	Wrong    string

	Form    url.Values
	Runs    []runRow
	State   string
	States  []run.Status
	Next    string
	Run     *runView
	Action  string
	Plan    *ops.PlanView
	NewID   string
	Content template.HTML
	Options options
	Explain *report.Explanation
	Cell    *page.Figure
	Found   *found
	Lists   [][]findings.Finding
}

// StartFields are what a run can be asked for with on a page.
func (view) StartFields() []string {
	return []string{"start_date", "end_date", "model", "lookback_days", "max_requests", "full"}
}

// options are what a report can be asked for by.
type options struct{ Channels, Columns []string }

var templates = func() *template.Template {
	t := page.Parts().Funcs(template.FuncMap{
		"time":      func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
		"stamp":     func(t time.Time) string { return t.UTC().Format(timeFormat) },
		"thousands": thousands,
		"grouped":   grouped,
		"count":     func(n any, what string) string { return thousands(n) + " " + human.Plural(toInt(n), what) },
		"words":     func(s any) string { return strings.ReplaceAll(text(s), "_", " ") },
		"shown":     page.Name,
		"decimal":   func(e report.Exact, places int32) string { return human.Decimal(e.Decimal, places) },
		"permille":  func(e report.Exact) int64 { return e.Shift(3).Round(0).IntPart() },
		"join":      strings.Join,
		"path":      url.PathEscape,
		"query":     url.QueryEscape,
		"asFile":    asFile,
		"seconds":   func(s float64) string { return human.Duration(time.Duration(s * float64(time.Second))) },
	})
	return template.Must(t.ParseFS(assets, "assets/*.html"))
}()

// asFile returns the address of a report as a page of its own, from what was asked
// for.
func asFile(form url.Values) template.URL {
	q := url.Values{}
	for name, values := range form {
		if values[0] != "" {
			q[name] = values
		}
	}
	return template.URL("/api/v1/report?" + q.Encode()) //nolint:gosec // it is encoded
}

func text(v any) string {
	switch v := v.(type) {
	case run.Status:
		return string(v)
	case run.Phase:
		return string(v)
	case findings.Severity:
		return string(v)
	case string:
		return v
	default:
		return ""
	}
}

func toInt(n any) int64 {
	switch n := n.(type) {
	case int:
		return int64(n)
	case int64:
		return n
	case uint64:
		return int64(n)
	case uint32:
		return int64(n)
	default:
		return 0
	}
}

// grouped sets the thousands of an exact decimal apart.
func grouped(exact string) string {
	n, err := decimal.NewFromString(exact)
	if err != nil {
		return exact
	}
	return human.Decimal(n, max(-n.Exponent(), 0))
}

func thousands(n any) string { return human.Thousands(toInt(n)) }

// pageRoutes are the pages.
func (c *console) pageRoutes() []route {
	return []route{
		{method: "GET", path: "/{$}", do: c.runsPage},
		{method: "GET", path: "/runs/{run_id}", do: c.runPage},
		{method: "GET", path: "/live/{run_id}", do: c.livePart},
		{method: "GET", path: "/runs/{run_id}/{action}", do: c.confirmPage, changes: true},
		{method: "POST", path: "/runs/{run_id}/{action}", do: c.act, changes: true},
		{method: "GET", path: "/start", do: c.startPage, changes: true},
		{method: "POST", path: "/start", do: c.startRun, changes: true},
		{method: "GET", path: "/report", do: c.reportPage},
		{method: "GET", path: "/explain", do: c.explainPage},
		{method: "GET", path: "/data", do: c.dataPage},
		{method: "GET", path: "/login", do: c.login},
		{method: "POST", path: "/login", do: c.login},
		{method: "POST", path: "/logout", do: c.logout},
		{method: "GET", path: "/healthz", do: c.healthz},
		{method: "GET", path: "/assets/{name}", do: c.asset},
	}
}

// page writes a page by its template.
func (c *console) page(w http.ResponseWriter, r *http.Request, status int, name string, v view) error {
	v.At, v.ReadOnly, v.Version = r.URL.Path, c.ReadOnly, version.This().Version
	v.Session = c.token != nil && name != "login" && c.hasSession(r, time.Now())
	if v.Form == nil {
		v.Form = r.URL.Query()
	}
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, v); err != nil {
		return err
	}
	return answer(w, r, status, "text/html; charset=utf-8", b.Bytes())
}

// asset serves the style and the scripts.
func (c *console) asset(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	switch name {
	case "page.css":
		return answer(w, r, http.StatusOK, "text/css; charset=utf-8", []byte(page.Style()))
	case "page.js":
		return answer(w, r, http.StatusOK, "text/javascript; charset=utf-8", []byte(page.Script()))
	}
	kinds := map[string]string{"console.css": "text/css; charset=utf-8", "console.js": "text/javascript; charset=utf-8"}
	data, err := fs.ReadFile(assets, "assets/"+name)
	if err != nil || kinds[name] == "" {
		return refuse(http.StatusNotFound, codeNotFound, "there is no %s", r.URL.Path)
	}
	return answer(w, r, http.StatusOK, kinds[name], data)
}

// runRow is a run in a list.
type runRow struct {
	ops.View
	About string
	Took  string
}

// about says in a few words what a run is.
func about(s *run.State) string {
	switch of := s.Request.GetReplayOf(); {
	case s.Request == nil:
		return "a request that cannot be read"
	case of != "":
		return "replay of " + of + " from " + s.Request.GetReplayFrom()
	default:
		return run.Describe(s.Request)
	}
}

func (c *console) runsPage(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	states, next, err := c.latest(r, q.Get("state"), q.Get("before"), usualRuns)
	if err != nil {
		return err
	}
	v := view{Title: "Runs", State: q.Get("state"), States: run.Statuses(), Next: next}
	for _, s := range states {
		v.Runs = append(v.Runs, runRow{ops.ViewOf(s), about(s), human.Duration(s.Took(time.Now()))})
	}
	return c.page(w, r, http.StatusOK, "runs", v)
}

func (c *console) runPage(w http.ResponseWriter, r *http.Request) error {
	rv, err := c.look(r)
	if err != nil {
		return err
	}
	return c.page(w, r, http.StatusOK, "run", view{Title: "Run " + rv.RunID, Run: rv})
}

// livePart is the part of a run's page that changes while it goes on.
func (c *console) livePart(w http.ResponseWriter, r *http.Request) error {
	rv, err := c.look(r)
	if err != nil {
		return err
	}
	return c.page(w, r, http.StatusOK, "live", view{Run: rv})
}

// actions are what can be done to a run.
var actions = []string{"cancel", "resume", "replay"}

// confirmPage asks whether something is really to be done.
func (c *console) confirmPage(w http.ResponseWriter, r *http.Request) error {
	action := r.PathValue("action")
	if !slices.Contains(actions, action) {
		return refuse(http.StatusNotFound, codeNotFound, "there is nothing at %s", r.URL.Path)
	}
	rv, err := c.look(r)
	if err != nil {
		return err
	}
	return c.page(w, r, http.StatusOK, "confirm", view{Title: strings.ToUpper(action[:1]) + action[1:] + " run " + rv.RunID, Run: rv, Action: action, NewID: newID(time.Now())})
}

// act does what was confirmed.
func (c *console) act(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return err
	}
	var to string
	id := r.PathValue("run_id")
	switch r.PathValue("action") {
	case "cancel":
		reason := strings.TrimSpace(r.PostForm.Get("reason"))
		if len(reason) > mostReason {
			reason = strings.ToValidUTF8(reason[:mostReason], "")
		}
		if _, err := c.runs.Cancel(r.Context(), id, reason); err != nil {
			return err
		}
		to = id
	case "resume":
		more, err := number(r.PostForm.Get("max_requests"), "max_requests", 0, 0)
		if err != nil {
			return err
		}
		if err := c.runs.Resume(r.Context(), id, more); err != nil {
			return err
		}
		to = id
	case "replay":
		req, err := replay{From: r.PostForm.Get("from"), RunID: r.PostForm.Get("run_id")}.request(id)
		if err != nil {
			return err
		}
		if to, err = c.start(r, req); err != nil {
			return err
		}
	default:
		return refuse(http.StatusNotFound, codeNotFound, "there is nothing at %s", r.URL.Path)
	}
	http.Redirect(w, r, "/runs/"+url.PathEscape(to), http.StatusSeeOther)
	return nil
}

// newID returns an id for a run that somebody may ask for from a page, so that
// a form that is sent twice is one run.
func newID(now time.Time) string {
	return now.UTC().Format("20060102-150405") + "-" + strings.ToLower(rand.Text()[:3])
}

// startPage asks what a run is to be of, and shows what it would do.
func (c *console) startPage(w http.ResponseWriter, r *http.Request) error {
	v := view{Title: "Start a run", NewID: newID(time.Now())}
	if r.URL.Query().Has("plan") {
		p, err := c.plan(r.Context(), r.URL.Query())
		if err != nil {
			problem := problemOf(err)
			v.Wrong = problem.Detail
			return c.page(w, r, problem.Status, "start", v)
		}
		v.Plan = p
	}
	return c.page(w, r, http.StatusOK, "start", v)
}

func (c *console) startRun(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return err
	}
	var id string
	req, err := plannable(r.PostForm)
	if err == nil {
		id, err = c.start(r, req)
	}
	if err != nil {
		problem := problemOf(err)
		return c.page(w, r, problem.Status, "start", view{Title: "Start a run", Wrong: problem.Detail, Form: r.PostForm, NewID: newID(time.Now())})
	}
	http.Redirect(w, r, "/runs/"+url.PathEscape(id), http.StatusSeeOther)
	return nil
}

// reportPage is the report with what it can be asked for.
func (c *console) reportPage(w http.ResponseWriter, r *http.Request) error {
	v := view{Title: "Report"}
	q, err := c.asked(r.URL.Query())
	var rep *report.Report
	if err == nil {
		v.Options.Columns, _ = c.db.Dimensions(r.Context()) // without them there is less to choose from
		rep, err = c.report(r.Context(), q)
	}
	if err != nil {
		problem := problemOf(err)
		v.Wrong = problem.Detail
		return c.page(w, r, problem.Status, "report", v)
	}
	for _, row := range rep.By(report.ByChannel).Rows {
		if len(v.Options.Channels) < 100 && !slices.Contains(v.Options.Columns, q.By) {
			v.Options.Channels = append(v.Options.Channels, row[0].Text)
		}
	}
	if v.Content, err = rep.Page().Content(); err != nil {
		return err
	}
	return c.page(w, r, http.StatusOK, "report", v)
}

func (c *console) explainPage(w http.ResponseWriter, r *http.Request) error {
	v := view{Title: "Explain a conversion"}
	q := r.URL.Query()
	var err error
	switch {
	case q.Get("conversion") != "":
		v.Explain, err = c.explain(r.Context(), q.Get("conversion"))
	case q.Has("channel"):
		v.Cell, err = c.cell(r.Context(), q.Get("channel"), q.Get("date"))
	}
	if err != nil {
		problem := problemOf(err)
		v.Wrong = problem.Detail
		return c.page(w, r, problem.Status, "explain", v)
	}
	return c.page(w, r, http.StatusOK, "explain", v)
}

// cell returns what a channel's row of a date is made from.
func (c *console) cell(ctx context.Context, channel, date string) (*page.Figure, error) {
	if !civil.IsDate(date) {
		return nil, errkind.Inputf("date %.20q: write it as YYYY-MM-DD", date)
	}
	cell, err := c.db.Cell(ctx, channel, date)
	if err != nil {
		return nil, err
	}
	return &page.Figure{Sheet: report.CellSheet(cell), Open: true, Links: map[string]string{"conv_id": "/explain?conversion="}}, nil
}

// dataPage checks the data, when it is asked to: that reads all of them.
func (c *console) dataPage(w http.ResponseWriter, r *http.Request) error {
	v := view{Title: "Data"}
	if !r.URL.Query().Has("check") {
		return c.page(w, r, http.StatusOK, "findings", v)
	}
	f, err := c.validate(r.Context(), "", "")
	if err != nil {
		problem := problemOf(err)
		v.Wrong = problem.Detail
		return c.page(w, r, problem.Status, "findings", v)
	}
	v.Found = &found{f.Err() == nil, f.Count(findings.Error), f.Count(findings.Warning), f.Count(findings.Note), f}
	return c.page(w, r, http.StatusOK, "findings", v)
}
