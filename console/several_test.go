package console

import (
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/internal/stream/streamtest"
	"github.com/ihc-pipeline/ihc/store/open"
)

// twoConsoles asks two consoles of one stack, which a client does not tell apart:
// what is asked of both at once is asked once, and both answer the same.
func twoConsoles(t *testing.T, database string) {
	const token = "0123456789abcdef"
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(token), 0o600))
	b := streamtest.New(t)
	guarded := func(c *Config) { c.TokenFile = file }
	first, second := siteOn(t, b, database, guarded), siteOn(t, b, database, guarded)
	const key = "Authorization: Bearer " + token

	var group errgroup.Group
	for _, s := range []*site{first, second, first, second} {
		group.Go(func() error {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.url+"/api/v1/runs/nightly", strings.NewReader(`{}`))
			if err != nil {
				return err
			}
			req.Header.Set("Authorization", "Bearer "+token)
			req.Header.Set("Content-Type", "application/json")
			resp, err := s.client.Do(req)
			if err == nil && resp.StatusCode != http.StatusAccepted {
				err = errors.New(resp.Status)
			}
			if resp != nil {
				err = errors.Join(err, resp.Body.Close())
			}
			return err
		})
	}
	require.NoError(t, group.Wait())
	require.Equal(t, 1, first.known())
	second.refused(errkind.CodeRunExists, "PUT", "/api/v1/runs/nightly", `{"start_date":"2023-07-01"}`, isJSONHeader, key)

	resp, text := second.ask("POST", "/api/v1/runs/nightly/cancel", `{}`, isJSONHeader, key) // one under way is a moment older at each look
	require.Equal(t, http.StatusAccepted, resp.StatusCode, text)
	resp, _ = first.ask("POST", "/login", url.Values{"token": {token}}.Encode(), "Content-Type: application/x-www-form-urlencoded")
	require.Equal(t, http.StatusSeeOther, resp.StatusCode)
	cookie := "Cookie: " + resp.cookies[0].Name + "=" + resp.cookies[0].Value
	for _, path := range []string{"/", "/api/v1/runs", "/api/v1/runs/nightly", "/api/v1/findings"} {
		here, text := first.ask("GET", path, "", cookie)
		there, same := second.ask("GET", path, "", cookie)
		require.Equal(t, http.StatusOK, here.StatusCode, path)
		require.Equal(t, http.StatusOK, there.StatusCode, "who logged in at one is let in by the other")
		require.Equal(t, text, same, path)
		require.Equal(t, here.Header.Get("ETag"), there.Header.Get("ETag"), path)
	}
}

func TestTwoConsolesAnswerAsOne(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "shop.db")
	_, err := open.Example(t.Context(), path, shop.Config{Sessions: 200})
	require.NoError(t, err)
	twoConsoles(t, path)
}
