package cli

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/ihcapi"
	"github.com/ihc-pipeline/ihc/tests/snapshot"
)

// shopZip is the published challenge's database. It is not part of the
// repository and may be absent.
func shopZip(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("IHC_SHARED_DATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	path, err := filepath.Abs(filepath.Join(dir, "shop.zip"))
	require.NoError(t, err)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("there is no %s", path)
	}
	return path
}

// importShop brings the shop into the house and returns its path.
func importShop(h *house) string {
	h.t.Helper()
	h.must("import", shopZip(h.t), "--data", h.path("data"))
	return h.path("data", "shop.db")
}

// outcome is what --json prints.
type outcome struct {
	RunID, Status, Error, Model string
	Seconds                     float64
	Conversions                 struct{ InRange, Attributed, Approximated, Excluded, Failed, WithoutSessions int }
	Touchpoints, Requests       int
	ReportRows                  int
	IHC, IHCRevenue, Cost       json.Number
	Revenue                     struct{ InRange, Attributed, Unattributed json.Number }
	Bridge                      struct{ NeverAttributed int }
	CSV                         string
	Reconciliation              []struct {
		Name, Description string
		Left, Right       json.Number
		Holds             bool
	}
	Notes []string
}

// parse reads the one object --json prints, and fails if there is anything
// else on standard output or a field has another name.
func parse(t *testing.T, stdout string) outcome {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(stdout))
	var raw map[string]json.RawMessage
	require.NoError(t, d.Decode(&raw), stdout)
	_, err := d.Token()
	require.ErrorIs(t, err, io.EOF, "nothing follows the object")
	for _, name := range []string{"run_id", "status", "model", "seconds", "conversions", "touchpoints", "requests", "report_rows",
		"ihc", "ihc_revenue", "cost", "csv", "reconciliation"} {
		require.Contains(t, raw, name)
	}
	var o outcome
	// Go matches names without case; without underscores they are those above.
	require.NoError(t, json.Unmarshal(bytes.ReplaceAll([]byte(stdout), []byte("_"), nil), &o), stdout)
	o.CSV = unquoted(t, raw["csv"])
	o.RunID, o.Status = unquoted(t, raw["run_id"]), unquoted(t, raw["status"])
	return o
}

func unquoted(t *testing.T, raw json.RawMessage) string {
	t.Helper()
	var s string
	require.NoError(t, json.Unmarshal(raw, &s))
	return s
}

// requireShopNumbers checks what is known of the shop as a whole.
func requireShopNumbers(t *testing.T, o outcome) {
	t.Helper()
	require.Equal(t, "completed", o.Status)
	require.Equal(t, 2488, o.Conversions.InRange)
	require.Equal(t, 2428, o.Conversions.Attributed)
	require.Equal(t, 60, o.Conversions.WithoutSessions)
	require.Zero(t, o.Conversions.Approximated+o.Conversions.Excluded+o.Conversions.Failed)
	require.Equal(t, 11640, o.Touchpoints)
	require.Equal(t, 1530, o.ReportRows)
	require.Equal(t, "2428", o.IHC.String())
	require.Equal(t, "130608.27", o.IHCRevenue.String())
	require.Equal(t, "14786.398", o.Cost.String())
	require.GreaterOrEqual(t, len(o.Reconciliation), 8)
	for _, e := range o.Reconciliation {
		require.True(t, e.Holds, "%s: %s, %s", e.Description, e.Left, e.Right)
	}
}

// results are the users' tables of results, which do not depend on when and by
// what they were made.
func results(name string) bool {
	return name == "attribution_customer_journey" || name == "channel_reporting"
}

func TestShopWithTheBuiltInModel(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	db := importShop(h)
	before := tables(t, db)
	require.Len(t, before, 3)

	r := h.must("run", "--db", db, "--out", h.path("out"), "--model", "builtin", "--json")
	first := parse(t, r.stdout)
	requireShopNumbers(t, first)
	require.Equal(t, "builtin", first.Model)
	require.Zero(t, first.Requests)
	require.Equal(t, h.path("out", "channel_reporting.csv"), first.CSV)
	require.Contains(t, r.stderr, "2,488 conversions in range, 2,428 journeys with 11,640 touchpoints")
	after := tables(t, db)
	require.Empty(t, before.Diff(after.Only(untouched)), "a run changed what is the users'")
	require.Len(t, after["attribution_customer_journey"], 11640)
	require.Len(t, after["channel_reporting"], 1530)
	requireReport(t, first.CSV, after, "")
	for _, log := range []string{"-wal", "-shm"} { // whoever copies the file has it all
		require.NoFileExists(t, db+log)
	}

	csvBytes := read(t, first.CSV)
	r = h.must("run", "--db", db, "--out", h.path("again"), "--model", "builtin", "--json")
	second := parse(t, r.stdout)
	requireShopNumbers(t, second)
	require.NotEqual(t, first.RunID, second.RunID)
	require.Empty(t, after.Only(results).Diff(tables(t, db).Only(results)), "the second run gave other tables")
	require.Equal(t, csvBytes, read(t, second.CSV), "the second run gave another CSV")
}

