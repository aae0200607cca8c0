package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/tables"
	"github.com/ihc-pipeline/ihc/store/inspect"
)

// loose is the input tables without any declared type, key or constraint, in
// which every wrong value can be stored.
const loose = `
CREATE TABLE session_sources (session_id, user_id, event_date, event_time, channel_name, holder_engagement, closer_engagement, impression_interaction);
CREATE TABLE conversions (conv_id, user_id, conv_date, conv_time, revenue);
CREATE TABLE session_costs (session_id, cost);
` + soundRows

// set changes one column of one row of the loose tables.
func set(table, column, value string) string {
	id := map[string]string{tables.SessionSources: "session_id = 's2'", tables.Conversions: "conv_id = 'c2'", tables.SessionCosts: "session_id = 's2'"}[table]
	return fmt.Sprintf("UPDATE %s SET %s = %s WHERE %s", table, column, value, id)
}

// examine validates in one go and row by row, which must come to the same.
func examine(t *testing.T, script string, opts findings.Options) *findings.Findings {
	t.Helper()
	db, err := Open(t.Context(), build(t, script), Read)
	require.NoError(t, err)
	defer db.Close()
	report, err := Validate(t.Context(), db, opts)
	require.NoError(t, err)
	apart, err := validate(t.Context(), db, opts, 1)
	require.NoError(t, err)
	require.Equal(t, report, apart)
	return report
}

func TestSoundData(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"contract":      Schema + soundRows,
		"three tables":  InputSchema + soundRows,
		"loose":         loose,
		"other case":    strings.ReplaceAll(strings.ReplaceAll(Schema, "session_sources", "Session_Sources"), "revenue real", "Revenue real") + soundRows,
		"without rowid": strings.ReplaceAll(InputSchema, "));", ")) WITHOUT ROWID;") + soundRows,
		"declared":      strings.NewReplacer("event_date text", "event_date date", "event_time text", "event_time timestamp", "holder_engagement INTEGER", "holder_engagement boolean", "conv_date text", "conv_date datetime", "revenue real", "revenue numeric").Replace(Schema) + soundRows,
		"utf-16":        "PRAGMA encoding = 'UTF-16';" + Schema + soundRows,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := examine(t, script, findings.Options{StartDate: "2023-09-04"})
			require.NotEmpty(t, r.Digest)
			r.Digest = ""
			require.Equal(t, &findings.Findings{
				Sessions: 3, Conversions: 2, ConversionsInRange: 1, Costs: 3, Channels: 3,
				FirstSession: "2023-09-01", LastSession: "2023-09-03",
				FirstConversion: "2023-09-03", LastConversion: "2023-09-04",
				List: []findings.Finding{},
			}, r)
			require.NoError(t, r.Err())
			require.Empty(t, r.Lines())
		})
	}
}

