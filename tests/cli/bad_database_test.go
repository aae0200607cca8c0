package cli

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// badDatabase is a database as somebody might bring it, and what comes of it.
type badDatabase struct {
	name string
	sql  string                                    // makes it, or
	file func(t *testing.T, h *house, path string) // does
	args []string
	exit int
	// says is in the one line that refuses it, or, where it is accepted with
	// exit code 0, in what the run says on standard error.
	says string
	want int // conversions attributed where it is accepted; 0 means all
	// prepared says that it is refused only once indices were made for it: its
	// tables are as they were, its bytes are not.
	prepared bool
}

// polish is the small shop with users whose order in UTF-16 is not Go's.
const polish = sound + `; UPDATE conversions SET user_id = 'łucja' WHERE user_id = 'u1'; UPDATE session_sources SET user_id = 'łucja' WHERE user_id = 'u1';
	UPDATE conversions SET user_id = 'zoe' WHERE user_id = 'u2'; UPDATE session_sources SET user_id = 'zoe' WHERE user_id = 'u2'`

var badDatabases = []badDatabase{
	// Files that are no database, or not all of one.
	{name: "no file", file: func(*testing.T, *house, string) {}, exit: 3, says: "no such file"},
	{name: "a directory", file: func(t *testing.T, _ *house, path string) {
		t.Helper()
		require.NoError(t, os.Mkdir(path, 0o700))
	}, exit: 3, says: "it is a directory"},
	{name: "a pipe", file: func(t *testing.T, _ *house, path string) {
		t.Helper()
		require.NoError(t, syscall.Mkfifo(path, 0o600))
	}, exit: 3, says: "it is no regular file"},
	{name: "an empty file", file: content(""), exit: 2, says: "the file is empty"},
	{name: "a text file", file: content("session_id,user_id\n1,2\n"), exit: 2, says: "it is a text file"},
	{name: "a zip", file: content("PK\x03\x04 and so on"), exit: 2, says: "it is a zip; unpack it with ihc import"},
	{name: "a gzip", file: func(t *testing.T, _ *house, path string) {
		t.Helper()
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, err := z.Write([]byte("SQLite format 3"))
		require.NoError(t, err)
		require.NoError(t, z.Close())
		require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
	}, exit: 2, says: "compressed with gzip"},
	{name: "encrypted", file: func(t *testing.T, _ *house, path string) {
		t.Helper()
		require.NoError(t, os.WriteFile(path, noise(8192), 0o600))
	}, exit: 2, says: "of another kind, or encrypted"},
	{name: "the first bytes", file: damaged(func(data []byte) []byte { return data[:10] }), exit: 2, says: "cut short"},
	{name: "half the header", file: damaged(func(data []byte) []byte { return data[:50] }), exit: 2, says: "cut short"},
	{name: "truncated", file: damaged(func(data []byte) []byte { return data[:len(data)-5000] }), exit: 2, says: "cut short: it holds"},
	{name: "overwritten pages", file: damaged(func(data []byte) []byte { copy(data[4096:], noise(len(data)-4096)); return data }), exit: 2, says: "damaged"},
	{name: "encrypted after the header", file: damaged(func(data []byte) []byte { copy(data[100:], noise(len(data)-100)); return data }), exit: 2, says: "damaged"},
	{name: "zeros after the first page", file: damaged(func(data []byte) []byte { clear(data[4096:]); return data }), exit: 2, says: "damaged"},
	{name: "not readable", file: func(t *testing.T, h *house, path string) {
		t.Helper()
		script(t, path, sound)
		nobody(t, h)
		require.NoError(t, os.Chmod(path, 0))
	}, exit: 3, says: "check the rights of the file"},
	{name: "not writable", file: func(t *testing.T, h *house, path string) {
		t.Helper()
		script(t, path, sound)
		nobody(t, h)
		require.NoError(t, os.Chmod(path, 0o444))
	}, exit: 3, says: "cannot be written"},
	{name: "in a directory that is not writable", file: func(t *testing.T, h *house, path string) {
		t.Helper()
		script(t, path, sound)
		nobody(t, h)
		require.NoError(t, os.Chmod(filepath.Dir(path), 0o555))
	}, exit: 3, says: "check the rights of the file and its directory"},

	// Files that are one in spite of what they look like.
	{name: "a link", file: func(t *testing.T, h *house, path string) {
		t.Helper()
		script(t, h.path("elsewhere.db"), sound)
		require.NoError(t, os.Symlink(h.path("elsewhere.db"), path))
	}},
	{name: "a name with spaces, % and ?", file: func(t *testing.T, h *house, path string) {
		t.Helper()
		odd := h.path("100 % my shop?x=1#.db")
		script(t, h.path("shop.tmp"), sound)
		require.NoError(t, os.Rename(h.path("shop.tmp"), odd))
		require.NoError(t, os.Symlink(odd, path))
	}},
	{name: "a write-ahead log left behind", file: leftBehind("PRAGMA journal_mode = WAL", "-wal",
		"INSERT INTO conversions VALUES ('c5', 'u2', '2023-09-05', '10:00:00', 5)"), want: 4},
	{name: "a journal left behind", file: leftBehind("PRAGMA journal_mode = DELETE", "-journal",
		"BEGIN", "DELETE FROM conversions", "DELETE FROM session_sources", "PRAGMA cache_spill = 1", "PRAGMA cache_size = 1",
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO session_costs SELECT 'x' || i, i FROM n")},
	{name: "a write-ahead log of rubbish", file: func(t *testing.T, _ *house, path string) {
		t.Helper()
		script(t, path, sound)
		require.NoError(t, os.WriteFile(path+"-wal", noise(5000), 0o600))
	}},

	// Tables and columns.
	{name: "nothing in it", sql: "CREATE TABLE t (x); DROP TABLE t", exit: 2, says: "session_sources: the table is missing"},
	{name: "another schema", sql: "CREATE TABLE orders (id, amount)", exit: 2, says: "and 2 more errors"},
	{name: "no session_sources", sql: sound + "; DROP TABLE session_sources", exit: 2, says: "session_sources: the table is missing; create it with the columns"},
	{name: "no conversions", sql: sound + "; DROP TABLE conversions", exit: 2, says: "conversions: the table is missing"},
	{name: "no session_costs", sql: sound + "; DROP TABLE session_costs", exit: 2, says: "session_costs: the table is missing"},
	{name: "no revenue", sql: sound + "; ALTER TABLE conversions DROP COLUMN revenue", exit: 2, says: "conversions.revenue: the column is missing"},
	{name: "a column of another name", sql: sound + "; ALTER TABLE session_sources RENAME COLUMN channel_name TO channel", exit: 2, says: "session_sources.channel_name: the column is missing"},
	{name: "a further column", sql: sound + "; ALTER TABLE conversions ADD COLUMN currency text DEFAULT 'EUR'", says: "conversions.currency: the column is not used"},
	{name: "other case", sql: strings.NewReplacer("conversions", "CONVERSIONS", "session_id", "Session_ID").Replace(sound)},
	{name: "views", sql: sound + `; ALTER TABLE conversions RENAME TO orders; CREATE VIEW conversions AS SELECT * FROM orders`},
	{name: "a view of a table that is gone", sql: sound + `; DROP TABLE conversions; CREATE VIEW conversions AS SELECT * FROM orders`, exit: 2, says: `conversions: it cannot be read: SQLite says "no such table: main.orders"; correct the view, or import the data`},
	{name: "UTF-16", sql: "PRAGMA encoding = 'UTF-16'; " + sound},
	{name: "strict tables without rowid", sql: strings.ReplaceAll(sound, "))", ")) STRICT, WITHOUT ROWID")},
	{name: "ids that compare without case", sql: strings.ReplaceAll(sound, "user_id text NOT NULL", "user_id text NOT NULL COLLATE NOCASE") +
		"; INSERT INTO conversions VALUES ('c5', 'U1', '2023-09-09', '10:00:00', 5)", exit: 2,
		says: `ids that differ are one to the column's collation NOCASE; write each id the same way everywhere, or make the table anew without COLLATE (first: "U1" and "u1")`},
	{name: "a result table that is a view", sql: sound + "; CREATE VIEW channel_reporting AS SELECT 1", exit: 2, says: "channel_reporting: the table cannot take the results: it is a view"},
	{name: "a result table of another shape", sql: sound + "; CREATE TABLE attribution_customer_journey (conv_id text, share real)", exit: 2, says: "attribution_customer_journey"},
	{name: "a result table without its key", sql: sound + "; CREATE TABLE attribution_customer_journey (conv_id text, session_id text, ihc real)", exit: 2, says: "its primary key is not (conv_id, session_id)"},
	{name: "a ledger of another shape", sql: sound + "; CREATE TABLE pipeline_runs (x)", exit: 2, says: "table pipeline_runs of database", prepared: true},
	{name: "an index of the pipeline's name", sql: sound + "; CREATE TABLE other (x); CREATE INDEX pipeline_sessions_by_user ON other (x)"},

	// Values of the wrong kind.
	{name: "revenue in words", sql: loose + ";" + setting("conversions", "revenue", "c1", "'100 EUR'"), exit: 2, says: `conversions.revenue: 1 row: the value is stored as the wrong type; store it as a number (first: "100 EUR" where conv_id is "c1")`},
	{name: "a number as text", sql: loose + ";" + setting("conversions", "revenue", "c1", "'100.5'"), exit: 2, says: "conversions.revenue: 1 row"},
	{name: "an id as number", sql: loose + ";" + setting("conversions", "conv_id", "c1", "17")},
	{name: "an id as number and as text", sql: loose + ";" + setting("conversions", "conv_id", "c1", "17") + ";" + setting("conversions", "conv_id", "c2", "'17'"), exit: 2, says: `conversions.conv_id: 1 row: the id occurs more than once; keep one row of each (first: "17")`},
	{name: "an id as fraction", sql: loose + ";" + setting("conversions", "conv_id", "c1", "17.5"), exit: 2, says: "conversions.conv_id: 1 row: the value is stored as the wrong type; store it as text, or import it (ihc import --from THIS --db ANOTHER) (first: 17.5)"},
	{name: "an id that is a blob of no text", sql: loose + ";" + setting("conversions", "conv_id", "c1", "x'ff'"), exit: 2, says: "conversions.conv_id: 1 row: the value is stored as the wrong type; store it as text, as by a view that has hex() of it (first: blob x'ff')"},
	{name: "an id as blob", sql: sound + ";" + setting("session_sources", "session_id", "s1", "x'00ff'"), exit: 2, says: "blob x'00ff'"},
	{name: "a flag in words", sql: sound + ";" + setting("session_sources", "holder_engagement", "s1", "'yes'"), exit: 2, says: "session_sources.holder_engagement: 1 row"},
	{name: "a flag of 2", sql: sound + ";" + setting("session_sources", "closer_engagement", "s1", "2"), exit: 2, says: "the flag is neither 0 nor 1"},
	{name: "a flag of -1", sql: sound + ";" + setting("session_sources", "impression_interaction", "s1", "-1"), exit: 2, says: "the flag is neither 0 nor 1"},
	{name: "a date as number", sql: loose + ";" + setting("conversions", "conv_date", "c1", "20230902"), exit: 2, says: "conversions.conv_date: 1 row"},

	// NULL.
	{name: "NULL user", sql: loose + ";" + setting("conversions", "user_id", "c1", "NULL"), exit: 2, says: "conversions.user_id: 1 row: NULL where a value is needed"},
	{name: "NULL conversion", sql: loose + ";" + setting("conversions", "conv_id", "c1", "NULL"), exit: 2, says: "conversions.conv_id: 1 row: NULL"},
	{name: "NULL channel", sql: loose + ";" + setting("session_sources", "channel_name", "s1", "NULL"), exit: 2, says: "session_sources.channel_name: 1 row: NULL"},
	{name: "NULL time", sql: loose + ";" + setting("session_sources", "event_time", "s1", "NULL"), exit: 2, says: "session_sources.event_time: 1 row: NULL"},
	{name: "NULL revenue", sql: loose + ";" + setting("conversions", "revenue", "c1", "NULL"), exit: 2, says: "conversions.revenue: 1 row: NULL"},
	{name: "NaN revenue, which SQLite stores as NULL", sql: loose + ";" + setting("conversions", "revenue", "c1", "9e999 - 9e999"), exit: 2, says: "conversions.revenue: 1 row: NULL"},
	{name: "NULL flag", sql: loose + ";" + setting("session_sources", "holder_engagement", "s1", "NULL"), exit: 2, says: "session_sources.holder_engagement: 1 row: NULL"},
	{name: "NULL cost", sql: sound + ";" + setting("session_costs", "cost", "s1", "NULL"), says: "cost is NULL; it counts as 0"},

	// Dates and times.
	{name: "date 1.9.2023", sql: sound + ";" + setting("conversions", "conv_date", "c1", "'1.9.2023'"), exit: 2, says: `no date of the calendar written YYYY-MM-DD; write it like 2023-09-01 (first: "1.9.2023" where conv_id is "c1")`},
	{name: "date 09/01/2023", sql: sound + ";" + setting("session_sources", "event_date", "s1", "'09/01/2023'"), exit: 2, says: `"09/01/2023"`},
	{name: "date 2023-9-1", sql: sound + ";" + setting("session_sources", "event_date", "s1", "'2023-9-1'"), exit: 2, says: `"2023-9-1"`},
	{name: "date 20230901", sql: sound + ";" + setting("session_sources", "event_date", "s1", "'20230901'"), exit: 2, says: `"20230901"`},
	{name: "date with time", sql: sound + ";" + setting("conversions", "conv_date", "c1", "'2023-09-02T12:00:00'"), exit: 2, says: "no date of the calendar"},
	{name: "date Sept 2, 2023", sql: sound + ";" + setting("conversions", "conv_date", "c1", "'Sept 2, 2023'"), exit: 2, says: "no date of the calendar"},
	{name: "date with a space", sql: sound + ";" + setting("conversions", "conv_date", "c1", "' 2023-09-02'"), exit: 2, says: "no date of the calendar"},
	{name: "date in other digits", sql: sound + ";" + setting("conversions", "conv_date", "c1", "'２０２３-09-02'"), exit: 2, says: "no date of the calendar"},
	{name: "the 29th of February in 2023", sql: sound + ";" + setting("conversions", "conv_date", "c1", "'2023-02-29'"), exit: 2, says: `"2023-02-29"`},
	{name: "the 29th of February in 1900", sql: sound + ";" + setting("conversions", "conv_date", "c1", "'1900-02-29'"), exit: 2, says: `"1900-02-29"`},
	{name: "month 13", sql: sound + ";" + setting("conversions", "conv_date", "c1", "'2023-13-01'"), exit: 2, says: "no date of the calendar"},
	{name: "day 0", sql: sound + ";" + setting("conversions", "conv_date", "c1", "'2023-09-00'"), exit: 2, says: "no date of the calendar"},
	{name: "an empty date", sql: sound + ";" + setting("conversions", "conv_date", "c1", "''"), exit: 2, says: "no date of the calendar"},
	{name: "all dates wrong", sql: sound + "; UPDATE conversions SET conv_date = 'soon'", exit: 2, says: "conversions.conv_date: 4 rows"},
	{name: "time 10:00:00Z", sql: sound + ";" + setting("session_sources", "event_time", "s1", "'10:00:00Z'"), exit: 2, says: "the time carries a time zone; convert date and time to UTC"},
	{name: "time 10:00:00+02:00", sql: sound + ";" + setting("session_sources", "event_time", "s1", "'10:00:00+02:00'"), exit: 2, says: "the time carries a time zone"},
	{name: "time 10:00:00 UTC", sql: sound + ";" + setting("session_sources", "event_time", "s1", "'10:00:00 UTC'"), exit: 2, says: "the time carries a time zone"},
	{name: "time 10:00", sql: sound + ";" + setting("session_sources", "event_time", "s1", "'10:00'"), exit: 2, says: "no time of day written HH:MM:SS"},
	{name: "time 10:00 am", sql: sound + ";" + setting("session_sources", "event_time", "s1", "'10:00:00 AM'"), exit: 2, says: "no time of day"},
	{name: "time 24:00:00", sql: sound + ";" + setting("session_sources", "event_time", "s1", "'24:00:00'"), exit: 2, says: "no time of day"},
	{name: "a leap second", sql: sound + ";" + setting("session_sources", "event_time", "s1", "'23:59:60'"), exit: 2, says: "no time of day"},
	{name: "nanoseconds", sql: sound + ";" + setting("session_sources", "event_time", "s1", "'10:00:00.123456789'"), exit: 2, says: "no time of day"},
	{name: "midnight", sql: sound + ";" + setting("session_sources", "event_time", "s1", "'00:00:00'") + ";" + setting("conversions", "conv_time", "c1", "'00:00:00'")},
	{name: "the last second of the day", sql: sound + ";" + setting("session_sources", "event_time", "s1", "'23:59:59.999999'")},
	{name: "a leap day", sql: sound + "; INSERT INTO session_sources VALUES ('s5', 'u4', '2024-02-29', '00:00:00', 'SEO', 1, 0, 0); INSERT INTO conversions VALUES ('c5', 'u4', '2024-02-29', '00:00:00.5', 1)", want: 4},
	{name: "long ago and far ahead", sql: sound + "; INSERT INTO session_sources VALUES ('s5', 'u4', '0001-01-01', '00:00:00', 'SEO', 1, 0, 0); INSERT INTO conversions VALUES ('c5', 'u4', '9999-12-31', '23:59:59', 1)", want: 4},

	// Money.
	{name: "negative revenue", sql: sound + ";" + setting("conversions", "revenue", "c1", "-100.5"), says: "warning: conversions.revenue: 1 row: negative revenue"},
	{name: "a refund", sql: sound + ";" + setting("conversions", "revenue", "c1", "-100.5"), says: "1 conversion in range with a negative revenue, -100.5 together: each such refund is a conversion more (ihc)"},
	{name: "a refund that is subtracted", sql: sound + ";" + setting("conversions", "revenue", "c1", "-100.5"), args: []string{"--refunds", "subtract"}, says: "each such refund is a conversion less (ihc) in this report"},
	{name: "infinite revenue", sql: sound + ";" + setting("conversions", "revenue", "c1", "9e999"), exit: 2, says: "the number is infinite"},
	{name: "too much revenue", sql: sound + ";" + setting("conversions", "revenue", "c1", "9e10"), exit: 2, says: "too large to be summed exactly"},
	{name: "revenue of 0", sql: sound + "; UPDATE conversions SET revenue = 0"},
	{name: "revenue of five decimals", sql: sound + ";" + setting("conversions", "revenue", "c1", "0.00001"), says: "more than 4 decimals"},
	{name: "negative cost", sql: sound + ";" + setting("session_costs", "cost", "s1", "-1"), says: "negative cost"},
	{name: "infinite cost", sql: sound + ";" + setting("session_costs", "cost", "s1", "-9e999"), exit: 2, says: "the number is infinite"},
	{name: "cost in words", sql: sound + ";" + setting("session_costs", "cost", "s1", "'free'"), exit: 2, says: "session_costs.cost: 1 row"},
	{name: "cost of an unknown session", sql: sound + "; INSERT INTO session_costs VALUES ('s99', 1)", says: "1 row of session_costs belongs to no session of session_sources; its cost is in no channel"},

	// Ids.
	{name: "duplicate conversion", sql: loose + "; INSERT INTO conversions SELECT * FROM conversions WHERE conv_id = 'c1'", exit: 2, says: `conversions.conv_id: 1 row: the id occurs more than once; keep one row of each (first: "c1")`},
	{name: "duplicate session", sql: loose + "; INSERT INTO session_sources SELECT * FROM session_sources", exit: 2, says: "session_sources.session_id: 4 rows: the id occurs more than once"},
	{name: "duplicate cost", sql: loose + "; INSERT INTO session_costs VALUES ('s1', 7)", exit: 2, says: "session_costs.session_id: 1 row: the id occurs more than once"},
	{name: "an empty id", sql: sound + ";" + setting("conversions", "conv_id", "c1", "''"), exit: 2, says: "the id is empty or only spaces"},
	{name: "an id of spaces", sql: sound + ";" + setting("session_sources", "user_id", "s1", "'   '"), exit: 2, says: "the id is empty or only spaces"},
	{name: "an id that is no UTF-8", sql: sound + ";" + setting("conversions", "conv_id", "c1", "CAST(x'63ff31' AS text)"), exit: 2, says: "no valid UTF-8"},
	{name: "an id of 100 kB", sql: sound + ";" + setting("conversions", "conv_id", "c1", "printf('%.100000c', 'x')"), exit: 2, says: "longer than 64 KiB"},
	{name: "an id of 10 kB", sql: sound + ";" + setting("conversions", "conv_id", "c1", "printf('%.10000c', 'x')"), says: "longer than 1 KiB"},
	{name: "ids with quotes", sql: sound + ";" + setting("conversions", "conv_id", "c1", quote(`c'1"`)) + ";" + setting("session_sources", "session_id", "s2", quote(`s"'2\`))},
	{name: "ids with line breaks", sql: sound + ";" + setting("conversions", "conv_id", "c1", "'c' || char(10) || '1'") + ";" + setting("session_sources", "session_id", "s2", "'s' || char(13, 10, 9) || '2'"), says: "control characters"},
	{name: "ids with emoji", sql: sound + ";" + setting("conversions", "conv_id", "c1", "'c👩‍🚀1'") + "; UPDATE conversions SET user_id = '🛒' WHERE user_id = 'u1'; UPDATE session_sources SET user_id = '🛒' WHERE user_id = 'u1'"},
	{name: "ids in UTF-16", sql: "PRAGMA encoding = 'UTF-16le';" + polish},
	{name: "ids in UTF-16, high bytes first", sql: "PRAGMA encoding = 'UTF-16be';" + polish},
	{name: "ids without case", sql: strings.ReplaceAll(sound, "user_id text NOT NULL", "user_id text NOT NULL COLLATE NOCASE")},
	{name: "results without case", sql: sound + "; CREATE TABLE attribution_customer_journey (conv_id text NOT NULL COLLATE NOCASE, session_id text NOT NULL, ihc real NOT NULL, PRIMARY KEY (conv_id, session_id))", exit: 2,
		says: "the column compares text by the collation NOCASE, to which names that differ are one; rename or drop it, and it is created anew"},
	{name: "a trigger that empties conversions", sql: sound + ";" + sqlite.CreateChannelReporting + "; CREATE TRIGGER trap AFTER INSERT ON channel_reporting BEGIN DELETE FROM conversions; END", exit: 2,
		says: `the trigger "trap" would run on the results that are written; take it away (DROP TRIGGER "trap")`},
	{name: "ids that are SQL", sql: sound + ";" + setting("conversions", "conv_id", "c1", quote(`'); DROP TABLE conversions; --`))},
	{name: "ids that are subjects", sql: sound + ";" + setting("conversions", "conv_id", "c1", quote(`ihc.v1.run.*.>`))},

	// Channels.
	{name: "a channel with commas", sql: sound + ";" + setting("session_sources", "channel_name", "s1", quote(`Paid, Social, "Brand"`))},
	{name: "a channel that is a formula", sql: sound + ";" + setting("session_sources", "channel_name", "s1", quote(`=1+1`)), says: "the name begins like a spreadsheet formula"},
	{name: "a channel that calls a program", sql: sound + ";" + setting("session_sources", "channel_name", "s1", quote(`@SUM(1+1)*cmd|' /C calc'!A0`)), says: "spreadsheet formula"},
	{name: "a channel that is HTML", sql: sound + ";" + setting("session_sources", "channel_name", "s1", quote(`<script>alert(1)</script>`))},
	{name: "an empty channel", sql: sound + ";" + setting("session_sources", "channel_name", "s1", "''"), says: "the channel name is empty or only spaces"},
	{name: "a channel of spaces", sql: sound + ";" + setting("session_sources", "channel_name", "s1", "'  '"), says: "the channel name is empty or only spaces"},
	{name: "channels alike", sql: sound + ";" + setting("session_sources", "channel_name", "s1", "' seo'") + "; INSERT INTO session_sources VALUES ('s5', 'u9', '2023-09-01', '10:00:00', 'SEO', 1, 0, 0)", says: "differ only in case or spaces"},
	{name: "a channel with line breaks", sql: sound + ";" + setting("session_sources", "channel_name", "s1", "'S' || char(13, 10) || 'EO'"), says: "control characters"},
	{name: "a channel of 10 kB", sql: sound + ";" + setting("session_sources", "channel_name", "s1", "printf('%.10000c', 'x')"), says: "longer than 1 KiB"},

	// Nothing to do.
	{name: "no rows", sql: sound + "; DELETE FROM session_sources; DELETE FROM conversions; DELETE FROM session_costs", says: "the table is empty: there is nothing to attribute", want: -1},
	{name: "no conversions in range", sql: sound, args: []string{"--start-date", "2030-01-01"}, says: "no conversion is in the range of dates asked for; the data have them from 2023-09-02 to 2023-09-06", want: -1},
	{name: "no sessions", sql: sound + "; DELETE FROM session_sources", says: "session_sources: the table is empty", want: -1},
	{name: "sessions only after the conversions", sql: sound + "; UPDATE session_sources SET event_date = '2024-01-01'", want: -1},
	{name: "sessions at the very second", sql: sound + "; UPDATE session_sources SET event_date = '2023-09-02', event_time = '12:00:00'; DELETE FROM conversions WHERE conv_id <> 'c1'", want: -1},
}

func TestBadDatabases(t *testing.T) {
	t.Parallel()
	for _, c := range badDatabases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			db, out := h.path("in", "shop.db"), h.path("out")
			require.NoError(t, os.Mkdir(h.path("in"), 0o755))
			if c.file != nil {
				c.file(t, h, db)
			} else {
				script(t, db, c.sql)
			}
			before := stateOf(t, db, out)
			if c.prepared {
				content := tables(t, db)
				defer func() { require.Empty(t, content.Diff(tables(t, db))) }()
			}
			args := append([]string{"run", "--db", db, "--out", out, "--model", "builtin"}, c.args...)
			r := h.run(args...)
			if c.exit != 0 {
				after := stateOf(t, db, out)
				if c.prepared {
					before.db = after.db
				}
				requireRefused(t, r, c.exit, c.says, before, after)
				return
			}
			require.Zero(t, r.code, r.stderr)
			require.Contains(t, r.stderr+r.stdout, c.says)
			want := c.want
			if want == 0 {
				want = attributed
			}
			from := ""
			if i := slices.Index(c.args, "--start-date"); i >= 0 {
				from = c.args[i+1]
			}
			requireSmallShop(t, db, h, max(want, 0), from)
		})
	}
}

// requireSmallShop checks what a run left of an odd but sound shop: shares of
// every conversion that sum to 1, and a CSV that can be read, with every
// channel in it.
func requireSmallShop(t *testing.T, db string, h *house, want int, from string) {
	t.Helper()
	after := tables(t, db)
	sums := map[string]float64{}
	for _, row := range after["attribution_customer_journey"] {
		var share float64
		fields := strings.Split(row, " | ")
		_, err := fmt.Sscanf(fields[len(fields)-1], "%g", &share)
		require.NoError(t, err, row)
		sums[fields[0]] += share
	}
	require.Len(t, sums, want)
	for conv, sum := range sums {
		require.InDelta(t, 1, sum, 1e-3, conv)
	}
	requireReport(t, h.path("out", "channel_reporting.csv"), after, from)
}

func content(s string) func(*testing.T, *house, string) {
	return func(t *testing.T, _ *house, path string) { t.Helper(); text(t, path, s) }
}

// noise returns n bytes without meaning.
func noise(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(128 + r.IntN(128))
	}
	return b
}

// damaged makes a sound database and changes its bytes.
func damaged(change func([]byte) []byte) func(*testing.T, *house, string) {
	return func(t *testing.T, _ *house, path string) {
		t.Helper()
		script(t, path, sound)
		data := []byte(read(t, path))
		require.NoError(t, os.WriteFile(path, change(data), 0o600))
	}
}

// leftBehind makes what a program leaves that dies in the middle of its work:
// the database and its log as they are while it is still at it.
func leftBehind(mode, log string, work ...string) func(*testing.T, *house, string) {
	return func(t *testing.T, h *house, path string) {
		t.Helper()
		live := h.path("live.db")
		script(t, live, sound, mode)
		db := openForever(t, live, work...)
		defer db.Close()
		for _, suffix := range []string{"", log} {
			in, err := os.Open(live + suffix)
			require.NoError(t, err)
			out, err := os.Create(path + suffix)
			require.NoError(t, err)
			n, err := io.Copy(out, in)
			require.NoError(t, err)
			require.Positive(t, n, "%s is empty: nothing is left behind", suffix)
			require.NoError(t, in.Close())
			require.NoError(t, out.Close())
		}
	}
}

// nobody runs the house's commands as a user without privileges, who owns
// nothing but may go everywhere in it. A tester without privileges needs no
// change.
func nobody(t *testing.T, h *house) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	h.as = &syscall.Credential{Uid: 65534, Gid: 65534}
	require.NoError(t, filepath.WalkDir(h.dir, func(path string, _ os.DirEntry, err error) error {
		require.NoError(t, err)
		return os.Chown(path, 65534, 65534)
	}))
	for dir := h.dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		require.NoError(t, os.Chmod(dir, 0o755))
	}
}
