//go:build e2e

package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/sandbox"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// start asks for a run.
func (s *stack) start(t *testing.T, c *stream.Client, req *ihcv1.RunRequest) {
	t.Helper()
	require.NoError(t, c.PublishRequest(t.Context(), req))
}

// finish waits for a run's report and returns it, and how long the run took
// from its acceptance on. It does not mind if NATS is away meanwhile.
func (s *stack) finish(t *testing.T, c *stream.Client, id string) (*ihcv1.Report, time.Duration) {
	t.Helper()
	var report *ihcv1.Report
	var from, to time.Time
	var why string
	eventually(t, "run "+id+" ends", func() bool {
		events, err := c.Events(t.Context(), id)
		if err != nil {
			return false
		}
		for _, e := range events {
			switch ev := e.Event.GetEvent().(type) {
			case *ihcv1.RunEvent_Accepted:
				from = e.Time
			case *ihcv1.RunEvent_Reported:
				report, to = ev.Reported.GetReport(), e.Time
			case *ihcv1.RunEvent_Failed:
				why = ev.Failed.GetReason()
			}
		}
		return report != nil || why != ""
	})
	require.Empty(t, why, id)
	for _, line := range report.GetReconciliation() {
		require.True(t, line.GetHolds(), "%s: %v", id, line)
	}
	return report, to.Sub(from)
}

// run asks for a run and waits for its report.
func (s *stack) run(t *testing.T, c *stream.Client, req *ihcv1.RunRequest) (*ihcv1.Report, time.Duration) {
	t.Helper()
	s.start(t, c, req)
	return s.finish(t, c, req.GetRunId())
}

// cliRun is what `ihc run --json` says.
type cliRun struct {
	RunID    string `json:"run_id"`
	Status   string `json:"status"`
	Model    string `json:"model"`
	Requests int    `json:"requests"`
}

// cli runs an ihc command with --json in its container.
func (s *stack) cli(t *testing.T, args string) (r cliRun) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(s.must(t, dc+"run --rm ihc "+args+" --json")), &r))
	return r
}

// get returns what a service of the stack serves on a published port. index
// tells replicas apart, from 1 on.
func (s *stack) get(t *testing.T, service, port, index, path string) (status int, body string) {
	t.Helper()
	address := s.must(t, dc+"--profile '*' port --index "+index+" "+service+" "+port)
	return fetch(t, http.MethodGet, "http://"+address+path, "")
}

func fetch(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(got)
}

// sandboxURL is where the sandbox of the stack is.
func (s *stack) sandboxURL(t *testing.T) string {
	t.Helper()
	return "http://" + s.must(t, dc+"--profile sandbox port sandbox 8088")
}

func stats(t *testing.T, sandboxURL string) (st sandbox.Stats) {
	t.Helper()
	status, body := fetch(t, http.MethodGet, sandboxURL+"/stats", "")
	require.Equal(t, http.StatusOK, status)
	require.NoError(t, json.Unmarshal([]byte(body), &st))
	return st
}

func resetStats(t *testing.T, sandboxURL string) {
	t.Helper()
	status, _ := fetch(t, http.MethodDelete, sandboxURL+"/stats", "")
	require.Equal(t, http.StatusNoContent, status)
}

// faults changes how the sandbox behaves.
func faults(t *testing.T, sandboxURL, change string) {
	t.Helper()
	status, body := fetch(t, http.MethodPatch, sandboxURL+"/faults", change)
	require.Equal(t, http.StatusOK, status, body)
}