func TestFindings(t *testing.T) {
	t.Parallel()
	const (
		none  = ""
		ident = " where session_id is \"s2\""
	)
	for _, c := range []struct {
		name    string
		script  string // run after the loose tables are filled, or in place of them if it begins with CREATE
		table   string
		column  string
		code    string
		rule    findings.Rule
		count   int64
		example string // of the finding, in full; none where there is none
	}{
		// Tables and columns.
		{"missing table", "DROP TABLE session_costs", tables.SessionCosts, "", "missing_table", findings.MissingTable, 0, none},
		{"missing column", "ALTER TABLE conversions DROP COLUMN revenue", tables.Conversions, "revenue", "missing_column", findings.MissingColumn, 0, none},
		{"missing id", "ALTER TABLE session_costs RENAME COLUMN session_id TO session", tables.SessionCosts, "session_id", "missing_column", findings.MissingColumn, 0, none},
		{"view of nothing", "DROP TABLE conversions; CREATE VIEW conversions AS SELECT * FROM orders", tables.Conversions, "", "unreadable", findings.Unreadable, 0, none},
		{"view that fails", "ALTER TABLE conversions RENAME TO orders; CREATE VIEW conversions AS SELECT conv_id, user_id, conv_date, conv_time, json_extract('no', '$') AS revenue FROM orders", tables.Conversions, "", "unreadable", findings.Unreadable, 0, none},
		{"column missing in view", "ALTER TABLE conversions RENAME TO orders; CREATE VIEW conversions AS SELECT conv_id, user_id, conv_date, conv_time FROM orders", tables.Conversions, "revenue", "missing_column", findings.MissingColumn, 0, none},
		{"extra column", "ALTER TABLE conversions ADD COLUMN coupon", tables.Conversions, "coupon", "extra_column", findings.ExtraColumn, 0, none},
		{"no sessions", "DELETE FROM session_sources", tables.SessionSources, "", "empty", findings.EmptyTable, 0, none},
		{"no conversions", "DELETE FROM conversions", tables.Conversions, "", "empty", findings.EmptyTable, 0, none},

		// Ids.
		{"null id", set(tables.SessionSources, "session_id", "NULL"), tables.SessionSources, "session_id", "null", findings.IsNull, 1, "NULL"},
		{"null user", set(tables.SessionSources, "user_id", "NULL"), tables.SessionSources, "user_id", "null", findings.IsNull, 1, "NULL" + ident},
		{"null conversion id", set(tables.Conversions, "conv_id", "NULL"), tables.Conversions, "conv_id", "null", findings.IsNull, 1, "NULL"},
		{"fraction as id", set(tables.SessionSources, "user_id", "7.5"), tables.SessionSources, "user_id", "wrong_type", findings.WrongType, 1, "7.5" + ident},
		{"blob as id", set(tables.SessionSources, "session_id", "x'00ff'"), tables.SessionSources, "session_id", "wrong_type", findings.WrongType, 1, "blob x'00ff'"},
		{"empty id", set(tables.Conversions, "conv_id", "''"), tables.Conversions, "conv_id", "blank_id", findings.BlankID, 1, `""`},
		{"blank user", set(tables.Conversions, "user_id", "'  '"), tables.Conversions, "user_id", "blank_id", findings.BlankID, 1, `"  " where conv_id is "c2"`},
		{"line break", set(tables.SessionSources, "user_id", "'u' || char(10) || '1'"), tables.SessionSources, "user_id", "control_characters", findings.ControlChar, 1, `"u\n1"` + ident},
		{"nul", set(tables.SessionSources, "user_id", "'u' || char(0) || '1'"), tables.SessionSources, "user_id", "control_characters", findings.ControlChar, 1, `"u\x001"` + ident},
		{"latin-1", set(tables.SessionSources, "user_id", "CAST(x'636166e9' AS text)"), tables.SessionSources, "user_id", "invalid_utf8", findings.NotUTF8, 1, `"caf\xe9"` + ident},
		{"long id", set(tables.SessionSources, "user_id", "printf('%.1025c', 'x')"), tables.SessionSources, "user_id", "long", findings.LongText, 1, `"` + strings.Repeat("x", 80) + `"… (1025 bytes)` + ident},
		{"too long id", set(tables.SessionSources, "user_id", "printf('%.65537c', 'x')"), tables.SessionSources, "user_id", "too_long", findings.TooLong, 1, `"` + strings.Repeat("x", 80) + `"… (65537 bytes)` + ident},
		{"duplicate session", set(tables.SessionSources, "session_id", "'s1'"), tables.SessionSources, "session_id", "duplicate_id", findings.DuplicateID, 1, `"s1"`},
		{"duplicate conversion", "INSERT INTO conversions SELECT * FROM conversions", tables.Conversions, "conv_id", "duplicate_id", findings.DuplicateID, 2, `"c1"`},
		{"duplicate cost", "INSERT INTO session_costs VALUES ('s2', 1), ('s2', 1)", tables.SessionCosts, "session_id", "duplicate_id", findings.DuplicateID, 2, `"s2"`},
		{"duplicate beside partial index", "CREATE UNIQUE INDEX i ON conversions(conv_id) WHERE revenue > 50; INSERT INTO conversions SELECT * FROM conversions WHERE revenue < 50", tables.Conversions, "conv_id", "duplicate_id", findings.DuplicateID, 1, `"c1"`},

		// Dates and times.
		{"null date", set(tables.SessionSources, "event_date", "NULL"), tables.SessionSources, "event_date", "null", findings.IsNull, 1, "NULL" + ident},
		{"german date", set(tables.SessionSources, "event_date", "'01.09.2023'"), tables.SessionSources, "event_date", "unreadable_date", findings.UnreadableDate, 1, `"01.09.2023"` + ident},
		{"american date", set(tables.Conversions, "conv_date", "'09/01/2023'"), tables.Conversions, "conv_date", "unreadable_date", findings.UnreadableDate, 1, `"09/01/2023" where conv_id is "c2"`},
		{"compact date", set(tables.Conversions, "conv_date", "'20230901'"), tables.Conversions, "conv_date", "unreadable_date", findings.UnreadableDate, 1, `"20230901" where conv_id is "c2"`},
		{"date and time", set(tables.SessionSources, "event_date", "'2023-09-01T10:00:00'"), tables.SessionSources, "event_date", "unreadable_date", findings.UnreadableDate, 1, `"2023-09-01T10:00:00"` + ident},
		{"no such day", set(tables.SessionSources, "event_date", "'2023-02-29'"), tables.SessionSources, "event_date", "unreadable_date", findings.UnreadableDate, 1, `"2023-02-29"` + ident},
		{"trailing space", set(tables.SessionSources, "event_date", "'2023-09-01 '"), tables.SessionSources, "event_date", "unreadable_date", findings.UnreadableDate, 1, `"2023-09-01 "` + ident},
		{"date as number", set(tables.SessionSources, "event_date", "20230901"), tables.SessionSources, "event_date", "wrong_type", findings.WrongType, 1, "20230901" + ident},
		{"short time", set(tables.SessionSources, "event_time", "'9:05:00'"), tables.SessionSources, "event_time", "unreadable_time", findings.UnreadableTime, 1, `"9:05:00"` + ident},
		{"time without seconds", set(tables.SessionSources, "event_time", "'09:05'"), tables.SessionSources, "event_time", "unreadable_time", findings.UnreadableTime, 1, `"09:05"` + ident},
		{"hour 24", set(tables.Conversions, "conv_time", "'24:00:00'"), tables.Conversions, "conv_time", "unreadable_time", findings.UnreadableTime, 1, `"24:00:00" where conv_id is "c2"`},
		{"nanoseconds", set(tables.SessionSources, "event_time", "'09:05:00.1234567'"), tables.SessionSources, "event_time", "unreadable_time", findings.UnreadableTime, 1, `"09:05:00.1234567"` + ident},
		{"zone", set(tables.SessionSources, "event_time", "'09:05:00+02:00'"), tables.SessionSources, "event_time", "time_with_zone", findings.ZonedTime, 1, `"09:05:00+02:00"` + ident},
		{"zulu", set(tables.Conversions, "conv_time", "'09:05:00.123Z'"), tables.Conversions, "conv_time", "time_with_zone", findings.ZonedTime, 1, `"09:05:00.123Z" where conv_id is "c2"`},
		{"null time", set(tables.Conversions, "conv_time", "NULL"), tables.Conversions, "conv_time", "null", findings.IsNull, 1, `NULL where conv_id is "c2"`},

		// Flags.
		{"flag 2", set(tables.SessionSources, "holder_engagement", "2"), tables.SessionSources, "holder_engagement", "bad_flag", findings.BadFlag, 1, "2" + ident},
		{"flag -1", set(tables.SessionSources, "closer_engagement", "-1"), tables.SessionSources, "closer_engagement", "bad_flag", findings.BadFlag, 1, "-1" + ident},
		{"flag as text", set(tables.SessionSources, "closer_engagement", "'1'"), tables.SessionSources, "closer_engagement", "wrong_type", findings.WrongType, 1, `"1"` + ident},
		{"flag as real", set(tables.SessionSources, "closer_engagement", "1.0"), tables.SessionSources, "closer_engagement", "wrong_type", findings.WrongType, 1, "1" + ident},
		{"null flag", set(tables.SessionSources, "impression_interaction", "NULL"), tables.SessionSources, "impression_interaction", "null", findings.IsNull, 1, "NULL" + ident},

		// Money.
		{"null revenue", set(tables.Conversions, "revenue", "NULL"), tables.Conversions, "revenue", "null", findings.IsNull, 1, `NULL where conv_id is "c2"`},
		{"text revenue", set(tables.Conversions, "revenue", "'12,50'"), tables.Conversions, "revenue", "wrong_type", findings.WrongType, 1, `"12,50" where conv_id is "c2"`},
		{"infinite revenue", set(tables.Conversions, "revenue", "9e999"), tables.Conversions, "revenue", "not_finite", findings.NotFinite, 1, `+Inf where conv_id is "c2"`},
		{"negative revenue", set(tables.Conversions, "revenue", "-5"), tables.Conversions, "revenue", "negative_revenue", findings.NegativeRevenue, 1, `-5 where conv_id is "c2"`},
		{"huge revenue", set(tables.Conversions, "revenue", "90000000000"), tables.Conversions, "revenue", "too_large", findings.TooLarge, 1, `90000000000 where conv_id is "c2"`},
		{"hugely negative revenue", set(tables.Conversions, "revenue", "-9e10"), tables.Conversions, "revenue", "too_large", findings.TooLarge, 1, `-9e+10 where conv_id is "c2"`},
		{"five decimals", set(tables.Conversions, "revenue", "12.34567"), tables.Conversions, "revenue", "revenue_decimals", findings.RevenueDecimals, 1, `12.34567 where conv_id is "c2"`},
		{"null cost", set(tables.SessionCosts, "cost", "NULL"), tables.SessionCosts, "cost", "null_cost", findings.NullCost, 1, "NULL" + ident},
		{"text cost", set(tables.SessionCosts, "cost", "'free'"), tables.SessionCosts, "cost", "wrong_type", findings.WrongType, 1, `"free"` + ident},
		{"negative cost", set(tables.SessionCosts, "cost", "-0.5"), tables.SessionCosts, "cost", "negative_cost", findings.NegativeCost, 1, "-0.5" + ident},
		{"infinite cost", set(tables.SessionCosts, "cost", "-9e999"), tables.SessionCosts, "cost", "not_finite", findings.NotFinite, 1, "-Inf" + ident},
		{"huge cost", set(tables.SessionCosts, "cost", "1e11"), tables.SessionCosts, "cost", "too_large", findings.TooLarge, 1, "1e+11" + ident},
		{"seven decimals", set(tables.SessionCosts, "cost", "0.0000001"), tables.SessionCosts, "cost", "cost_decimals", findings.CostDecimals, 1, "1e-07" + ident},

		// Channels.
		{"null channel", set(tables.SessionSources, "channel_name", "NULL"), tables.SessionSources, "channel_name", "null", findings.IsNull, 1, "NULL" + ident},
		{"channel as number", set(tables.SessionSources, "channel_name", "7"), tables.SessionSources, "channel_name", "wrong_type", findings.WrongType, 1, "7" + ident},
		{"empty channel", "UPDATE session_sources SET channel_name = ''", tables.SessionSources, "channel_name", "blank_channel", findings.BlankChannel, 3, `""`},
		{"blank channel", set(tables.SessionSources, "channel_name", "'  '"), tables.SessionSources, "channel_name", "blank_channel", findings.BlankChannel, 1, `"  "`},
		{"formula", set(tables.SessionSources, "channel_name", "'=1+1'"), tables.SessionSources, "channel_name", "formula_channel", findings.FormulaChannel, 1, `"=1+1"`},
		{"tab before", set(tables.SessionSources, "channel_name", "char(9) || 'x'"), tables.SessionSources, "channel_name", "formula_channel", findings.FormulaChannel, 1, `"\tx"`},
		{"case", set(tables.SessionSources, "channel_name", "'paid search'"), tables.SessionSources, "channel_name", "similar_channels", findings.SimilarChannels, 2, `"Paid Search" and "paid search"`},
		{"spaces", set(tables.SessionSources, "channel_name", "'Paid  Search '"), tables.SessionSources, "channel_name", "similar_channels", findings.SimilarChannels, 2, `"Paid  Search " and "Paid Search"`},
		{"composed", "UPDATE session_sources SET channel_name = 'caf' || char(0xe9) WHERE session_id = 's1'; UPDATE session_sources SET channel_name = 'cafe' || char(0x301) WHERE session_id = 's2'", tables.SessionSources, "channel_name", "similar_channels", findings.SimilarChannels, 2, `"cafe\u0301" and "caf\u00e9"`},
		{"no width", set(tables.SessionSources, "channel_name", "'Paid' || char(0x200b) || ' Search'"), tables.SessionSources, "channel_name", "similar_channels", findings.SimilarChannels, 2, `"Paid Search" and "Paid\u200b Search"`},
		{"full-width formula", set(tables.SessionSources, "channel_name", "'＝1+1'"), tables.SessionSources, "channel_name", "formula_channel", findings.FormulaChannel, 1, `"＝1+1"`},
		{"channel in latin-1", set(tables.SessionSources, "channel_name", "CAST(x'636166e9' AS text)"), tables.SessionSources, "channel_name", "invalid_utf8", findings.NotUTF8, 1, `"caf\xe9"` + ident},

		// How rows belong together.
		{"unknown session", "INSERT INTO session_costs VALUES ('s8', 1), ('s7', 1)", tables.SessionCosts, "session_id", "unknown_session", findings.UnknownSession, 2, `"s7"`},
		{"no cost", "DELETE FROM session_costs WHERE session_id <> 's1'", tables.SessionSources, "session_id", "without_cost", findings.SessionsNoCost, 2, `"s2"`},
		{"no sessions of the user", set(tables.Conversions, "user_id", "'u9'"), tables.Conversions, "conv_id", "without_sessions", findings.ConversionsAlone, 1, `"c2"`},

		// Tables of results.
		{"results lack a column", "CREATE TABLE channel_reporting (channel_name text, date text, cost real, ihc real, PRIMARY KEY(channel_name, date))", tables.ChannelReporting, "ihc_revenue", "wrong_shape", findings.WrongShape, 0, none},
		{"results as text", "CREATE TABLE attribution_customer_journey (conv_id text, session_id text, ihc text, PRIMARY KEY(conv_id, session_id))", tables.CustomerJourney, "ihc", "wrong_shape", findings.WrongShape, 0, none},
		{"ids as numbers", "CREATE TABLE attribution_customer_journey (conv_id integer, session_id text, ihc real, PRIMARY KEY(conv_id, session_id))", tables.CustomerJourney, "conv_id", "wrong_shape", findings.WrongShape, 0, none},
		{"results ask for more", "CREATE TABLE attribution_customer_journey (conv_id text, session_id text, ihc real, run text NOT NULL, PRIMARY KEY(conv_id, session_id))", tables.CustomerJourney, "run", "wrong_shape", findings.WrongShape, 0, none},
		{"results without key", "CREATE TABLE attribution_customer_journey (conv_id text, session_id text, ihc real)", tables.CustomerJourney, "", "wrong_shape", findings.WrongShape, 0, none},
		{"results with another key", "CREATE TABLE attribution_customer_journey (conv_id text PRIMARY KEY, session_id text, ihc real)", tables.CustomerJourney, "", "wrong_shape", findings.WrongShape, 0, none},
		{"results in a view", "CREATE VIEW channel_reporting AS SELECT 1", tables.ChannelReporting, "", "wrong_shape", findings.WrongShape, 0, none},
		{"computed results", "CREATE TABLE attribution_customer_journey (conv_id text, session_id text, ihc real AS (1.0), PRIMARY KEY(conv_id, session_id))", tables.CustomerJourney, "ihc", "wrong_shape", findings.WrongShape, 0, none},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := examine(t, loose+c.script, findings.Options{})
			var found *findings.Finding
			for i, f := range r.List {
				if f.Code == c.code && f.Table == c.table && f.Column == c.column {
					require.Nil(t, found, "only once")
					found = &r.List[i]
				}
			}
			require.NotNil(t, found, r.Lines())
			require.Equal(t, c.rule.Code, found.Code)
			require.Equal(t, c.rule.Severity, found.Severity)
			require.Equal(t, c.count, found.Count)
			require.Equal(t, c.example, found.Example)
			require.NotContains(t, found.String(), "\n")
			require.NotContains(t, found.String(), "%!")
			require.NotContains(t, found.String(), "%s")
			if found.Severity == findings.Error {
				require.Equal(t, errkind.Input, errkind.KindOf(r.Err()))
				require.NotContains(t, r.Err().Error(), "\n")
			} else {
				require.Zero(t, r.Count(findings.Error), r.Lines())
				require.NoError(t, r.Err())
			}
		})
	}
}

