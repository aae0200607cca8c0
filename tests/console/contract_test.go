// Package console holds what a console answers over a real pipeline to the
// description of its API.
package console

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/stretchr/testify/require"

	pages "github.com/ihc-pipeline/ihc/console"
	"github.com/ihc-pipeline/ihc/embedded"
	"github.com/ihc-pipeline/ihc/internal/freeport"
	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/services/attributor"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// api is a console in the process of a pipeline, and the description of what it
// answers.
type api struct {
	t         *testing.T
	url       string
	validator validator.Validator
}

func newAPI(t *testing.T) *api {
	t.Helper()
	dir := t.TempDir()
	db := filepath.Join(dir, "shop.db")
	_, err := sqlite.GenerateShop(t.Context(), db, shop.Config{Sessions: 400}, false)
	require.NoError(t, err)
	address := freeport.Hold(t).String()
	c, err := embedded.FromEnv(attributor.Config{Workers: 2, Timeout: 10 * time.Second})
	require.NoError(t, err)
	require.NoError(t, c.At(db, dir))
	c.Dir, c.Console = t.TempDir(), &pages.Config{Listen: address, Database: db}
	p, _, err := embedded.Start(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(p.Stop)
	description, err := os.ReadFile("../../console/openapi.yaml")
	require.NoError(t, err)
	doc, err := libopenapi.NewDocument(description)
	require.NoError(t, err)
	v, errs := validator.NewValidator(doc)
	require.Empty(t, errs)
	a := &api{t, "http://" + address, v}
	require.Eventually(t, func() bool {
		resp, err := http.Get(a.url + "/healthz")
		return err == nil && resp.Body.Close() == nil
	}, time.Minute, 20*time.Millisecond)
	return a
}

// ask requires that a request and its answer are as described, and returns the
// answer's body.
func (a *api) ask(method, path, body string, status int, accept ...string) string {
	a.t.Helper()
	req := func() *http.Request {
		r, err := http.NewRequestWithContext(a.t.Context(), method, a.url+"/api/v1"+path, strings.NewReader(body))
		require.NoError(a.t, err)
		if body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		for _, kind := range accept {
			r.Header.Set("Accept", kind)
		}
		return r
	}
	resp, err := http.DefaultClient.Do(req())
	require.NoError(a.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(a.t, err)
	require.Equal(a.t, status, resp.StatusCode, "%s %s: %s", method, path, text)
	resp.Body = io.NopCloser(bytes.NewReader(text))
	valid, wrong := a.validator.ValidateHttpResponse(req(), resp)
	for _, w := range wrong {
		a.t.Log(w.Message, w.Reason)
		for _, s := range w.SchemaValidationErrors {
			a.t.Log(s.Reason, s.FieldPath)
		}
	}
	require.True(a.t, valid, "%s %s: %s", method, path, text)
	if status < 300 {
		valid, wrong = a.validator.ValidateHttpRequest(req())
		for _, w := range wrong {
			a.t.Log(w.Message, w.Reason)
		}
		require.True(a.t, valid, "%s %s", method, path)
	}
	return string(text)
}

func TestAnswersAreAsTheDescriptionSays(t *testing.T) {
	a := newAPI(t)
	a.ask("GET", "/runs", "", http.StatusOK)
	a.ask("GET", "/report", "", http.StatusBadRequest)
	a.ask("GET", "/findings", "", http.StatusOK)
	a.ask("GET", "/plan?model=api&latency=100ms", "", http.StatusOK)
	a.ask("PUT", "/runs/first", `{"model":"builtin"}`, http.StatusAccepted)
	events := a.ask("GET", "/runs/first/events", "", http.StatusOK)
	require.Contains(t, events, "event: end")
	a.ask("PUT", "/runs/first", `{"model":"builtin"}`, http.StatusAccepted)
	a.ask("PUT", "/runs/first", `{"model":"api"}`, http.StatusConflict)
	a.ask("GET", "/runs/first", "", http.StatusOK)
	a.ask("GET", "/runs/first/failed", "", http.StatusOK)
	a.ask("GET", "/runs/first/dead", "", http.StatusOK)
	a.ask("GET", "/runs?state=completed&limit=1", "", http.StatusOK)
	a.ask("GET", "/runs/nobody", "", http.StatusNotFound)
	a.ask("GET", "/runs?limit=0", "", http.StatusBadRequest)
	a.ask("POST", "/runs/first/replay", `{"from":"results"}`, http.StatusAccepted)
	a.ask("POST", "/runs/first/cancel", "", http.StatusConflict)
	a.ask("GET", "/report?phases=true&paths=true&unattributed=true&compare=previous&start_date=2023-07-01&end_date=2023-07-31", "", http.StatusOK)
	require.Contains(t, a.ask("GET", "/report", "", http.StatusOK, "text/csv"), ",ihc_revenue,")
	require.Contains(t, a.ask("GET", "/report", "", http.StatusOK, "text/html"), "<!doctype html>")
	a.ask("GET", "/report", "", http.StatusNotAcceptable, "image/png")
	a.ask("GET", "/conversions/nothing", "", http.StatusNotFound)
	a.ask("PUT", "/runs/second", `{"model":"builtin"}`, http.StatusAccepted)
	require.Contains(t, a.ask("GET", "/runs/second/events", "", http.StatusOK), "event: end")
	require.Contains(t, a.ask("GET", "/runs/second/diff?with=first", "", http.StatusOK), `"causes"`)
	a.ask("GET", "/runs/nobody/diff", "", http.StatusBadRequest)

	// The result is that of the file.
	var result struct {
		Status      string
		Conversions map[string]int
	}
	require.NoError(t, json.Unmarshal([]byte(a.ask("GET", "/runs/first/result", "", http.StatusOK)), &result))
	require.Equal(t, "completed", result.Status)
	require.Positive(t, result.Conversions["attributed"])
}
