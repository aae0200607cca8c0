package console

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/leak"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/internal/stream/streamtest"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store/open"
)

func TestMain(m *testing.M) { leak.Main(m) }

// site is a console over streams on which nothing works, and a shop without
// results.
type site struct {
	*streamtest.Bus
	*console
	t      *testing.T
	url    string
	client *http.Client
}

func newSite(t *testing.T, change func(*Config)) *site {
	t.Helper()
	b := streamtest.New(t)
	db := filepath.Join(t.TempDir(), "shop.db")
	_, err := open.Example(t.Context(), db, shop.Config{Sessions: 200})
	require.NoError(t, err)
	return siteOn(t, b, db, change)
}

// siteOn is a console over streams and a database that others use, too.
func siteOn(t *testing.T, b *streamtest.Bus, db string, change func(*Config)) *site {
	t.Helper()
	cfg := Config{Listen: "127.0.0.1:0", Database: db}
	if change != nil {
		change(&cfg)
	}
	who, err := cfg.open()
	require.NoError(t, err)
	d := open.Database(db)
	t.Cleanup(func() { _ = d.Close() })
	c := newConsole(cfg, who, service.Deps{Bus: b.Client, Log: slog.New(slog.DiscardHandler)}, d)
	stop := make(chan struct{})
	c.stop = stop
	server := httptest.NewServer(c.handler())
	t.Cleanup(func() { close(stop); server.Close() })
	client := server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &site{b, c, t, server.URL, client}
}

// reply is an answer without its body.
type reply struct {
	StatusCode int
	Header     http.Header
	cookies    []*http.Cookie
}

// ask sends a request with headers, NAME: VALUE, and returns the answer and its
// body.
func (s *site) ask(method, path, body string, headers ...string) (reply, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	require.NoError(s.t, err)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if req.Header.Set(name, value); name == "Host" {
			req.Host = value
		}
	}
	resp, err := s.client.Do(req)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	return reply{resp.StatusCode, resp.Header, resp.Cookies()}, string(text)
}

// refused requires that a request is answered with a problem of that code.
func (s *site) refused(code, method, path, body string, headers ...string) {
	s.t.Helper()
	resp, text := s.ask(method, path, body, headers...)
	require.Equal(s.t, "application/problem+json", resp.Header.Get("Content-Type"), text)
	var p problem
	require.NoError(s.t, json.Unmarshal([]byte(text), &p))
	require.Equal(s.t, code, p.Code, text)
	require.Equal(s.t, statuses[code], resp.StatusCode)
	require.Equal(s.t, resp.StatusCode, p.Status)
	require.NotEmpty(s.t, p.Detail)
}

const isJSONHeader = "Content-Type: application/json"

func (s *site) known() int {
	all, err := s.runs.List(s.Ctx)
	require.NoError(s.t, err)
	return len(all)
}

func TestSameRequestTwiceIsOneRunAndAnotherIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	for range 2 {
		resp, text := s.ask("PUT", "/api/v1/runs/nightly", `{"start_date":"2023-07-01"}`, isJSONHeader)
		require.Equal(t, http.StatusAccepted, resp.StatusCode, text)
		require.Equal(t, "/api/v1/runs/nightly", resp.Header.Get("Location"))
	}
	require.Equal(t, 1, s.known())
	s.refused(errkind.CodeRunExists, "PUT", "/api/v1/runs/nightly", `{}`, isJSONHeader)
	s.refused(errkind.CodeInput, "PUT", "/api/v1/runs/nightly", `{"run_id":"other"}`, isJSONHeader)
	s.refused(errkind.CodeInput, "PUT", "/api/v1/runs/a%20b", `{}`, isJSONHeader)
	s.refused(errkind.CodeInput, "POST", "/api/v1/runs", `{"start_date":"yesterday"}`, isJSONHeader)
	s.refused(errkind.CodeInput, "POST", "/api/v1/runs", `{"start":"2023-07-01"}`, isJSONHeader)
	s.refused(codeMediaType, "POST", "/api/v1/runs", `{}`, "Content-Type: text/plain")
	s.refused(codeTooLarge, "POST", "/api/v1/runs", `{"model_params":"`+strings.Repeat("x", mostBody)+`"}`, isJSONHeader)
	resp, text := s.ask("POST", "/api/v1/runs", `{}`, isJSONHeader)
	require.Equal(t, http.StatusAccepted, resp.StatusCode, text)
	require.Equal(t, 2, s.known())
}

func TestOthersPagesStartNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	for _, path := range []string{"/api/v1/runs", "/api/v1/runs/run/cancel"} {
		s.refused(codeCrossSite, "POST", path, `{}`, isJSONHeader, "Sec-Fetch-Site: cross-site")
		s.refused(codeCrossSite, "POST", path, `{}`, isJSONHeader, "Sec-Fetch-Site: same-site")
		s.refused(codeCrossSite, "POST", path, `{}`, isJSONHeader, "Origin: https://elsewhere.example")
		s.refused(codeCrossSite, "POST", path, `{}`, isJSONHeader, "Host: rebound.example")
	}
	s.refused(codeCrossSite, "GET", "/api/v1/runs", "", "Host: rebound.example:80")
	resp, _ := s.ask("POST", "/start", "run_id=x", "Content-Type: application/x-www-form-urlencoded", "Sec-Fetch-Site: cross-site")
	require.Equal(t, http.StatusForbidden, resp.StatusCode)
	require.Zero(t, s.known())
}

func TestReadOnlyConsoleChangesNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *Config) { c.ReadOnly = true })
	for _, r := range append(s.apiRoutes(), s.pageRoutes()...) {
		path := strings.NewReplacer("{run_id}", "run", "{action}", "cancel").Replace(r.path)
		if r.method == "GET" {
			continue
		}
		if r.path == "/login" || r.path == "/logout" {
			continue
		}
		require.True(t, r.changes, "%s %s", r.method, r.path)
		if strings.HasPrefix(path, "/runs/run/cancel") || path == "/start" {
			resp, _ := s.ask(r.method, path, "", "Content-Type: application/x-www-form-urlencoded")
			require.Equal(t, http.StatusForbidden, resp.StatusCode)
		} else {
			s.refused(codeReadOnly, r.method, apiBase+path, `{}`, isJSONHeader)
		}
	}
	_, text := s.ask("GET", "/", "")
	require.NotContains(t, text, "/start")
}

func TestConsoleElsewhereThanOnLoopbackAsksWhoItIs(t *testing.T) {
	t.Parallel()
	for _, listen := range []string{":8087", "0.0.0.0:8087", "[::]:8087", "192.0.2.1:8087", "example.com:80"} {
		c := Config{Listen: listen}
		require.Equal(t, errkind.Input, errkind.KindOf(c.Validate()), listen)
	}
	for _, listen := range []string{"127.0.0.1:8087", "[::1]:0", "localhost:1"} {
		c := Config{Listen: listen}
		require.NoError(t, c.Validate(), listen)
	}
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte("too short\n"), 0o600))
	c := Config{Listen: ":8087", TokenFile: file}
	require.ErrorContains(t, c.Validate(), "one word of 16 characters")
	require.NoError(t, os.WriteFile(file, []byte("0123456789abcdef\n"), 0o600))
	require.NoError(t, c.Validate())
}

func TestTokenLetsIn(t *testing.T) {
	t.Parallel()
	const token = "0123456789abcdef"
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(token+"\n"), 0o600))
	s := newSite(t, func(c *Config) { c.TokenFile = file })
	for _, header := range []string{"X: y", "Authorization: Bearer wrong", "Authorization: Basic " + token, "Cookie: " + cookieName + "=9999999999.x", "Cookie: " + cookieName + "=x"} {
		s.refused(codeUnauthorized, "GET", "/api/v1/runs", "", header)
	}
	resp, _ := s.ask("GET", "/api/v1/runs", "", "Authorization: Bearer "+token, "Host: any.example")
	require.Equal(t, http.StatusOK, resp.StatusCode)
	resp, _ = s.ask("GET", "/report", "")
	require.Equal(t, "/login", resp.Header.Get("Location"))

	// A browser is told it once.
	form := "Content-Type: application/x-www-form-urlencoded"
	resp, text := s.ask("POST", "/login", url.Values{"token": {"wrong"}}.Encode(), form)
	require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
	require.NotContains(t, text, token)
	resp, _ = s.ask("POST", "/login", url.Values{"token": {token}}.Encode(), form)
	require.Equal(t, http.StatusSeeOther, resp.StatusCode)
	cookie := resp.cookies[0]
	require.True(t, cookie.HttpOnly)
	require.Equal(t, http.SameSiteStrictMode, cookie.SameSite)
	resp, text = s.ask("GET", "/", "", "Cookie: "+cookie.Name+"="+cookie.Value)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Contains(t, text, "Log out")
	require.False(t, s.hasSession(&http.Request{Header: http.Header{"Cookie": {cookie.Name + "=" + cookie.Value}}}, time.Now().Add(sessionFor)))
}

func TestWhatAClientHasIsNotSentAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	for _, path := range []string{"/api/v1/runs", "/api/v1/openapi.yaml", "/", "/assets/page.css", "/assets/console.js", "/api/v1/findings"} {
		resp, _ := s.ask("GET", path, "")
		require.Equal(t, http.StatusOK, resp.StatusCode, path)
		require.NotEmpty(t, resp.Header.Get("ETag"), path)
		resp, text := s.ask("GET", path, "", "If-None-Match: W/\"other\", "+resp.Header.Get("ETag"))
		require.Equal(t, http.StatusNotModified, resp.StatusCode, path)
		require.Empty(t, text)
	}
}

func TestRunIsCancelledOnceAndNotResumed(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	s.refused(errkind.CodeUnknownRun, "POST", "/api/v1/runs/run/cancel", "")
	s.Publish(&ihcv1.RunRequest{RunId: "run"}, &ihcv1.Counts{InRange: 1, WithoutSessions: 1}, &ihcv1.JourneyChunk{RunId: "run", Chunk: 1, Outcomes: []*ihcv1.Outcome{{ConvId: "c"}}})
	s.refused(codeNotEnded, "GET", "/api/v1/runs/run/result", "")
	s.refused(errkind.CodeInput, "GET", "/api/v1/runs/run/diff", "")
	s.refused(errkind.CodeWrongState, "POST", "/api/v1/runs/run/resume", `{}`, isJSONHeader)
	s.refused(errkind.CodeInput, "POST", "/api/v1/runs/run/replay", `{"from":"nowhere"}`, isJSONHeader)
	s.refused(errkind.CodeInput, "POST", "/api/v1/runs/run/cancel", `{"why":"no"}`, isJSONHeader)
	for range 2 {
		resp, text := s.ask("POST", "/api/v1/runs/run/cancel", `{"reason":"wrong dates"}`, isJSONHeader)
		require.Equal(t, http.StatusAccepted, resp.StatusCode, text)
	}
	_, text := s.ask("GET", "/api/v1/runs/run/result", "")
	require.Contains(t, text, `"error": "wrong dates"`)
	s.refused(errkind.CodeWrongState, "POST", "/api/v1/runs/run/resume", "")
	_, text = s.ask("GET", "/runs/run", "")
	require.Contains(t, text, "wrong dates")
}

// Who lost the connection is told what he missed, and nothing twice.
func TestFollowerGoesOnAfterTheLastEventItHas(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	s.Publish(&ihcv1.RunRequest{RunId: "run"}, &ihcv1.Counts{InRange: 1, WithoutSessions: 1}, &ihcv1.JourneyChunk{RunId: "run", Chunk: 1, Outcomes: []*ihcv1.Outcome{{ConvId: "c"}}})
	_, err := s.runs.Cancel(s.Ctx, "run", "")
	require.NoError(t, err)
	_, all := s.ask("GET", "/api/v1/runs/run/events", "")
	happened, err := s.runs.Events(s.Ctx, "run")
	require.NoError(t, err)
	require.Equal(t, len(happened), strings.Count(all, "\nid: "))
	for _, name := range []string{"accepted", "extracted", "cancelled", "end"} {
		require.Contains(t, all, "event: "+name+"\n")
	}
	last := happened[1].Sequence
	_, rest := s.ask("GET", "/api/v1/runs/run/events", "", "Last-Event-ID: "+strconv.FormatUint(last, 10))
	require.NotContains(t, rest, "event: extracted")
	require.Contains(t, rest, "event: cancelled")
	s.refused(errkind.CodeInput, "GET", "/api/v1/runs/run/events", "", "Last-Event-ID: x")
	s.refused(errkind.CodeUnknownRun, "GET", "/api/v1/runs/nobody/events", "")
}