// What is allowed must not be reported.
func TestNotFound(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"fraction":               set(tables.SessionSources, "event_time", "'09:05:00.123456'"),
		"leap day":               set(tables.SessionSources, "event_date", "'2024-02-29'"),
		"emoji id":               set(tables.SessionSources, "user_id", "'u🛒é'") + ";" + "UPDATE conversions SET user_id = 'u🛒é'",
		"quotes":                 set(tables.SessionSources, "session_id", `'a''b"c'`) + ";" + set(tables.SessionCosts, "session_id", `'a''b"c'`),
		"1 KiB":                  set(tables.SessionSources, "session_id", "printf('%.1024c', 'x')") + ";" + set(tables.SessionCosts, "session_id", "printf('%.1024c', 'x')"),
		"float noise":            set(tables.Conversions, "revenue", "0.1 + 0.2"),
		"large with cents":       set(tables.Conversions, "revenue", "89999999999.99"),
		"whole number":           set(tables.Conversions, "revenue", "12"),
		"zero":                   set(tables.Conversions, "revenue", "0"),
		"channel with comma":     set(tables.SessionSources, "channel_name", `'<b>A, "B"</b>'`),
		"sound results":          CreateCustomerJourney + ";" + CreateChannelReporting,
		"results with a default": "CREATE TABLE attribution_customer_journey (conv_id text, session_id text, ihc real, at text NOT NULL DEFAULT 'x', PRIMARY KEY(session_id, conv_id))",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Empty(t, examine(t, loose+script, findings.Options{}).Lines())
		})
	}
}

