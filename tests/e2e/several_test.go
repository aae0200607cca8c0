//go:build e2e

package e2e

import (
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/freeport"
	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// onPostgres is how docs/postgres.md calls compose.
const onPostgres = "docker compose -f deploy/compose.yaml -f deploy/compose.several.yaml "

// several puts the stack on PostgreSQL and scales each service in turn, then all of
// them, then all of them in the midst of a run. Whatever there is of each, the tables
// and the report are those of one program alone on SQLite, and nobody stands aside.
func (s *stack) several(t *testing.T) {
	s.must(t, dc+"down -v")
	for _, name := range []string{"IHC_API_KEY", "IHC_CONV_TYPE_ID", "IHC_API_URL"} {
		s.set(name, "")
	}
	s.set("POSTGRES_IMAGE", s.postgresImage(t))
	s.set("POSTGRES_PASSWORD", rand.Text())
	s.set("POSTGRES_PORT", fmt.Sprint(freeport.Hold(t).Port()))
	s.set("CONSOLE_PORT", "0") // a free one for each
	// Enough conversions for two slices.
	config := shop.Config{Sessions: 80_000, Conversions: 40_000, Start: "2023-08-01"}
	_, err := sqlite.GenerateShop(t.Context(), filepath.Join(s.data, "big.db"), config, false)
	require.NoError(t, err)
	t.Cleanup(func() { s.must(t, onPostgres+"down -v") })

	scale := map[string]int{"extractor": 1, "attributor": 1, "writer": 1, "reporter": 1, "console": 1}
	s.scaled(t, scale)
	s.must(t, onPostgres+"run --rm ihc import --from /data/big.db")
	s.must(t, onPostgres+"run --rm -e IHC_DB=/data/big.db ihc run --db /data/big.db --out /data/alone")
	want := result{out: read(t, filepath.Join(s.data, "alone", "channel_reporting.csv"))}
	c := s.client(t)
	run := func(id string) result {
		require.NoError(t, os.RemoveAll(filepath.Join(s.data, "channel_reporting.csv")))
		s.run(t, c, &ihcv1.RunRequest{RunId: id, Full: true})
		return s.onPostgres(t)
	}
	got := run("one-of-each")
	require.Equal(t, want.out, got.out, "the CSV of SQLite")
	want = got

	for _, service := range slices.Sorted(maps.Keys(scale)) {
		scale[service] = 3
		s.scaled(t, scale)
		require.Equal(t, want, run("three-of-"+service), service)
		s.allTakePart(t, c, scale)
		scale[service] = 1
	}
	for service := range scale {
		scale[service] = 2
	}
	s.scaled(t, scale)
	require.Equal(t, want, run("two-of-each"))
	s.allTakePart(t, c, scale)

	// One of each goes in the midst of a run, by a kill, and comes back.
	s.start(t, c, &ihcv1.RunRequest{RunId: "killed", Full: true})
	js, err := jetstream.New(s.connect(t, "ihc"))
	require.NoError(t, err)
	eventually(t, "some results are there", func() bool {
		return s.stored(t, js, stream.Results, "ihc.v1.journeys.attributed.killed.*") > 0
	})
	for _, service := range services {
		s.must(t, "docker kill $("+onPostgres+"ps -q "+service+" | head -n 1)")
	}
	s.scaled(t, scale)
	s.finish(t, c, "killed")
	require.Equal(t, want, s.onPostgres(t))
}

// postgresImage returns the image of compose.several.yaml, or where it cannot be had a
// stand-in for it.
func (s *stack) postgresImage(t *testing.T) string {
	t.Helper()
	const stock, standIn = "postgres:17-alpine", "ihc-e2e-postgres"
	if s.sh(t, "docker image inspect "+stock+" || docker pull "+stock).code == 0 {
		return stock
	}
	from, err := filepath.Abs("testdata/postgres")
	require.NoError(t, err)
	s.must(t, "docker build -q -t "+standIn+" "+from)
	return standIn
}

// scaled brings as many of each service up as are wanted, and no more.
func (s *stack) scaled(t *testing.T, scale map[string]int) {
	t.Helper()
	up := onPostgres + "up -d --wait"
	for _, service := range slices.Sorted(maps.Keys(scale)) {
		up += " --scale " + service + "=" + strconv.Itoa(scale[service])
	}
	s.must(t, up)
	for service, n := range scale {
		require.Len(t, s.inspect(t, service, "{{.Id}}"), n, service)
	}
}

// allTakePart makes short runs until each replica of each stage has had a message,
// and looks into each console.
func (s *stack) allTakePart(t *testing.T, c *stream.Client, scale map[string]int) {
	t.Helper()
	runs := 0
	for _, service := range services {
		for i := range scale[service] {
			eventually(t, "a message for "+service, func() bool {
				status, body := s.get(t, service, "8080", strconv.Itoa(i+1), "/metrics")
				require.Equal(t, http.StatusOK, status)
				if value(t, body, "ihc_messages_received_total") > 0 {
					return true
				}
				runs++
				s.run(t, c, &ihcv1.RunRequest{RunId: "short-" + strings.ToLower(rand.Text()[:8]), StartDate: "2023-08-01", EndDate: "2023-08-01", Full: true})
				return false
			})
		}
	}
	token := s.must(t, onPostgres+"exec -T console /service serve --show-token")
	for i := range scale["console"] {
		address := s.must(t, onPostgres+"port --index "+strconv.Itoa(i+1)+" console 8087")
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/api/v1/runs", http.NoBody)
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusOK, resp.StatusCode)
	}
	t.Logf("%v: %d short runs until all had a message", scale, runs)
}

// onPostgres returns what a run left: the CSV, and the rows of the two tables.
func (s *stack) onPostgres(t *testing.T) result {
	t.Helper()
	rows := s.must(t, onPostgres+`exec -T postgres psql -U ihc -qAt -c "
		SELECT count(*), md5(string_agg(r::text, E'\n' ORDER BY conv_id COLLATE \"C\", session_id COLLATE \"C\")) FROM attribution_customer_journey r" -c "
		SELECT count(*), md5(string_agg(r::text, E'\n' ORDER BY channel_name COLLATE \"C\", date)) FROM channel_reporting r"`)
	return result{out: read(t, filepath.Join(s.data, "channel_reporting.csv")), err: rows}
}