// requireReport checks the CSV against the table it is to hold, from a session
// date on.
func requireReport(t *testing.T, path string, db snapshot.Tables, from string) {
	t.Helper()
	covered := 0
	for _, row := range db["channel_reporting"] {
		if strings.Trim(strings.Split(row, " | ")[1], `'"`) >= from {
			covered++
		}
	}
	rows, err := csv.NewReader(strings.NewReader(read(t, path))).ReadAll()
	require.NoError(t, err)
	require.Equal(t, []string{"channel_name", "date", "cost", "ihc", "ihc_revenue", "CPO", "ROAS"}, rows[0])
	require.Len(t, rows, 1+covered)
	for i, row := range rows[1:] {
		if i == 0 {
			continue
		}
		last := rows[i]
		require.True(t, last[1] < row[1] || last[1] == row[1] && last[0] < row[0], "ordered by date, then channel: %v, %v", last, row)
	}
}

func TestShopInADateRange(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	db := importShop(h)
	r := h.must("run", "--db", db, "--out", h.path("out"), "--model", "builtin", "--json", "--start-date", "2021-06-01", "--end-date", "2021-06-30")
	june := parse(t, r.stdout)
	require.Equal(t, 611, june.Conversions.Attributed)
	require.Equal(t, 2743, june.Touchpoints)
	require.Equal(t, 510, june.ReportRows, "the report covers the dates asked for")
	require.Equal(t, "611", june.IHC.String())
	require.Equal(t, "5052.077", june.Cost.String(), "of June, and not of all dates")
	require.Equal(t, []string{"33400.64", "31986.57", "1414.07"},
		[]string{june.Revenue.InRange.String(), june.Revenue.Attributed.String(), june.Revenue.Unattributed.String()})
	require.Equal(t, 416, june.Bridge.NeverAttributed)
	require.Len(t, tables(t, db)["channel_reporting"], 1530, "the table covers all dates")
	require.Len(t, tables(t, db)["attribution_customer_journey"], 2743)

	// The rest of the conversions, run after, adds up to what one run gives.
	h.must("run", "--db", db, "--out", h.path("out"), "--model", "builtin", "--end-date", "2021-05-31")
	h.must("run", "--db", db, "--out", h.path("out"), "--model", "builtin", "--start-date", "2021-07-01")
	other := newHouse(t)
	whole := importShop(other)
	other.must("run", "--db", whole, "--out", other.path("out"), "--model", "builtin")
	require.Empty(t, tables(t, whole).Only(results).Diff(tables(t, db).Only(results)))
	want := []string{}
	for i, line := range strings.SplitAfter(read(t, other.path("out", "channel_reporting.csv")), "\n") {
		if cells := strings.Split(line, ","); i == 0 || len(cells) > 1 && cells[1] >= "2021-07-01" {
			want = append(want, line)
		}
	}
	require.Equal(t, strings.Join(want, ""), read(t, h.path("out", "channel_reporting.csv")))

	none := h.must("run", "--db", db, "--out", h.path("out"), "--model", "builtin", "--start-date", "2030-01-01")
	require.Equal(t, "no conversions from 2030-01-01: there is nothing to report\n", none.stdout)
}

// A total covers the dates that its conversions are of: 5.72 was all cost of
// three months against the orders of one.
func TestDatedRunOfAFreshShopGivesTheRatiosOfItsDates(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r := h.must("run", "--db", importShop(h), "--out", h.path("out"), "--model", "builtin", "--start-date", "2021-07-01", "--end-date", "2021-07-31")
	require.Contains(t, strings.Join(strings.Fields(r.stdout), " "), "total 5,619.76 1,553.52 84,064.40 3.62 14.96 ")
	require.Contains(t, r.stdout, "conversions of these dates gave 11.48 conversions (ihc), 539.16 revenue (ihc) to earlier sessions")
	require.Contains(t, r.stdout, "later conversions that have sessions of these dates and were never attributed: 121")
	require.Contains(t, r.stdout, "85,674.31 revenue in range: 84,603.56 attributed, 1,070.75 without sessions")
}

const secret = "k3y-that-nobody-may-see-9f2c"

// startSandbox runs `ihc sandbox` and returns its base URL and that of its
// other pages.
func startSandbox(h *house, args ...string) (api, root string) {
	h.t.Helper()
	s := h.serve(append([]string{"sandbox", "--listen", "127.0.0.1:0"}, args...)...)
	_, rest, found := strings.Cut(s.first, "sandbox at ")
	require.True(h.t, found, s.first)
	api, _, _ = strings.Cut(rest, " ")
	return api, strings.TrimSuffix(api, "/v1")
}