func TestSeveralAtOnce(t *testing.T) {
	t.Parallel()
	r := examine(t, loose+set(tables.Conversions, "revenue", "-1.23456")+";"+
		"UPDATE session_sources SET event_date = 'x', holder_engagement = 3; INSERT INTO session_costs VALUES ('s9', NULL)", findings.Options{})
	require.Equal(t, []string{
		`error: session_sources.event_date: 3 rows: no date of the calendar written YYYY-MM-DD; write it like 2023-09-01 (first: "x" where session_id is "s1")`,
		`error: session_sources.holder_engagement: 3 rows: the flag is neither 0 nor 1; correct it (first: 3 where session_id is "s1")`,
		`warning: conversions.revenue: 1 row: negative revenue, such as a refund, lowers the channels' revenue; delete the row if that is not meant (first: -1.23456 where conv_id is "c2")`,
		`warning: conversions.revenue: 1 row: revenue has more than 4 decimals; it is reckoned to 4 (first: -1.23456 where conv_id is "c2")`,
		`warning: session_costs.session_id: 1 row: the cost's session is not in session_sources; the cost is left out of the report (first: "s9")`,
		`note: session_costs.cost: 1 row: cost is NULL; it counts as 0 (first: NULL where session_id is "s9")`,
	}, r.Lines())
	require.Equal(t, r.Lines()[2:], r.Warnings())
	require.EqualError(t, r.Err(), `source data: `+r.List[0].String()+`; and 1 more error`)
	text, err := json.Marshal(r)
	require.NoError(t, err)
	var back findings.Findings
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, r.Sessions, back.Sessions)
	require.Len(t, back.List, len(r.List))
}

