package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/store/sqlite"
	"github.com/ihc-pipeline/ihc/tests/snapshot"
)

// examples are the imports of the folder examples, as its README has them.
var examples = map[string][]string{
	"german":  {"--sessions", "besuche.csv", "--conversions", "bestellungen.csv", "--daily-costs", "werbekosten.csv"},
	"ga4":     {"--sessions", "sessions.csv", "--conversions", "purchases.csv", "--daily-costs", "ads.csv"},
	"matomo":  {"--sessions", "visits.jsonl", "--conversions", "orders.tsv"},
	"shopify": {"--sessions", "visits.csv", "--conversions", "orders.csv"},
}

// example returns the arguments that import an example into db.
func example(t *testing.T, name, db string) (args []string, dir string) {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "..", "examples", name))
	require.NoError(t, err)
	args = []string{"import", "--db", db, "--map", filepath.Join(dir, "ihc.yaml")}
	for i, a := range examples[name] {
		if i%2 == 1 {
			a = filepath.Join(dir, a)
		}
		args = append(args, a)
	}
	return args, dir
}

// Every example gives the report that lies beside it. IHC_UPDATE=1 writes them.
func TestExamplesGiveTheirReports(t *testing.T) {
	t.Parallel()
	for name := range examples {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			args, dir := example(t, name, h.path("shop.db"))
			h.must(args...)
			before := tables(t, h.path("shop.db"))
			require.NotContains(t, h.must(args...).stdout, "new 1")
			require.Empty(t, before.Diff(tables(t, h.path("shop.db"))), "the same again changes nothing")
			h.must("run", "--db", h.path("shop.db"), "--out", h.path("out"), "--model", "builtin")
			got := read(t, h.path("out", "channel_reporting.csv"))
			golden := filepath.Join(dir, "report.csv")
			if os.Getenv("IHC_UPDATE") != "" {
				require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
			}
			require.Equal(t, read(t, golden), got)
		})
	}
}

func TestWhatIsExportedIsImportedToEqualTables(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"csv", "parquet"} {
		h := newHouse(t)
		args, _ := example(t, "ga4", h.path("shop.db"))
		h.must(args...)
		h.must("export", "--db", h.path("shop.db"), "--out", h.path("tables"), "--format", format)
		in := func(table string) string { return h.path("tables", table+"."+format) }
		h.with("IHC_DB="+h.path("again.db")).must("import", "--sessions", in("session_sources"), "--conversions", in("conversions"), "--costs", in("session_costs"))
		input := func(name string) bool {
			return name == "session_sources" || name == "conversions" || name == "session_costs"
		}
		require.Empty(t, tables(t, h.path("shop.db")).Only(input).Diff(tables(t, h.path("again.db")).Only(input)), format)

		// And from the database itself, by a view.
		h.must("import", "--db", h.path("third.db"), "--from", h.path("shop.db"), "--sessions", "SELECT * FROM session_sources",
			"--conversions", "conversions", "--costs", "session_costs")
		require.Empty(t, tables(t, h.path("shop.db")).Only(input).Diff(tables(t, h.path("third.db")).Only(input)))
	}
}

const csvHead = "session_id,user_id,time,channel_name\n"