func TestShopWithTheAPI(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	db := importShop(h)
	reference := newHouse(t)
	byModel := importShop(reference)
	reference.must("run", "--db", byModel, "--out", reference.path("out"), "--model", "builtin")

	api, root := startSandbox(h.with("IHC_SANDBOX_KEY=" + secret))
	r := h.with("IHC_API_KEY="+secret).must("run", "--db", db, "--out", h.path("out"), "--model", "api", "--api-url", api, "--conv-type-id", "any",
		"--payloads", h.path("request_payloads"), "--data-dir", h.path("streams"), "--verbose", "--json")
	o := parse(t, r.stdout)
	requireShopNumbers(t, o)
	require.Equal(t, "api", o.Model)
	require.LessOrEqual(t, o.Requests, 60)
	require.Positive(t, o.Requests)

	// The same from the API as from the model it serves.
	require.Empty(t, tables(t, byModel).Only(results).Diff(tables(t, db).Only(results)))
	require.Equal(t, read(t, reference.path("out", "channel_reporting.csv")), read(t, o.CSV))

	var stats struct {
		Requests, Refusals     int
		ConversionsScored      int `json:"conversions_scored"`
		ConversionsScoredTwice int `json:"conversions_scored_twice"`
		ContractViolations     int `json:"contract_violations"`
	}
	getJSON(t, root+"/stats", &stats)
	require.Equal(t, o.Requests, stats.Requests, "not a request more than the run says")
	require.Equal(t, 2428, stats.ConversionsScored)
	require.Zero(t, stats.ConversionsScoredTwice+stats.ContractViolations+stats.Refusals)

	resendPayloads(t, h.path("request_payloads"), api, o.Requests, tables(t, db)["attribution_customer_journey"])

	// The key is in nothing that came out: output, report, payloads, streams,
	// database.
	require.NotContains(t, r.stdout+r.stderr, secret)
	requireNowhere(t, secret, h.dir)
}

// resendPayloads sends every saved request again, as with curl, and holds the
// replies against what the run stored.
func resendPayloads(t *testing.T, dir, api string, requests int, stored []string) {
	t.Helper()
	files := 0
	again := map[string]bool{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, api+"/compute_ihc?conv_type_id=any", strings.NewReader(read(t, path)))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("x-api-key", secret)
		reply, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer reply.Body.Close()
		require.Equal(t, http.StatusOK, reply.StatusCode, path)
		decoded, err := ihcapi.DecodeResponse(reply.Body, 64<<20, ihcapi.PaidLimits.Sessions)
		require.NoError(t, err, path)
		require.Equal(t, 200, decoded.StatusCode, path)
		require.Empty(t, decoded.Failures, path)
		for _, v := range decoded.Values {
			again[fmt.Sprintf("%q | %q | %v", v.ConversionID, v.SessionID, float64(v.IHC)/10_000)] = true
		}
		return nil
	}))
	require.Equal(t, requests, files, "one file a request")
	require.Len(t, again, len(stored))
	for _, row := range stored {
		at := strings.LastIndex(row, " (") // the bits of the number
		require.True(t, again[row[:at]], "the reply sent again differs from %s", row)
	}
}

func getJSON(t *testing.T, url string, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	reply, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer reply.Body.Close()
	require.NoError(t, json.NewDecoder(reply.Body).Decode(into))
}

// requireNowhere looks for a text in every file under dir, byte by byte.
func requireNowhere(t *testing.T, text, dir string) {
	t.Helper()
	files := 0
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		require.NotContains(t, read(t, path), text, path)
		return nil
	}))
	require.Positive(t, files, "there is something to look through")
}

func TestShopOnAStackThatIsKeptUp(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	db := importShop(h)
	up := h.serve("up", "--db", db, "--out", h.path("out"), "--data-dir", h.path("streams"), "--listen", "127.0.0.1:0")
	url := natsURL(t, up)
	r := h.must("run", "--nats", url, "--json", "--model", "builtin")
	first := parse(t, r.stdout)
	requireShopNumbers(t, first)
	csvBytes := read(t, first.CSV)
	require.Zero(t, up.stop(syscall.SIGTERM), up.stderr())

	// Taken up again, it knows its runs and takes more.
	up = h.serve("up", "--db", db, "--out", h.path("out"), "--data-dir", h.path("streams"), "--listen", "127.0.0.1:0")
	r = h.with("NATS_URL="+natsURL(t, up)).must("run", "--json", "--model", "builtin")
	second := parse(t, r.stdout)
	requireShopNumbers(t, second)
	require.NotEqual(t, first.RunID, second.RunID)
	require.Equal(t, csvBytes, read(t, second.CSV))
	require.Zero(t, up.stop(os.Interrupt), up.stderr())
}

// natsURL returns where a stack's NATS server is.
func natsURL(t *testing.T, up *server) string {
	t.Helper()
	_, rest, found := strings.Cut(up.first, "NATS at ")
	require.True(t, found, up.first)
	url, _, _ := strings.Cut(rest, ",")
	return url
}