func TestRange(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		start, end string
		want       int64
	}{
		{"", "", 2}, {"2023-09-03", "2023-09-03", 1}, {"2023-09-04", "", 1}, {"", "2023-09-03", 1}, {"2023-09-05", "", 0}, {"", "2023-09-02", 0},
	} {
		r := examine(t, loose, findings.Options{StartDate: c.start, EndDate: c.end})
		require.Equal(t, c.want, r.ConversionsInRange, c)
		require.Equal(t, c.want == 0, r.Count(findings.Warning) == 1, r.Lines())
	}
	for _, bad := range [][2]string{{"2023-9-1", ""}, {"", "yesterday"}, {"2023-02-30", ""}, {"2023-09-02", "2023-09-01"}} {
		_, err := Validate(t.Context(), nil, findings.Options{StartDate: bad[0], EndDate: bad[1]})
		require.Equal(t, errkind.Input, errkind.KindOf(err), bad)
	}
}

// A page overwritten in the middle of the file shows when it is read.
func TestDamagedPage(t *testing.T) {
	t.Parallel()
	path := build(t, Schema+soundRows+`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
		INSERT INTO session_sources SELECT 'n' || i, 'u', '2023-09-01', '10:00:00', 'x', 0, 0, 0 FROM n`)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	for page := int64(8); page < 40; page++ {
		_, err = f.WriteAt([]byte(strings.Repeat("\xee", 4096)), page*4096)
		require.NoError(t, err)
	}
	require.NoError(t, f.Close())
	db, err := Open(t.Context(), path, Read)
	require.NoError(t, err)
	defer db.Close()
	_, err = Validate(t.Context(), db, findings.Options{})
	require.Equal(t, errkind.Input, errkind.KindOf(err), err)
	require.Contains(t, err.Error(), "damaged")
	require.Contains(t, err.Error(), path)
}

func TestValidateOnWriterAndCancelled(t *testing.T) {
	t.Parallel()
	db, err := Open(t.Context(), build(t, Schema+soundRows), Write)
	require.NoError(t, err)
	defer db.Close()
	r, err := Validate(t.Context(), db, findings.Options{})
	require.NoError(t, err, "one connection suffices")
	require.Empty(t, r.List)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Validate(ctx, db, findings.Options{})
	require.ErrorIs(t, err, context.Canceled)
}

func TestManyChannels(t *testing.T) {
	t.Parallel()
	r := examine(t, Schema+soundRows+fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i <= %d)
		INSERT INTO session_sources SELECT 'n' || i, 'u1', '2023-09-01', '10:00:00', 'c' || i, 0, 0, 0 FROM n`, inspect.MaxChannels), findings.Options{})
	require.Equal(t, int64(inspect.MaxChannels), r.Channels)
	require.Equal(t, 1, r.Count(findings.Warning), r.Lines())
}
