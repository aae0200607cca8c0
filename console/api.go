package console

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the description of the API
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

//go:embed openapi.yaml
var openAPI []byte

// apiBase is where the HTTP API begins.
const apiBase = "/api/v1"

// route is one thing that can be asked for.
type route struct {
	method, path string
	do           func(http.ResponseWriter, *http.Request) error
	// changes says that it is not for a console that only looks.
	changes bool
	// takes are the parameters behind the question mark. The API refuses others: one
	// that is misspelt would otherwise be as if it were not there.
	takes []string
}

// apiRoutes is the HTTP API; a test holds openapi.yaml to it.
func (c *console) apiRoutes() []route {
	return []route{
		{method: "GET", path: "/openapi.yaml", do: c.describe},
		{method: "GET", path: "/runs", do: c.listRuns, takes: []string{"state", "limit", "before"}},
		{method: "POST", path: "/runs", do: c.postRun, changes: true},
		{method: "GET", path: "/runs/{run_id}", do: c.getRun},
		{method: "PUT", path: "/runs/{run_id}", do: c.putRun, changes: true},
		{method: "GET", path: "/runs/{run_id}/result", do: c.getResult},
		{method: "GET", path: "/runs/{run_id}/events", do: c.getEvents},
		{method: "GET", path: "/runs/{run_id}/failed", do: c.getFailed},
		{method: "GET", path: "/runs/{run_id}/dead", do: c.getDead},
		{method: "GET", path: "/runs/{run_id}/diff", do: c.getDiff, takes: []string{"with"}},
		{method: "POST", path: "/runs/{run_id}/cancel", do: c.postCancel, changes: true},
		{method: "POST", path: "/runs/{run_id}/resume", do: c.postResume, changes: true},
		{method: "POST", path: "/runs/{run_id}/replay", do: c.postReplay, changes: true},
		{method: "GET", path: "/plan", do: c.getPlan, takes: []string{"start_date", "end_date", "model", "full", "max_age_days", "long_journeys", "lookback_days", "max_sessions", "max_journeys",
			"max_requests", "latency", "concurrency", "daily_quota"}},
		{method: "GET", path: "/report", do: c.getReport, takes: []string{"by", "channel", "start_date", "end_date", "compare", "timezone", "currency", "phases", "paths", "unattributed",
			"decimal", "delimiter", "bom"}},
		{method: "GET", path: "/conversions/{conv_id}", do: c.getConversion},
		{method: "GET", path: "/findings", do: c.getFindings, takes: []string{"start_date", "end_date"}},
	}
}

// routes is everything that can be asked for.
func (c *console) routes() http.Handler {
	mux := http.NewServeMux()
	add := func(base string, routes []route) {
		byPath := map[string][]string{}
		for _, r := range routes {
			mux.HandleFunc(r.method+" "+base+r.path, func(w http.ResponseWriter, q *http.Request) {
				if r.changes && c.ReadOnly {
					c.fail(w, q, refuse(http.StatusForbidden, codeReadOnly, "this console is read-only (--console-read-only): nothing can be started or changed here"))
					return
				}
				err := r.refuses(base, q.URL.Query())
				if err == nil {
					err = r.do(w, q)
				}
				if err != nil {
					c.fail(w, q, err)
				}
			})
			byPath[r.path] = append(byPath[r.path], r.method)
		}
		for path, methods := range byPath {
			mux.HandleFunc(base+path, func(w http.ResponseWriter, q *http.Request) {
				w.Header().Set("Allow", strings.Join(methods, ", "))
				c.fail(w, q, refuse(http.StatusMethodNotAllowed, codeNotAllowed, "%s is not for this address; use %s", q.Method, strings.Join(methods, " or ")))
			})
		}
	}
	add(apiBase, c.apiRoutes())
	add("", c.pageRoutes())
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		c.fail(w, r, refuse(http.StatusNotFound, codeNotFound, "there is nothing at %s", r.URL.Path))
	})
	return mux
}

