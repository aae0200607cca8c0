package cli

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// badUsage is a command line or environment that asks for what cannot be. Its
// commands run in a directory with the small shop, shop.db, and files beside
// it.
type badUsage struct {
	name  string
	args  []string
	env   []string
	files map[string]string // made before
	exit  int
	says  string
}

const redistribution = `{"holder": {"direction": "any_session", "receive_threshold": 0, "redistribution_channel_labels": ["Direct"]}}`

// api are the arguments of a run that asks the API at a place where none is.
func api(more ...string) []string {
	return append([]string{"run", "--db", "shop.db", "--model", "api", "--conv-type-id", "x"}, more...)
}

var badUsages = []badUsage{
	// Words.
	{name: "a command that is not", args: []string{"rnu"}, exit: 2, says: `unknown command "rnu" for "ihc"`},
	{name: "a flag that is not", args: []string{"run", "--db", "shop.db", "--start", "2023-09-01"}, exit: 2, says: `unknown flag: --start; see "ihc run --help"`},
	{name: "a flag of no command", args: []string{"--db", "shop.db"}, exit: 2, says: "unknown flag: --db"},
	{name: "a flag without its value", args: []string{"run", "--db"}, exit: 2, says: "flag needs an argument: --db"},
	{name: "a word too many", args: []string{"run", "shop.db", "now"}, exit: 2, says: "ihc run takes one database (2 given)"},
	{name: "a database twice", args: []string{"run", "shop.db", "--db", "shop.db"}, exit: 2, says: `names a database twice, by --db and as "shop.db"`},
	{name: "no database", args: []string{"run"}, exit: 2, says: "name a database with --db FILE, or a running stack with --nats URL"},
	{name: "an empty name", args: []string{"run", "--db", ""}, exit: 2, says: "name a database"},
	{name: "both a database and a stack", args: []string{"run", "--db", "shop.db", "--nats", "nats://127.0.0.1:1"}, exit: 2, says: "--db runs here and --nats on a running stack: give one of them"},
	{name: "a stack's setting for a run", args: []string{"run", "--nats", "nats://127.0.0.1:1", "--out", "x"}, exit: 2, says: "--out is a setting of the stack"},

	// Dates and numbers.
	{name: "date in words", args: []string{"run", "--db", "shop.db", "--start-date", "last week"}, exit: 2, says: `--start-date "last week" is no date: write it as YYYY-MM-DD`},
	{name: "a time zone that is none", args: []string{"run", "--db", "shop.db", "--timezone", "Middle/Earth"}, exit: 2, says: `--timezone "Middle/Earth" is not known: use a name such as UTC, Europe/Berlin`},
	{name: "an end before a start by month", args: []string{"validate", "shop.db", "--start-date", "2023-10", "--end-date", "2023-09"}, exit: 2, says: "--start-date 2023-10 (2023-10-01) is after --end-date 2023-09 (2023-09-30); swap them"},
	{name: "a negative timeout", args: []string{"run", "shop.db", "--timeout", "-1s"}, exit: 2, says: "--timeout -1s: it cannot be negative"},
	{name: "detached from nothing", args: []string{"run", "shop.db", "--detach"}, exit: 2, says: "--detach leaves a run to a running stack"},
	{name: "a run id that is none", args: []string{"run", "shop.db", "--run-id", "a b"}, exit: 2, says: `--run-id "a b": use 1 to 64 letters`},
	{name: "date in another order", args: []string{"run", "--db", "shop.db", "--end-date", "01-09-2023"}, exit: 2, says: `--end-date "01-09-2023" is no date`},
	{name: "date of no calendar", args: []string{"run", "--db", "shop.db", "--start-date", "2023-02-30"}, exit: 2, says: `--start-date "2023-02-30" is no date`},
	{name: "the end before the start", args: []string{"run", "--db", "shop.db", "--start-date", "2023-09-02", "--end-date", "2023-09-01"}, exit: 2, says: "--start-date 2023-09-02 is after --end-date 2023-09-01"},
	{name: "sessions below 0", args: []string{"run", "--db", "shop.db", "--max-sessions", "-1"}, exit: 2, says: `--max-sessions "-1": use a whole number, 0 or more`},
	{name: "too many sessions", args: []string{"run", "--db", "shop.db", "--max-sessions", "10001"}, exit: 2, says: "--max-sessions 10001: the most is 10000"},
	{name: "more sessions than there are numbers", args: []string{"run", "--db", "shop.db", "--max-sessions", "99999999999"}, exit: 2, says: "--max-sessions"},
	{name: "too many journeys", args: []string{"run", "--db", "shop.db", "--max-journeys", "1001"}, exit: 2, says: "--max-journeys 1001: the most is 1000"},
	{name: "lookback in words", args: []string{"run", "--db", "shop.db", "--lookback-days", "a week"}, exit: 2, says: "--lookback-days"},
	{name: "a lookback of centuries", args: []string{"run", "--db", "shop.db", "--lookback-days", "40000"}, exit: 2, says: "--lookback-days 40000: the most is 36500"},
	{name: "no workers", args: []string{"run", "--db", "shop.db", "--concurrency", "0"}, exit: 2, says: "use a number from 1 to 1000"},
	{name: "a rate below 0", args: []string{"run", "--db", "shop.db", "--request-rate", "-1"}, exit: 2, says: "it cannot be negative"},
	{name: "a seed in words", args: []string{"demo", "--out", "d", "--seed", "x"}, exit: 2, says: "--seed"},

	// Models and files of settings.
	{name: "a model that is not", args: []string{"run", "--db", "shop.db", "--model", "magic"}, exit: 2, says: `model "magic": use "api" or "builtin"`},
	{name: "redistribution without a file", args: []string{"run", "--db", "shop.db", "--redistribution", "none.json"}, exit: 2, says: "none.json: no such file"},
	{name: "redistribution that is no JSON", args: []string{"run", "--db", "shop.db", "--redistribution", "r.json"}, files: map[string]string{"r.json": "holder: Direct"}, exit: 2, says: "--redistribution r.json: not JSON"},
	{name: "redistribution cut off", args: []string{"run", "--db", "shop.db", "--redistribution", "r.json"}, files: map[string]string{"r.json": redistribution[:50]}, exit: 2, says: "--redistribution r.json: not JSON: it ends too early"},
	{name: "redistribution of a phase that is not", args: []string{"run", "--db", "shop.db", "--redistribution", "r.json"}, files: map[string]string{"r.json": `{"hodler": {}}`}, exit: 2, says: `unknown field "hodler"; known are initializer, holder, closer`},
	{name: "redistribution upwards", args: []string{"run", "--db", "shop.db", "--redistribution", "r.json"}, files: map[string]string{"r.json": `{"holder": {"direction": "up", "receive_threshold": 0, "redistribution_channel_labels": []}}`}, exit: 2, says: `"up" is none of earlier_sessions_only, any_session, later_sessions_only`},
	{name: "redistribution to shares over 1", args: []string{"run", "--db", "shop.db", "--redistribution", "r.json"}, files: map[string]string{"r.json": `{"holder": {"direction": "any_session", "receive_threshold": 1.5, "redistribution_channel_labels": []}}`}, exit: 2, says: "receive_threshold"},
	{name: "model parameters that are none", args: []string{"run", "--db", "shop.db", "--model-params", "p.json"}, files: map[string]string{"p.json": "[]"}, exit: 2, says: "--model-params p.json"},
	{name: "the API without a key", args: api(), exit: 2, says: "the IHC API needs a key: set IHC_API_KEY, or use --model builtin"},
	{name: "the API without a conversion type", args: []string{"run", "--db", "shop.db", "--model", "api"}, env: []string{"IHC_API_KEY=" + secret}, exit: 2, says: "use --conv-type-id or set IHC_CONV_TYPE_ID"},
	{name: "an address that is none", args: api("--api-url", "junk"), env: []string{"IHC_API_KEY=" + secret}, exit: 2, says: `"junk" is not an http or https URL`},
	{name: "an address of another kind", args: api("--api-url", "ftp://127.0.0.1/v1"), env: []string{"IHC_API_KEY=" + secret}, exit: 2, says: "is not an http or https URL"},
	{name: "an address with a key in it", args: api("--api-url", "http://"+secret+"@127.0.0.1/v1"), env: []string{"IHC_API_KEY=" + secret}, exit: 2, says: "holds a user, a query or a fragment"},
	{name: "an API that is not there", args: api("--api-url", "http://127.0.0.1:1/v1"), env: []string{"IHC_API_KEY=" + secret}, exit: 3, says: "cannot reach the IHC API at http://127.0.0.1:1/v1"},
	{name: "a host that is not there", args: api("--api-url", "http://no-such-host.invalid/v1"), env: []string{"IHC_API_KEY=" + secret}, exit: 3, says: "cannot reach the IHC API"},

	// Places.
	{name: "a report into a file", args: []string{"run", "--db", "shop.db", "--out", "f"}, files: map[string]string{"f": "x"}, exit: 3, says: "cannot create the output directory"},
	{name: "streams into a file", args: []string{"run", "--db", "shop.db", "--data-dir", "f"}, files: map[string]string{"f": "x"}, exit: 3, says: "cannot create the data directory"},
	{name: "payloads into a file", args: api("--payloads", "f", "--api-url", "http://127.0.0.1:1"), env: []string{"IHC_API_KEY=" + secret}, files: map[string]string{"f": "x"}, exit: 3},
	{name: "a demonstration into a file", args: []string{"demo", "--out", "f"}, files: map[string]string{"f": "x"}, exit: 3, says: `directory "f" cannot be made`},
	{name: "no temporary directory", args: []string{"run", "--db", "shop.db"}, env: []string{"TMPDIR=/no/such/directory"}, exit: 3, says: "cannot create a temporary directory"},

	// Stacks.
	{name: "refunds in another way", args: []string{"run", "--db", "shop.db", "--refunds", "ignore"}, exit: 2, says: `--refunds "ignore": use "count" or "subtract"`},
	{name: "a stack that is not there", args: []string{"run", "--nats", "nats://127.0.0.1:1"}, exit: 3, says: "cannot reach NATS at nats://127.0.0.1:1"},
	{name: "a stack's address with a password", args: []string{"run", "--nats", "nats://me:" + secret + "@127.0.0.1:1"}, exit: 3, says: "cannot reach NATS at nats://me:xxxxx@127.0.0.1:1"},
	{name: "a stack from the environment that is not there", args: []string{"run"}, env: []string{"NATS_URL=nats://127.0.0.1:1"}, exit: 3, says: "cannot reach NATS"},
	{name: "a stack without a database", args: []string{"up"}, exit: 2, says: "name a database with --db FILE"},
	{name: "a stack at no address", args: []string{"up", "--db", "shop.db", "--listen", "here"}, exit: 2, says: `address "here": write it as host:port`},
	{name: "a stack at no port", args: []string{"up", "--db", "shop.db", "--listen", "127.0.0.1:99999"}, exit: 3, says: "cannot listen on 127.0.0.1:99999"},

	// Environment.
	{name: "IHC_CONCURRENCY in words", args: []string{"run", "--db", "shop.db"}, env: []string{"IHC_CONCURRENCY=many"}, exit: 2, says: `IHC_CONCURRENCY: "many" is no`},
	{name: "IHC_CONCURRENCY of 0", args: []string{"run", "--db", "shop.db"}, env: []string{"IHC_CONCURRENCY=0"}, exit: 2, says: "IHC_CONCURRENCY is 0: use a number from 1 to 1000"},
	{name: "IHC_REQUEST_RATE below 0", args: []string{"run", "--db", "shop.db"}, env: []string{"IHC_REQUEST_RATE=-1"}, exit: 2, says: "IHC_REQUEST_RATE is -1"},
	{name: "IHC_REQUEST_RATE of no number", args: []string{"run", "--db", "shop.db"}, env: []string{"IHC_REQUEST_RATE=NaN"}, exit: 2, says: "IHC_REQUEST_RATE is NaN"},
	{name: "IHC_MODEL that is not", args: []string{"run", "--db", "shop.db"}, env: []string{"IHC_MODEL=magic"}, exit: 2, says: `IHC_MODEL is "magic": use api or builtin`},
	{name: "IHC_MODEL=api without a key", args: []string{"run", "--db", "shop.db"}, env: []string{"IHC_MODEL=api"}, exit: 2, says: "IHC_API_KEY is not set"},
	{name: "IHC_API_TIMEOUT in words", args: []string{"run", "--db", "shop.db"}, env: []string{"IHC_API_TIMEOUT=soon"}, exit: 2, says: `IHC_API_TIMEOUT: "soon" is no`},
	{name: "IHC_API_TIMEOUT below 0", args: []string{"run", "--db", "shop.db"}, env: []string{"IHC_API_TIMEOUT=-5s"}, exit: 2, says: "IHC_API_TIMEOUT is -5s"},
	{name: "IHC_API_KEY with a line break", args: api("--api-url", "http://127.0.0.1:1"), env: []string{"IHC_API_KEY=" + secret + "\n"}, exit: 2, says: "IHC_API_KEY holds a space, a line break or another character that no key has"},
	{name: "IHC_API_URL that is none", args: api(), env: []string{"IHC_API_KEY=" + secret, "IHC_API_URL=api.example"}, exit: 2, says: "IHC_API_URL"},
	{name: "IHC_MODEL_PARAMS without a file", args: []string{"run", "--db", "shop.db"}, env: []string{"IHC_MODEL_PARAMS=none.json"}, exit: 3, says: "none.json: no such file"},
	{name: "IHC_MODEL_PARAMS that are none", args: []string{"run", "--db", "shop.db"}, env: []string{"IHC_MODEL_PARAMS=p.json"}, files: map[string]string{"p.json": "{"}, exit: 2, says: "model parameters p.json: not JSON"},

	// The other commands.
	{name: "validate without a database", args: []string{"validate"}, exit: 2, says: "give its path with --db"},
	{name: "validate a database that is not there", args: []string{"validate", "--db", "none.db"}, exit: 3, says: "no such file"},
	{name: "score nothing", args: []string{"score"}, exit: 2, says: "0 given"},
	{name: "score what is no request", args: []string{"score", "r.json"}, files: map[string]string{"r.json": "[1, 2]"}, exit: 2, says: "r.json"},
	{name: "a sandbox of another plan", args: []string{"sandbox", "--plan", "gold"}, exit: 2, says: `unknown plan "gold"; there are free and paid`},
	{name: "a sandbox that fails twice as often", args: []string{"sandbox", "--fault-429", "2"}, exit: 2, says: "2 is not within 0 to 1"},
	{name: "a model command that is not", args: []string{"model", "frobnicate"}, exit: 2, says: `unknown command "frobnicate"`},
	{name: "the state of a run without its id", args: []string{"status"}, exit: 2},
	{name: "a replay from nowhere", args: []string{"replay", "r1", "--from", "thin-air", "--nats", "nats://127.0.0.1:1"}, exit: 2},
}

