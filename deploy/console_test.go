package deploy_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/console"
	"github.com/ihc-pipeline/ihc/internal/freeport"
	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/services/attributor"
	"github.com/ihc-pipeline/ihc/services/extractor"
	"github.com/ihc-pipeline/ihc/services/reporter"
	"github.com/ihc-pipeline/ihc/services/writer"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// site is a console beside the services, each as its user.
type site struct {
	t          *testing.T
	url, token string
}

// ask returns the body of an answer of the console, once it has the status.
func (s site) ask(method, path, body string, status int) string {
	s.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var text []byte
	require.Eventually(s.t, func() bool {
		req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewBufferString(body))
		require.NoError(s.t, err)
		req.Header.Set("Authorization", "Bearer "+s.token)
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			return false // it does not listen yet
		}
		defer resp.Body.Close()
		text, err = io.ReadAll(resp.Body)
		return err == nil && resp.StatusCode == status
	}, time.Minute, 20*time.Millisecond, "%s %s: %s", method, path, &text)
	return string(text)
}

// Everything the console does, done with no more than its user may do and the
// token the steward drew.
func TestConsoleDoesItsWorkAsItsUser(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.client(t.Context(), t, stream.UserInit) // makes the streams
	dir := t.TempDir()
	db := filepath.Join(dir, "ihc.db")
	_, err := sqlite.GenerateShop(t.Context(), db, shop.Config{Sessions: 400}, false)
	require.NoError(t, err)
	start(t, s, stream.StageExtractor, extractor.Config{Database: db}, extractor.Run)
	start(t, s, stream.StageReporter, reporter.Config{Database: db, Out: dir}, reporter.Run)
	start(t, s, stream.StageWriter, writer.Config{Database: db, Batch: 8}, writer.Run)
	start(t, s, stream.StageAttributor, attributor.Config{Workers: 2, Timeout: 10 * time.Second}, attributor.Run)

	listen := freeport.Hold(t).String()
	file := filepath.Join(s.credentials, stream.UserConsole, "token")
	token, err := os.ReadFile(file)
	require.NoError(t, err)
	start(t, s, stream.UserConsole, console.Config{Listen: listen, TokenFile: file, Database: db}, console.Run)
	c := site{t, "http://" + listen, string(bytes.TrimSpace(token))}

	c.ask("GET", "/api/v1/findings", "", http.StatusOK)
	require.Contains(t, c.ask("GET", "/api/v1/plan", "", http.StatusOK), `"model": "builtin"`)
	c.ask("PUT", "/api/v1/runs/first", `{}`, http.StatusAccepted)
	require.Contains(t, c.ask("GET", "/api/v1/runs/first/events", "", http.StatusOK), "event: end")
	require.Contains(t, c.ask("GET", "/api/v1/runs/first/result", "", http.StatusOK), `"status": "completed"`)
	require.Contains(t, c.ask("GET", "/runs/first", "", http.StatusOK), "channel_reporting")
	c.ask("GET", "/api/v1/runs/first/failed", "", http.StatusOK)
	c.ask("GET", "/api/v1/runs/first/dead", "", http.StatusOK)
	c.ask("GET", "/api/v1/report", "", http.StatusOK)
	c.ask("GET", "/report", "", http.StatusOK)
	c.ask("POST", "/api/v1/runs/first/replay", `{"from":"results","run_id":"again"}`, http.StatusAccepted)
	require.Contains(t, c.ask("GET", "/api/v1/runs/again/events", "", http.StatusOK), "event: reported")
	c.ask("POST", "/api/v1/runs/again/cancel", "", http.StatusConflict)
	c.ask("POST", "/api/v1/runs/again/resume", "", http.StatusConflict)
	c.ask("GET", "/api/v1/runs", "", http.StatusOK)
	require.Empty(t, s.complaints())
}