func TestRowsThatCannotBeUsedStopAnImport(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	bad := csvHead + "s1,u1,2024-01-01T10:00:00Z,SEO\ns2,u1,yesterday,SEO\n,u1,2024-01-01T10:00:00Z,SEO\ns4,u1\n"
	r := h.feed(strings.NewReader(bad), "import", "--db", "shop.db", "--sessions", "-")
	require.Equal(t, 2, r.code)
	require.Contains(t, r.complaint(t), "3 rows cannot be used, and nothing was imported: see shop.rejects.csv")
	require.NoFileExists(t, h.path("shop.db"))
	lines := strings.Split(read(t, h.path("shop.rejects.csv")), "\n")
	require.Equal(t, "file,line,column,value,reason", lines[0])
	require.Contains(t, lines[1], "standard input,3,time,yesterday,")
	require.Contains(t, lines[2], "standard input,4,session_id,,")
	require.Contains(t, lines[3], "standard input,5,,,")

	r = h.feed(strings.NewReader(bad), "import", "--db", "shop.db", "--sessions", "-", "--max-rejects", "3", "--rejects", "bad.csv")
	require.Zero(t, r.code, r.stderr)
	require.Contains(t, r.stdout, "3 rows could not be used: see bad.csv")
	require.FileExists(t, h.path("bad.csv"))

	// What could not be used is known of the last import alone.
	good := csvHead + "s1,u1,2024-01-01T10:00:00Z,SEO\n"
	r = h.feed(strings.NewReader(good), "import", "--db", "shop.db", "--sessions", "-")
	require.Zero(t, r.code, r.stderr)
	require.Contains(t, r.stdout, "every row could be used: shop.rejects.csv of an earlier import is removed")
	require.NoFileExists(t, h.path("shop.rejects.csv"))
	text(t, h.path("mine.csv"), "something of my own\n")
	r = h.feed(strings.NewReader(good), "import", "--db", "shop.db", "--sessions", "-", "--rejects", "mine.csv")
	require.NotContains(t, r.stdout, "removed")
	require.Equal(t, "something of my own\n", read(t, h.path("mine.csv")))
}

// A dash names standard input or output where a command reads or writes nothing
// else there, and no file.
func TestADashIsNoFile(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	db := smallShop(h)
	for says, args := range map[string][]string{
		"ihc: --rejects -: ": {"import", "--db", db, "--costs", "costs.csv", "--rejects", "-"},
		"ihc: --result -: ":  {"run", "--db", db, "--out", h.path("out"), "--result", "-"},
		"ihc: --out -: ":     {"model", "train", "--db", db, "--out", "-"},
	} {
		r := h.run(args...)
		require.Equal(t, 2, r.code, args)
		require.True(t, strings.HasPrefix(r.complaint(t), says), r.stderr)
	}
	h.must("run", "--db", db, "--out", h.path("out"))
	require.Equal(t, h.must("report", "--db", db, "--format", "csv").stdout, h.must("report", "--db", db, "--format", "csv", "--out", "-").stdout)
	require.NoFileExists(t, h.path("-"))
}

func TestAnImportThatIsKilledLeavesTheOldState(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	require.Zero(t, h.feed(strings.NewReader(csvHead+"s1,u1,2024-01-01T10:00:00Z,SEO\n"), "import", "--db", "shop.db", "--sessions", "-").code)
	before := tables(t, h.path("shop.db"))
	cmd := h.command(t.Context(), "import", "--db", "shop.db", "--sessions", "-")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = io.WriteString(in, csvHead+strings.Repeat("s2,u2,2024-01-01T10:00:00Z,SEO\n", 20_000))
	require.NoError(t, err)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	require.Empty(t, before.Diff(tables(t, h.path("shop.db"))))
}

