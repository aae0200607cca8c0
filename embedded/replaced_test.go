package embedded

import (
	"context"
	"database/sql"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/sandbox"
	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// gated is an API that answers some requests at once and the others when it is
// opened.
type gated struct {
	*httptest.Server
	*sandbox.Sandbox
	tickets chan struct{}
	open    func()
}

func newGated(t *testing.T, atOnce int) *gated {
	t.Helper()
	s, err := sandbox.New(sandbox.Config{Key: "key"})
	require.NoError(t, err)
	g := &gated{Sandbox: s, tickets: make(chan struct{}, atOnce)}
	for range atOnce {
		g.tickets <- struct{}{}
	}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-g.tickets:
			s.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}))
	g.open = sync.OnceFunc(func() { close(g.tickets) })
	t.Cleanup(func() { g.open(); g.Close() })
	return g
}

// source is what a database's source tables hold, and nothing else.
func source(t *testing.T, path string) string {
	t.Helper()
	found, err := sqlite.New(path).Validate(t.Context(), findings.Options{Alone: true})
	require.NoError(t, err)
	return found.Digest
}

func count(t *testing.T, path, query string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite3", path)
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, db.QueryRow(query).Scan(&n))
	return n
}

// Whatever puts another database in the place of the one that a run is under way
// on: the run ends at once and says why, and the other database holds nothing of
// it. The next run over it is whole.
func TestDatabaseReplacedUnderARunEndsIt(t *testing.T) {
	replace := map[string]func(t *testing.T, by, path string){
		"by a new name": func(t *testing.T, by, path string) { require.NoError(t, os.Rename(by, path)) },
		"by an import": func(t *testing.T, by, path string) {
			require.NoError(t, sqlite.Place(path, true, func(temp string) error { return os.Rename(by, temp) }))
		},
		"byte by byte": func(t *testing.T, by, path string) {
			data, err := os.ReadFile(by)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, data, 0o600)) // as cp does: the file stays the same
		},
	}
	for name, how := range replace {
		t.Run(name, func(t *testing.T) {
			api := newGated(t, 3)
			u := start(t, func(c *Config) {
				c.Attributor.APIKey, c.Attributor.APIURL, c.Attributor.ConvTypeID = "key", api.URL+"/v1", "type"
			})
			u.shop()
			by := filepath.Join(t.TempDir(), "other.db")
			_, err := sqlite.GenerateShop(t.Context(), by, shop.Config{Sessions: 500, Seed: 7}, false)
			require.NoError(t, err)
			want := source(t, by)
			u.request(&ihcv1.RunRequest{MaxJourneys: 3})
			require.Eventually(t, func() bool {
				p, err := u.Client.Progress(t.Context(), "run")
				return err == nil && p[stream.StageWriter].GetConversions() >= 3
			}, patience, 10*time.Millisecond)

			how(t, by, u.db)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			var failed *ihcv1.RunFailed
			require.NoError(t, u.Client.Follow(ctx, "run", func(e stream.StoredEvent) bool {
				failed = e.Event.GetFailed()
				return failed == nil
			}))
			require.Contains(t, failed.GetReason(), "it was replaced; ask for the run again")
			require.Equal(t, ihcv1.Cause_CAUSE_INPUT, failed.GetCause())
			api.open()
			u.says("ready")
			require.Equal(t, want, source(t, u.db))
			require.Zero(t, count(t, u.db, `SELECT count(*) FROM sqlite_schema WHERE name LIKE 'pipeline%' OR name = 'attribution_customer_journey'`))

			require.NoError(t, u.Client.PublishRequest(t.Context(), &ihcv1.RunRequest{RunId: "next", Model: run.ModelBuiltin}))
			var report *ihcv1.Report
			require.NoError(t, u.Client.Follow(ctx, "next", func(e stream.StoredEvent) bool {
				require.Nil(t, e.Event.GetFailed())
				report = e.Event.GetReported().GetReport()
				return report == nil
			}))
			require.Equal(t, run.StatusCompleted, run.Conclusion(report))
			require.Equal(t, want, source(t, u.db))
			require.Equal(t, 1, count(t, u.db, `SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'`))
		})
	}
}
