package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/journey"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// numberedRows are a shop whose ids are written as numbers; $ is what they are
// written as.
const numberedRows = `
INSERT INTO session_sources VALUES
 ($(11), $(1), '2023-09-01', '10:00:00', 'Paid Search', 1, 0, 0), ($(12), $(1), '2023-09-02', '23:59:59', 'Direct', 1, 1, 0),
 ($(9), $(2), '2023-09-03', '00:00:00', 'Social', 0, 0, 1), ($(100), $(3), '2023-09-03', '00:00:00', 'Social', 0, 0, 1);
INSERT INTO conversions VALUES ($(1), $(1), '2023-09-03', '12:00:00', 12.34), ($(2), $(2), '2023-09-04', '12:00:00.5', 100), ($(10), $(4), '2023-09-04', '12:00:00', 5);
INSERT INTO session_costs VALUES ($(11), 0.125), ($(12), 0), ($(9), 1.5);
INSERT INTO attribution_customer_journey VALUES ('1', '11', 0.25), ('1', '12', 0.75), ('2', '9', 1);
`

// numbered is that shop with ids that are declared and written in some way.
func numbered(declared, written string) string {
	schema := Schema
	for _, id := range []string{"session_sources (session_id", "conversions (conv_id", "session_costs (session_id", "NULL, user_id"} {
		schema = strings.ReplaceAll(schema, id+" text", id+" "+declared)
	}
	return schema + strings.ReplaceAll(numberedRows, "$", written)
}

// answers is all that is read of the sources of a database, in words.
func answers(t *testing.T, path string) string {
	t.Helper()
	d := opened(t, path)
	var all strings.Builder
	say := func(v any, err error) {
		require.NoError(t, err)
		fmt.Fprintf(&all, "%+v\n", v)
	}
	found, err := d.Validate(t.Context(), findings.Options{})
	say(found, err)
	require.NoError(t, found.Err())
	say("journeys", d.Journeys(t.Context(), everything, func(j journey.Journey) error { say(j, nil); return nil }))
	say("histories", d.Histories(t.Context(), everything, func(h *journey.History) error { say(*h, nil); return nil }))
	costs, err := d.Costs(t.Context(), "2023-09-01", "2023-09-30")
	say(costs, err)
	conversion, err := d.Conversion(t.Context(), "1")
	say(conversion, err)
	cell, err := d.Cell(t.Context(), "Direct", "2023-09-02")
	say(cell, err)
	unknown, err := d.UnknownChannels(t.Context(), []string{"Direct", "Email"})
	say(unknown, err)
	last, err := d.LastConversion(t.Context())
	say(last, err)
	survey, err := d.Survey(t.Context(), &ihcv1.RunRequest{}, store.View{Zone: "Europe/Berlin"})
	say(survey, err)
	rebuilt, err := d.Rebuild(t.Context(), &ihcv1.RunRequest{StartDate: "2023-09-03"})
	say(rebuilt, err)
	return all.String()
}

// views puts views in the place of the tables.
const views = `; ALTER TABLE session_sources RENAME TO a; ALTER TABLE conversions RENAME TO b; ALTER TABLE session_costs RENAME TO c;
	CREATE VIEW session_sources AS SELECT * FROM a; CREATE VIEW conversions AS SELECT * FROM b; CREATE VIEW session_costs AS SELECT * FROM c`

func TestWhateverIdsAreStoredAsTheAnswersAreThoseOfTexts(t *testing.T) {
	t.Parallel()
	want := answers(t, build(t, numbered("text", "")))
	for name, script := range map[string]string{
		"integers":             numbered("INTEGER", ""),
		"reals":                numbered("real", ""),
		"numeric":              numbered("numeric", ""),
		"blobs":                numbered("blob", "CAST"),
		"undeclared integers":  numbered("", ""),
		"views of texts":       numbered("text", "") + views,
		"views of integers":    numbered("INTEGER", "") + views,
		"views of blobs":       numbered("blob", "CAST") + views,
		"without row numbers":  strings.ReplaceAll(numbered("INTEGER", ""), "));", ")) WITHOUT ROWID;"),
		"UTF-16 with integers": "PRAGMA encoding = 'UTF-16le';" + numbered("INTEGER", ""),
		"UTF-16 with blobs":    "PRAGMA encoding = 'UTF-16be';" + numbered("blob", "CAST"),
		"costs of texts":       strings.Replace(numbered("INTEGER", ""), "session_costs (session_id INTEGER", "session_costs (session_id text", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if strings.Contains(script, "CAST(") { // to the bytes of UTF-8 in every encoding
				for _, id := range []string{"1", "2", "3", "4", "9", "10", "11", "12", "100"} {
					script = strings.ReplaceAll(script, "CAST("+id+")", fmt.Sprintf("x'%x'", id))
				}
			}
			require.Equal(t, want, answers(t, build(t, script)))
		})
	}
}

// Nothing of the copies is in the file, and the next reading is of what is there then.
func TestCopiesOfSourcesAreOfTheStateThatIsRead(t *testing.T) {
	t.Parallel()
	path := build(t, numbered("INTEGER", "")+views)
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	d := opened(t, path)
	count := func() (n int) {
		require.NoError(t, d.Journeys(t.Context(), everything, func(journey.Journey) error { n++; return nil }))
		return n
	}
	require.Equal(t, 3, count())
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, after)
	execute(t, path, "", `INSERT INTO b VALUES (77, 1, '2023-09-05', '12:00:00', 1)`)
	require.Equal(t, 4, count())
	_, err = d.Rebuild(t.Context(), &ihcv1.RunRequest{})
	require.NoError(t, err)
	execute(t, path, "", `DROP VIEW conversions; ALTER TABLE b RENAME TO conversions; DELETE FROM conversions WHERE conv_id = 1`)
	totals, err := d.Rebuild(t.Context(), &ihcv1.RunRequest{})
	require.NoError(t, err)
	require.EqualValues(t, 3, totals.Range.Conversions)
	require.Empty(t, tableRows(t, path, `SELECT name FROM sqlite_schema WHERE name LIKE '%pipeline_s%' OR name LIKE '%pipeline_conversions%'`))
}