// refuses says what is wrong with the parameters of an address of the API. Pages
// take what there is: others link to them.
func (r route) refuses(base string, q url.Values) error {
	if base == "" {
		return nil
	}
	for name, values := range q {
		switch {
		case len(r.takes) == 0:
			return errkind.Inputf("%.40q: this address takes no parameters", name)
		case !slices.Contains(r.takes, name):
			return errkind.Inputf("there is no parameter %.40q here: use %s", name, strings.Join(r.takes, ", "))
		case len(values) > 1:
			return errkind.Inputf("%s is there %d times: give it once", name, len(values))
		}
	}
	return nil
}

func (c *console) describe(w http.ResponseWriter, r *http.Request) error {
	return answer(w, r, http.StatusOK, "application/yaml", openAPI)
}

// answer sends a body with its ETag, or says that the client has it.
func answer(w http.ResponseWriter, r *http.Request, status int, kind string, body []byte) error {
	w.Header().Set("Content-Type", kind)
	if status == http.StatusOK {
		sum := sha256.Sum256(body)
		tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
		w.Header().Set("ETag", tag)
		w.Header().Add("Vary", "Accept")
		for one := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
			if one = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(one), "W/")); one == tag || one == "*" {
				w.WriteHeader(http.StatusNotModified)
				return nil
			}
		}
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) //nolint:gosec // pages are escaped by their templates, and who is gone is gone
	}
	return nil
}

func answerJSON(w http.ResponseWriter, r *http.Request, status int, v any) error {
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	if err := out.Encode(v); err != nil {
		return err
	}
	return answer(w, r, status, "application/json", b.Bytes())
}

// isJSON refuses a body that is not said to be JSON. A form of another site
// cannot say so.
func isJSON(r *http.Request) error {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return refuse(http.StatusUnsupportedMediaType, codeMediaType, "send JSON, and say so: Content-Type: application/json")
	}
	return nil
}

// runRequest reads the body as a run request and completes it.
func runRequest(r *http.Request) (*ihcv1.RunRequest, error) {
	if err := isJSON(r); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var req ihcv1.RunRequest
	if err := protojson.Unmarshal(body, &req); err != nil {
		return nil, errkind.Inputf("the body is no run request: %w", err)
	}
	if req.GetReplayOf() != "" || req.GetReplayFrom() != "" || req.GetSupersedes() != "" {
		return nil, errkind.Inputf("replay_of, replay_from and supersedes are not for this address: a run is replayed by POST %s/runs/{run_id}/replay", apiBase)
	}
	return run.Complete(&req)
}

// listed is an answer with several runs, the latest first.
type listed struct {
	Runs []ops.View `json:"runs"`
	// Next is what "before" of the next request is, where there are more.
	Next string `json:"next,omitempty"`
}

// Limits of a list.
const (
	usualRuns = 50
	mostRuns  = 500
)

func (c *console) listRuns(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	limit, err := number(q.Get("limit"), "limit", usualRuns, mostRuns)
	if err != nil {
		return err
	}
	states, next, err := c.latest(r, q.Get("state"), q.Get("before"), int(limit))
	if err != nil {
		return err
	}
	all := listed{Runs: make([]ops.View, len(states)), Next: next}
	for i, s := range states {
		all.Runs[i] = ops.ViewOf(s)
	}
	return answerJSON(w, r, http.StatusOK, all)
}

