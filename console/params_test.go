package console

import (
	"database/sql"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/store/open"
)

// reported is a site whose shop has the tables of results, and nothing in them.
func reported(t *testing.T) *site {
	t.Helper()
	s := newSite(t, nil)
	db, err := sql.Open("sqlite3", s.Database)
	require.NoError(t, err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), open.Schema())
	require.NoError(t, err)
	return s
}

// A parameter that is misspelt would be as if it were not there: all dates in the
// place of some.
func TestParametersThatThereAreNotAreRefused(t *testing.T) {
	t.Parallel()
	s := reported(t)
	for _, path := range []string{"/report?start=2023-07-01", "/report?by=day&by=week", "/report?decimal=x", "/report?bom=perhaps", "/report?start_date=2023-13", "/report?timezone=Nowhere",
		"/plan?max_session=3", "/runs?state=done", "/runs?stat=failed", "/findings?from=2023-07-01", "/openapi.yaml?v=2"} {
		s.refused(errkind.CodeInput, "GET", "/api/v1"+path, "", "Accept: text/csv, */*")
	}
	resp, _ := s.ask("GET", "/report?utm_source=mail", "")
	require.Equal(t, http.StatusOK, resp.StatusCode, "pages are linked to")
}

// What `ihc report` takes, the API takes.
func TestReportTakesTheDatesAndTheDialectsOfTheCommand(t *testing.T) {
	t.Parallel()
	s := reported(t)
	_, month := s.ask("GET", "/api/v1/report?by=day&start_date=2023-07&end_date=2023-07", "", "Accept: text/csv")
	_, days := s.ask("GET", "/api/v1/report?by=day&start_date=2023-07-01&end_date=2023-07-31", "", "Accept: text/csv")
	require.Equal(t, days, month)
	require.Contains(t, month, "2023-07-31")
	resp, text := s.ask("GET", "/api/v1/report?start_date=-7d&timezone=Europe/Berlin&currency=EUR", "", "Accept: text/html")
	require.Equal(t, http.StatusOK, resp.StatusCode, text)
	require.Contains(t, text, "<dd>EUR</dd>")
	_, text = s.ask("GET", "/api/v1/report?decimal=,&bom=true", "", "Accept: text/csv")
	require.Regexp(t, "^\ufeffchannel;cost;", text)
}

// The page of a report leads to the same report as one file.
func TestReportsPageLeadsToItsFile(t *testing.T) {
	t.Parallel()
	s := reported(t)
	_, text := s.ask("GET", "/report?channel=&start_date=2023-07-01&end_date=&compare=year", "")
	require.Contains(t, text, `href="/api/v1/report?compare=year&amp;start_date=2023-07-01" download="report.html"`)
	resp, file := s.ask("GET", "/api/v1/report?compare=year&start_date=2023-07-01", "", "Accept: text/html,application/xhtml+xml,*/*;q=0.8")
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Contains(t, file, "<!doctype html>")
}