func TestHostileReasonsAreText(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	_, err := s.runs.Start(s.Ctx, &ihcv1.RunRequest{RunId: "run"})
	require.NoError(t, err)
	_, err = s.runs.Cancel(s.Ctx, "run", `</script><script>alert(1)</script>`)
	require.NoError(t, err)
	for _, path := range []string{"/", "/runs/run", "/live/run", "/explain?conversion=%3Cscript%3Ealert(1)", "/report?channel=%3Cscript%3Ealert(1)", "/start?plan=1&model=%3Cscript%3E", "/%3Cscript%3Ealert"} {
		resp, text := s.ask("GET", path, "")
		require.NotContains(t, text, "<script>alert", path)
		require.Contains(t, resp.Header.Get("Content-Security-Policy"), "default-src 'none'")
	}
}

func TestReportComesInTheTypeThatIsAskedForMost(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{"": "application/json", "*/*": "application/json", "text/csv": "text/csv", "text/*": "text/csv",
		"text/html,application/xhtml+xml,*/*;q=0.8": "text/html", "application/json;q=0.1, text/csv;q=0.2": "text/csv", "image/png": "", "text/csv;q=0": ""} {
		require.Equal(t, want, acceptedType(header, reportTypes), header)
	}
}

// What scripts there are stays small.
func TestScriptsStayWithinTheirBudget(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	sum := 0
	for _, name := range []string{"page.js", "console.js"} {
		_, text := s.ask("GET", "/assets/"+name, "")
		sum += len(text)
	}
	require.Less(t, sum, 20_000)
	resp, _ := s.ask("GET", "/assets/runs.html", "")
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
}

// The metrics are of the run that ended last, and of the source.
func TestMetricsSayHowOldTheNumbersAre(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	reg := prometheus.NewRegistry()
	f := newFreshness(s.console, reg)
	values := func() map[string]float64 {
		f.lookAtRuns(s.Ctx)
		f.lookAtSource(s.Ctx)
		families, err := reg.Gather()
		require.NoError(t, err)
		all := map[string]float64{}
		for _, family := range families {
			for _, m := range family.GetMetric() {
				name := family.GetName()
				for _, l := range m.GetLabel() {
					name += " " + l.GetValue()
				}
				all[name] = m.GetGauge().GetValue()
			}
		}
		return all
	}
	last, err := s.db.LastConversion(s.Ctx)
	require.NoError(t, err)
	require.False(t, last.IsZero())
	before := values()
	require.InDelta(t, float64(last.Unix()), before["ihc_last_conversion_timestamp_seconds"], 0)
	require.NotContains(t, before, "ihc_last_complete_run_timestamp_seconds", "what is not known is not there")
	end := func(id string, holds bool) {
		_, err := s.runs.Start(s.Ctx, &ihcv1.RunRequest{RunId: id})
		require.NoError(t, err)
		s.Event(id, &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Reported{Reported: &ihcv1.RunReported{Report: &ihcv1.Report{RunId: id,
			Reconciliation: []*ihcv1.Equation{{Name: "x", Holds: holds}}}}}})
	}
	end("good", true)
	good := values()
	require.InDelta(t, 1, good["ihc_reconciliation_holds"], 0)
	require.Positive(t, good["ihc_last_complete_run_timestamp_seconds"])
	require.InDelta(t, 1, good["ihc_runs completed"], 0)
	end("bad", false)
	bad := values()
	require.InDelta(t, 0, bad["ihc_reconciliation_holds"], 0)
	require.Equal(t, good["ihc_last_complete_run_timestamp_seconds"], bad["ihc_last_complete_run_timestamp_seconds"])
	require.InDelta(t, 1, bad["ihc_runs completed_unreconciled"], 0)
}

func TestConsoleStopsWhenItIsTold(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	ctx, cancel := context.WithCancel(b.Ctx)
	started := make(chan struct{})
	done := make(chan error, 1)
	stop := b.Service("console", func(_ context.Context, d service.Deps) error {
		d.Watch = func(string, func(context.Context) error) { close(started) } // it listens by then
		done <- Run(ctx, Config{Listen: "127.0.0.1:0", Database: filepath.Join(t.TempDir(), "none.db")}, d)
		return nil
	})
	<-started
	cancel()
	require.NoError(t, <-done)
	stop()
}