func TestPlainSourcesAreNotCopied(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"contract": Schema + soundRows, "loose": loose,
		"odd types": strings.NewReplacer("session_id text", "session_id uuid", "user_id text", "user_id STRING").Replace(Schema) + soundRows,
	} {
		require.NoError(t, opened(t, build(t, script)).inSnapshot(t.Context(), noSource, func(conn *sql.Conn) error {
			made, err := standIns(t.Context(), conn, allByID)
			require.False(t, made, name)
			return err
		}))
	}
}

// A view is not trusted: it gets at none of the pipeline's functions, at nothing
// outside the file, and what is wrong with it is the user's to put right.
func TestViewsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, view := range map[string]string{
		"another's function":  `SELECT conv_id, user_id, conv_date, conv_time, load_extension('x') AS revenue FROM b`,
		"the pipeline's":      `SELECT conv_id, user_id, ` + dateInZone + `(conv_date, conv_time, 'UTC') AS conv_date, conv_time, revenue FROM b`,
		"a setting":           `SELECT conv_id, user_id, conv_date, conv_time, (SELECT 1 FROM pragma_database_list) AS revenue FROM b`,
		"an error in a row":   `SELECT conv_id, user_id, conv_date, conv_time, json_extract('{', '$') AS revenue FROM b`,
		"too few columns":     `SELECT conv_id FROM b`,
		"itself":              `SELECT * FROM conversions`,
		"a table that's gone": `SELECT * FROM gone`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := build(t, numbered("text", "")+`; ALTER TABLE conversions RENAME TO b; CREATE VIEW conversions AS `+view)
			require.NotEmpty(t, codes(validated(t, path)))
			d := opened(t, path)
			for _, do := range []func(context.Context) error{
				func(ctx context.Context) error {
					return d.Journeys(ctx, everything, func(journey.Journey) error { return nil })
				},
				func(ctx context.Context) error { _, err := d.Rebuild(ctx, &ihcv1.RunRequest{}); return err },
			} {
				err := do(t.Context())
				require.Equal(t, errkind.Input, errkind.KindOf(err), "%v", err)
				require.ErrorContains(t, err, "conversions cannot be read")
			}
		})
	}
}

// What is no id in a table of numbers or blobs is told with its row.
func TestIDsThatAreNoTextsAreTold(t *testing.T) {
	t.Parallel()
	for id, want := range map[string][]string{
		"7.5":               {"conversions.conv_id wrong_type"},
		"1e300":             {"conversions.conv_id wrong_type"},
		"x'ff00'":           {"conversions.conv_id wrong_type"},
		"x''":               {"conversions.conv_id blank_id"},
		"NULL":              {"conversions.conv_id null"},
		"1.0":               {"conversions.conv_id duplicate_id"},
		"'1'":               {"conversions.conv_id duplicate_id"},
		"x'31'":             {"conversions.conv_id duplicate_id"},
		"'1.0'":             nil,
		"-1":                nil,
		"1e15":              nil,
		"x'c3a4'":           nil,
		"12345678901234567": nil,
	} {
		script := strings.ReplaceAll(loose, "'c1'", "1") + `; INSERT INTO conversions VALUES (` + id + `, 'u1', '2023-09-03', '12:00:00', 1)`
		require.Equal(t, want, codes(validated(t, build(t, script))), id)
	}
}

// A collation that holds ids for one that are not is that of a view, too.
func TestViewsKeepTheCollationsOfTheirTables(t *testing.T) {
	t.Parallel()
	script := strings.ReplaceAll(Schema, "user_id text NOT NULL", "user_id text NOT NULL COLLATE NOCASE") + soundRows +
		`INSERT INTO conversions VALUES ('c5', 'U1', '2023-09-09', '10:00:00', 5);`
	want := codes(validated(t, build(t, script)))
	require.NotEmpty(t, want)
	require.Equal(t, want, codes(validated(t, build(t, script+views))))
}

// The copies are on the connection of a transaction, and gone with it.
func TestCopiesForATransactionGoWithIt(t *testing.T) {
	t.Parallel()
	path := build(t, numbered("INTEGER", ""))
	d := opened(t, path)
	require.NoError(t, d.transact(t.Context(), func(tx transaction) error {
		return tx.withSources(t.Context(), salesByID, func() error {
			var kind string
			require.NoError(t, tx.QueryRowContext(t.Context(), `SELECT typeof(conv_id) FROM conversions`).Scan(&kind))
			require.Equal(t, "text", kind)
			return nil
		})
	}))
	require.NoError(t, d.transact(t.Context(), func(tx transaction) error {
		var n int
		require.NoError(t, tx.QueryRowContext(t.Context(), `SELECT count(*) FROM temp.sqlite_schema`).Scan(&n))
		require.Zero(t, n)
		return nil
	}))
	require.NoError(t, d.inSnapshot(t.Context(), allByID, func(c *sql.Conn) error {
		var only bool
		require.NoError(t, c.QueryRowContext(t.Context(), `PRAGMA query_only`).Scan(&only))
		require.True(t, only)
		return nil
	}))
}