// Whenever it is killed, the tables are as they were or as they are to be.
func TestAnImportKilledAtAnyMomentLeavesOneOfTwoStates(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	visits := func(channel string, from, to int) string {
		var b strings.Builder
		b.WriteString(csvHead)
		for i := from; i < to; i++ {
			fmt.Fprintf(&b, "s%d,u%d,2024-01-%02dT10:00:00Z,%s\n", i, i%500, 1+i%28, channel)
		}
		return b.String()
	}
	require.NoError(t, os.WriteFile(h.path("old.csv"), []byte(visits("SEO", 0, 20_000)), 0o600))
	require.NoError(t, os.WriteFile(h.path("new.csv"), []byte(visits("SEA", 5_000, 30_000)), 0o600))
	require.NoError(t, os.WriteFile(h.path("ads.csv"), []byte("date,channel_name,cost\n2024-01-01,SEO,100\n2024-01-01,SEA,70\n"), 0o600))
	h.must("import", "--db", "shop.db", "--sessions", "old.csv", "--daily-costs", "ads.csv")
	before := tables(t, h.path("shop.db"))
	original := read(t, h.path("shop.db"))
	args := []string{"import", "--db", "shop.db", "--sessions", "new.csv", "--replace-range"}
	begun := time.Now()
	h.must(args...)
	took := time.Since(begun)
	after := tables(t, h.path("shop.db"))
	require.NotEmpty(t, before.Diff(after))

	const moments = 12
	seen := map[bool]int{}
	for i := range moments {
		for _, end := range []string{"-wal", "-shm", "-journal"} {
			_ = os.Remove(h.path("shop.db" + end))
		}
		require.NoError(t, os.WriteFile(h.path("shop.db"), []byte(original), 0o600))
		cmd := h.command(t.Context(), args...)
		require.NoError(t, cmd.Start())
		if i == 0 {
			require.NoError(t, cmd.Process.Kill())
		}
		kill := time.AfterFunc(took*time.Duration(i)/(moments-2), func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		kill.Stop()
		is := tables(t, h.path("shop.db"))
		done := len(after.Diff(is)) == 0
		if !done {
			require.Empty(t, before.Diff(is), "killed at moment %d of %d", i, moments)
		}
		seen[done]++
	}
	require.Positive(t, seen[false], "the first is killed as it starts")
	h.must(args...)
	require.Empty(t, after.Diff(tables(t, h.path("shop.db"))), "and the same import goes through then")
}

func TestAMappingIsProposedAndKept(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	_, dir := example(t, "ga4", "")
	r := h.must("import", "--guess", "--db", "shop.db", "--sessions", filepath.Join(dir, "sessions.csv"), "--conversions", filepath.Join(dir, "purchases.csv"))
	require.Contains(t, r.stdout, "session_id:\n            columns:\n                - user_pseudo_id\n                - ga_session_id\n")
	require.NoFileExists(t, h.path("shop.db"))
	require.NoError(t, os.WriteFile(h.path("ihc.yaml"), []byte("timeout: 90m\n"+r.stdout), 0o600))
	r = h.must("import", "--db", "shop.db", "--currency", "EUR", "--max-rejects", "1", "--sessions", filepath.Join(dir, "sessions.csv"), "--conversions", filepath.Join(dir, "purchases.csv"))
	require.Contains(t, r.stdout, "1 row could not be used") // of another currency
	h.must("validate", "shop.db")                            // the mapping is in nobody's way
}

func TestWhatIsWrongWithAnImportIsSaid(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	require.NoError(t, os.WriteFile(h.path("a.csv"), []byte("x,y\n1,2\n"), 0o600))
	for _, c := range []struct {
		args, says string
		code       int
	}{
		{"--sessions a.csv --db d.db", "no column is known to be session_id", 2},
		{"--sessions a.csv", "name the database", 2},
		{"--sessions a.csv b.csv --db d.db", `"b.csv" belongs to no table`, 2},
		{"--sessions none.csv --db d.db", "no such file", 3},
		{"--sessions no*.csv --db d.db", "no file is like", 3},
		{"--sessions a.csv --db d.db --timezone Berlin", "--timezone", 2},
		{"--sessions a.csv --db d.db --encoding klingon", "is not known", 2},
		{"--sessions a.csv --db d.db --delimiter ;;", "give one character", 2},
		{"--sessions a.csv --db d.db --format xls", "choose csv, tsv, jsonl or parquet", 2},
		{"--sessions a.csv --db a.csv", "text file", 2},
		{"--from a.csv --sessions t --db d.db", "text file", 2},
	} {
		r := h.run(append([]string{"import"}, strings.Fields(c.args)...)...)
		require.Equal(t, c.code, r.code, "%s\n%s", c.args, r.stderr)
		require.Contains(t, r.complaint(t), c.says)
		require.NoFileExists(t, h.path("d.db"))
	}
}

// Whatever ids are stored as, and whether a table is one or a view, a run gives what
// it would give of the texts, and an import makes them of it.
// A command that is stopped says so in a person's words, whatever it was at.
func TestAnImportThatIsInterruptedSaysSo(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	cmd := h.command(t.Context(), "import", "--db", "shop.db", "--sessions", "-")
	rows, err := cmd.StdinPipe()
	require.NoError(t, err)
	errs, err := os.Create(h.path("said"))
	require.NoError(t, err)
	defer errs.Close()
	cmd.Stderr = errs
	require.NoError(t, cmd.Start())
	_, err = rows.Write([]byte(csvHead + strings.Repeat("a,u,2024-01-01 10:00:00,SEO\n", 1<<14)))
	require.NoError(t, err)
	require.True(t, assertEventually(func() bool { return strings.Contains(read(t, h.path("said")), "standard input: sessions as") }))
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	_ = cmd.Wait() // while more rows may come
	require.Equal(t, 130, cmd.ProcessState.ExitCode())
	require.Contains(t, read(t, h.path("said")), "ihc: interrupted before it was done\n")
	require.NoFileExists(t, h.path("shop.db"))
}

// The currency of a database is that of its first import that names one.
func TestADatabaseKeepsItsCurrency(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	orders := func(name, currency, revenue string) string {
		text(t, h.path(name), "conv_id,user_id,conv_date,conv_time,revenue,currency\n"+name+",u,2024-01-01,10:00:00,"+revenue+","+currency+"\n")
		return h.path(name)
	}
	h.must("import", "--db", "shop.db", "--conversions", orders("a.csv", "EUR", "1"))
	r := h.run("import", "--db", "shop.db", "--conversions", orders("b.csv", "USD", "1"))
	require.Equal(t, 2, r.code)
	r = h.run("import", "--db", "shop.db", "--currency", "usd", "--conversions", orders("c.csv", "USD", "1"))
	require.Equal(t, 2, r.code)
	require.Contains(t, r.complaint(t), "amounts are in USD, those in the database in EUR: nothing was imported")
	text(t, h.path("rates.yaml"), "rates: {USD: \"0.5\"}\n")
	h.must("import", "--db", "shop.db", "--map", "rates.yaml", "--conversions", orders("d.csv", "USD", "3"))
	h.must("export", "--db", "shop.db", "--out", h.path("tables"), "--format", "csv")
	data, err := os.ReadFile(h.path("tables", "conversions.csv"))
	require.NoError(t, err)
	require.Equal(t, "conv_id,user_id,conv_date,conv_time,revenue\na.csv,u,2024-01-01,10:00:00,1\nd.csv,u,2024-01-01,10:00:00,1.5\n", string(data))
}

func TestTablesOfNumbersBlobsAndViewsAreReadAndImported(t *testing.T) {
	t.Parallel()
	const fill = `
		WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60) INSERT INTO session_sources SELECT i, 100 + i % 7, '2023-09-' || printf('%02d', 1 + i % 28), '10:00:00', 'C' || i % 3, i % 2, 0, 0 FROM n;
		WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 14) INSERT INTO conversions SELECT i, 100 + i % 7, '2023-09-29', '12:00:00', 10 FROM n;
		INSERT INTO session_costs SELECT session_id, 0.5 FROM session_sources`
	const blobs = "; UPDATE session_sources SET session_id = CAST(session_id AS blob), user_id = CAST(user_id AS blob); UPDATE session_costs SET session_id = CAST(session_id AS blob); UPDATE conversions SET conv_id = CAST(conv_id AS blob), user_id = CAST(user_id AS blob)"
	h := newHouse(t)
	made := map[string]string{
		"text": sqlite.InputSchema + fill,
		"integer": "CREATE TABLE session_sources (session_id INTEGER PRIMARY KEY, user_id INT, event_date text, event_time text, channel_name text, holder_engagement boolean, closer_engagement boolean, impression_interaction boolean);" +
			"CREATE TABLE conversions (conv_id INTEGER PRIMARY KEY, user_id INT, conv_date text, conv_time text, revenue numeric); CREATE TABLE session_costs (session_id INT UNIQUE, cost numeric);" + fill,
	}
	made["blobs"] = strings.NewReplacer(" INTEGER", " blob", " INT ", " blob ", " INT,", " blob,").Replace(made["integer"]) + blobs
	made["real"] = strings.NewReplacer(" INTEGER", " real", " INT ", " real ", " INT,", " real,").Replace(made["integer"])
	made["blob"] = sqlite.InputSchema + fill + blobs
	view := sqlite.InputSchema + fill
	for _, table := range []string{"session_sources", "conversions", "session_costs"} {
		view += "; ALTER TABLE " + table + " RENAME TO " + table + "_2; CREATE VIEW " + table + " AS SELECT * FROM " + table + "_2"
	}
	made["view"] = view
	made["costs"] = sqlite.InputSchema + fill + "; ALTER TABLE session_costs RENAME TO c2; CREATE VIEW session_costs AS SELECT session_id, cost FROM c2"
	input := func(name string) bool {
		return name == "session_sources" || name == "conversions" || name == "session_costs"
	}
	script(t, h.path("text.db"), made["text"])
	want := tables(t, h.path("text.db")).Only(input)
	run := func(db, out string) (results snapshot.Tables, csv string) {
		h.must("run", db, "--out", h.path(out), "--model", "builtin")
		return tables(t, db).Only(func(name string) bool { return name == "attribution_customer_journey" || name == "channel_reporting" }), read(t, h.path(out, "channel_reporting.csv"))
	}
	wantResults, wantCSV := run(h.path("text.db"), "text")
	for name, text := range made {
		db := h.path(name + "-from.db")
		script(t, db, text)
		if name == "blob" { // in columns that are declared as text
			r := h.run("run", db)
			require.Equal(t, 2, r.code, name)
			require.Contains(t, r.complaint(t), "ihc import --from THIS --db ANOTHER", name)
		} else {
			results, csv := run(db, name)
			require.Empty(t, wantResults.Diff(results), name)
			require.Equal(t, wantCSV, csv, name)
		}
		h.must("import", "--from", db, "--db", name+"-into.db")
		require.Empty(t, want.Diff(tables(t, h.path(name+"-into.db")).Only(input)), name)
		h.must("validate", name+"-into.db", "--strict")
	}
}

// What a day cost on which nobody came is in no channel, and in the proof.
func TestDailyCostsOfDaysWithoutSessionsAreTold(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(h.path(name), []byte(text), 0o600))
	}
	write("visits.csv", csvHead+"s1,u1,2024-01-01T10:00:00Z,SEA\ns2,u1,2024-01-01T11:00:00Z,SEA\ns3,u2,2024-01-02T10:00:00Z,SEO\n")
	write("orders.csv", "conv_id,user_id,time,revenue\nc1,u1,2024-01-03T10:00:00Z,50\n")
	write("ads.csv", "date,channel_name,cost\n2024-01-01,SEA,10.01\n2024-01-02,SEA,0.333333\n2024-01-02,TV,7\n")
	write("none.csv", "session_id,cost\ns3,0\n")
	h.must("import", "--db", "shop.db", "--sessions", "visits.csv", "--conversions", "orders.csv", "--costs", "none.csv", "--daily-costs", "ads.csv")
	h.must("validate", "shop.db", "--strict")
	r := h.must("run", "--db", "shop.db", "--out", "out", "--model", "builtin")
	said := strings.Join(strings.Fields(r.stdout), " ")
	require.Contains(t, said, `note: cost without sessions: 7.333333 on 2 days on which their channels had none, in no channel and in no total; one is 2024-01-02, "SEA"`)
	require.Contains(t, said, "Σ daily costs that were imported = Σ session_costs that they became + costs of days without sessions 17.343333 = 17.343333 ok")
	require.Contains(t, read(t, h.path("out", "reconciliation.json")), `"daily_costs"`)
	page := read(t, h.path("out", "report.html"))
	require.Contains(t, page, "Daily costs")
	require.Contains(t, page, "7.33 on days without sessions of the channel")
	require.Contains(t, page, "Cost without sessions: days on which the channel had none")
	require.NotContains(t, read(t, h.path("out", "channel_reporting.csv")), "TV")
	require.Contains(t, strings.Join(strings.Fields(h.must("report", "--db", "shop.db", "--unattributed").stdout), " "), "2024-01-02 TV 7.00")
	require.NotContains(t, h.must("report", "--db", "shop.db", "--end-date", "2024-01-01").stdout, "Cost without sessions")

	// A later file for these days takes the place of what was there.
	write("ads.csv", "date,channel_name,cost\n2024-01-02,TV,8\n2024-01-02,SEA,0\n")
	h.must("import", "--db", "shop.db", "--daily-costs", "ads.csv")
	r = h.must("run", "--db", "shop.db", "--out", "out", "--model", "builtin")
	require.Contains(t, strings.Join(strings.Fields(r.stdout), " "), "18.01 = 18.01 ok")
}