// latest returns the latest runs of a state, "" for any, before another, "" for
// from the last on; and the last of them where there are more.
func (c *console) latest(r *http.Request, state, before string, limit int) (some []*run.State, next string, err error) {
	if state != "" && !slices.Contains(run.Statuses(), run.Status(state)) {
		return nil, "", errkind.Inputf("state %.40q: there is none of that name", state)
	}
	all, err := c.runs.List(r.Context())
	if err != nil {
		return nil, "", err
	}
	skip := before != ""
	for i := len(all) - 1; i >= 0; i-- {
		s := all[i]
		if skip {
			skip = s.ID != before
			continue
		}
		if state != "" && string(s.Status()) != state {
			continue
		}
		if len(some) == limit {
			return some, some[limit-1].ID, nil
		}
		some = append(some, s)
	}
	return some, "", nil
}

// number reads a number of 0 or more, at most most for a most that is not 0.
func number(text, name string, usual, most uint64) (uint64, error) {
	if text == "" {
		return usual, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || most > 0 && (n > most || n == 0) {
		if most > 0 {
			return 0, errkind.Inputf("%s %.20q: use a number from 1 to %d", name, text, most)
		}
		return 0, errkind.Inputf("%s %.20q: use a number of 0 or more", name, text)
	}
	return n, nil
}

func (c *console) getRun(w http.ResponseWriter, r *http.Request) error {
	s, err := c.runs.Get(r.Context(), r.PathValue("run_id"))
	if err != nil {
		return err
	}
	return answerJSON(w, r, http.StatusOK, ops.ViewWhole(s))
}

func (c *console) getResult(w http.ResponseWriter, r *http.Request) error {
	s, err := c.runs.Get(r.Context(), r.PathValue("run_id"))
	if err != nil {
		return err
	}
	result, ended := ops.ResultOf(s)
	if !ended {
		return refuse(http.StatusNotFound, codeNotEnded, "run %s has not ended (it is %s)", s.ID, s.Status())
	}
	return answerJSON(w, r, http.StatusOK, result)
}

func (c *console) getFailed(w http.ResponseWriter, r *http.Request) error {
	s, err := c.runs.Get(r.Context(), r.PathValue("run_id"))
	if err != nil {
		return err
	}
	failed, err := c.runs.Failed(r.Context(), s)
	if err != nil {
		return err
	}
	return answerJSON(w, r, http.StatusOK, map[string]any{"failed": failed})
}

// deadLetter is one as the API tells of it.
type deadLetter struct {
	Number uint64 `json:"number"`
	Time   string `json:"time"`
	Stage  string `json:"stage"`
	Chunk  uint32 `json:"chunk,omitempty"`
	Tries  string `json:"tries"`
	Reason string `json:"reason"`
}

func (c *console) getDead(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("run_id")
	if _, err := c.runs.Get(r.Context(), id); err != nil {
		return err
	}
	letters, err := c.runs.DeadLetters(r.Context(), id)
	if err != nil {
		return err
	}
	all := make([]deadLetter, len(letters))
	for i, d := range letters {
		all[i] = deadLetter{d.Sequence, d.Time.Format(timeFormat), d.Stage, d.Chunk, d.Tries, d.Reason}
	}
	return answerJSON(w, r, http.StatusOK, map[string]any{"dead_letters": all})
}

const timeFormat = "2006-01-02T15:04:05Z"

// start asks for a run, one at a time, so that two that want the same id at the
// same moment do not both believe that it is theirs.
func (c *console) start(r *http.Request, req *ihcv1.RunRequest) (id string, err error) {
	c.starts.Lock()
	defer c.starts.Unlock()
	if req.GetReplayOf() != "" {
		return c.runs.Replay(r.Context(), req)
	}
	return c.runs.Start(r.Context(), req)
}

// accepted answers that a run was asked for.
func (c *console) accepted(w http.ResponseWriter, r *http.Request, id string) error {
	s, err := c.runs.Get(r.Context(), id)
	if err != nil {
		return err
	}
	w.Header().Set("Location", apiBase+"/runs/"+id)
	return answerJSON(w, r, http.StatusAccepted, ops.ViewOf(s))
}

// begin starts a run and answers with where it is.
func (c *console) begin(w http.ResponseWriter, r *http.Request, req *ihcv1.RunRequest) error {
	id, err := c.start(r, req)
	if err != nil {
		return err
	}
	return c.accepted(w, r, id)
}

func (c *console) postRun(w http.ResponseWriter, r *http.Request) error {
	req, err := runRequest(r)
	if err != nil {
		return err
	}
	return c.begin(w, r, req)
}

func (c *console) putRun(w http.ResponseWriter, r *http.Request) error {
	req, err := runRequest(r)
	if err != nil {
		return err
	}
	id := r.PathValue("run_id")
	if !run.ValidID(id) {
		return errkind.Inputf("run id %.80q: use 1 to 64 letters, digits, _ or -", id)
	}
	if req.GetRunId() != "" && req.GetRunId() != id {
		return errkind.Inputf("run_id %q in the body is another than the address has", req.GetRunId())
	}
	req.RunId = id
	return c.begin(w, r, req)
}

// body reads a body of JSON into v; an empty one leaves it as it is.
func body(r *http.Request, v any) error {
	data, err := io.ReadAll(r.Body)
	if err != nil || len(bytes.TrimSpace(data)) == 0 {
		return err
	}
	if err := isJSON(r); err != nil {
		return err
	}
	in := json.NewDecoder(bytes.NewReader(data))
	in.DisallowUnknownFields()
	if err := in.Decode(v); err != nil {
		return errkind.Inputf("the body: %w", err)
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return errkind.Inputf("the body: there is something after its end")
	}
	return nil
}

// mostReason is how many bytes a reason has at the most.
const mostReason = 1000

func (c *console) postCancel(w http.ResponseWriter, r *http.Request) error {
	var ask struct {
		Reason string `json:"reason"`
	}
	if err := body(r, &ask); err != nil {
		return err
	}
	if len(ask.Reason) > mostReason {
		return errkind.Inputf("reason: use at most %d bytes", mostReason)
	}
	id := r.PathValue("run_id")
	if _, err := c.runs.Cancel(r.Context(), id, ask.Reason); err != nil {
		return err
	}
	return c.accepted(w, r, id)
}

func (c *console) postResume(w http.ResponseWriter, r *http.Request) error {
	var ask struct {
		MaxRequests uint64 `json:"max_requests"`
	}
	if err := body(r, &ask); err != nil {
		return err
	}
	id := r.PathValue("run_id")
	if err := c.runs.Resume(r.Context(), id, ask.MaxRequests); err != nil {
		return err
	}
	return c.accepted(w, r, id)
}

// replay is what a replay is asked for with.
type replay struct {
	From  string `json:"from"`
	RunID string `json:"run_id"`
	Model string `json:"model"`
	// MaxRequests is its budget, 0 for none.
	MaxRequests uint64 `json:"max_requests"`
}

// request returns the request of the replay of a run.
func (a replay) request(of string) (*ihcv1.RunRequest, error) {
	switch {
	case a.From != run.FromJourneys && a.From != run.FromResults:
		return nil, errkind.Inputf("from %.20q: use %s (score them again) or %s (write them again)", a.From, run.FromJourneys, run.FromResults)
	case a.From == run.FromResults && (a.Model != "" || a.MaxRequests > 0):
		return nil, errkind.Inputf("model and max_requests say how to score, and results are scored already: use from journeys")
	}
	return run.Complete(&ihcv1.RunRequest{RunId: a.RunID, ReplayOf: of, ReplayFrom: a.From, Model: a.Model, MaxRequests: a.MaxRequests})
}

func (c *console) postReplay(w http.ResponseWriter, r *http.Request) error {
	var ask replay
	if err := body(r, &ask); err != nil {
		return err
	}
	of := r.PathValue("run_id")
	if _, err := c.runs.Get(r.Context(), of); err != nil {
		return err
	}
	req, err := ask.request(of)
	if err != nil {
		return err
	}
	return c.begin(w, r, req)
}