func TestBadUsage(t *testing.T) {
	t.Parallel()
	for _, c := range badUsages {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			db := smallShop(h)
			for name, content := range c.files {
				text(t, h.path(name), content)
			}
			before, entries := stateOf(t, db, h.path("out")), list(t, h.dir)
			r := h.with(c.env...).run(c.args...)
			requireRefused(t, r, c.exit, c.says, before, stateOf(t, db, h.path("out")))
			require.NotContains(t, r.stdout+r.stderr, secret)
			require.Equal(t, entries, list(t, h.dir), "it left something behind")
		})
	}
}

// list returns the names in a directory.
func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// An empty variable is what compose passes for one that is not set.
func TestEmptyEnvironmentIsNone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	db := smallShop(h)
	h.with("IHC_API_KEY=", "IHC_CONCURRENCY=", "IHC_MODEL=", "IHC_API_URL=", "IHC_API_TIMEOUT=", "IHC_MODEL_PARAMS=", "NATS_URL=").
		must("run", "--db", db, "--out", h.path("out"))
	requireSmallShop(t, db, h, attributed, "")
}

func TestPlacesThatAreTaken(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	db := smallShop(h)
	h.serve("up", "--db", db, "--out", h.path("out"), "--data-dir", h.path("streams"), "--listen", "127.0.0.1:0")
	before := stateOf(t, db, h.path("out"))
	r := h.run("run", "--db", db, "--out", h.path("other"), "--data-dir", h.path("streams"))
	requireRefused(t, r, 3, "is in use by another process", before, stateOf(t, db, h.path("out")))

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	r = h.run("up", "--db", db, "--data-dir", h.path("more"), "--listen", taken.Addr().String())
	requireRefused(t, r, 3, "is a NATS server running there already?", before, stateOf(t, db, h.path("out")))
	r = h.run("sandbox", "--listen", taken.Addr().String())
	requireRefused(t, r, 3, "cannot listen on "+taken.Addr().String(), before, stateOf(t, db, h.path("out")))
}

// Where the report cannot be written the run says so, before anything is begun.
func TestReportThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	db := smallShop(h)
	require.NoError(t, os.Mkdir(h.path("out"), 0o700))
	nobody(t, h)
	require.NoError(t, os.Chmod(h.path("out"), 0o555))
	before := stateOf(t, db, h.path("out"))
	r := h.run("run", "--db", db, "--out", h.path("out"))
	requireRefused(t, r, 3, filepath.Base(h.path("out")), before, stateOf(t, db, h.path("out")))
}

// A second signal ends a command on the spot.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	db := smallShop(h)
	up := h.serve("up", "--db", db, "--out", h.path("out"), "--data-dir", h.path("streams"), "--listen", "127.0.0.1:0")
	require.NoError(t, up.cmd.Process.Signal(syscall.SIGTERM))
	code := up.stop(syscall.SIGTERM)
	require.Contains(t, []int{0, 143}, code, "0 where it had stopped before the second")
}
