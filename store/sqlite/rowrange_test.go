package sqlite

import (
	"database/sql/driver"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSpans: every row is in one span, and what cannot be divided is one.
func TestSpans(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script string
		rows   int64
		want   []RowRange
	}{
		"none":            {"CREATE TABLE t (a)", 2, nil},
		"one":             {"CREATE TABLE t (a); INSERT INTO t VALUES (1), (2)", 2, []RowRange{{1, 2, true}}},
		"two":             {"CREATE TABLE t (a); INSERT INTO t VALUES (1), (2), (3)", 2, []RowRange{{1, 2, true}, {3, 3, true}}},
		"other case":      {"CREATE TABLE T (a); INSERT INTO t VALUES (1)", 2, []RowRange{{1, 1, true}}},
		"ends of numbers": {"CREATE TABLE t (a INTEGER PRIMARY KEY); INSERT INTO t VALUES (9223372036854775807), (9223372036854775806)", 1, []RowRange{{1<<63 - 2, 1<<63 - 2, true}, {1<<63 - 1, 1<<63 - 1, true}}},
		"without rowid":   {"CREATE TABLE t (a PRIMARY KEY) WITHOUT ROWID; INSERT INTO t VALUES (1), (2), (3)", 1, []RowRange{{}}},
		"own rowid":       {"CREATE TABLE t (a, RowID text); INSERT INTO t VALUES (1, 'x'), (2, NULL)", 1, []RowRange{{}}},
		"view":            {"CREATE VIEW t AS SELECT 1 AS a", 1, []RowRange{{}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, err := Open(t.Context(), build(t, c.script), Read)
			require.NoError(t, err)
			defer db.Close()
			conn, err := db.Conn(t.Context())
			require.NoError(t, err)
			defer conn.Close()
			spans, err := RowRanges(t.Context(), conn, "t", c.rows)
			require.NoError(t, err)
			require.Equal(t, c.want, spans)
		})
	}
	require.Empty(t, RowRange{}.Where("rowid"))
	require.Equal(t, " WHERE s.rowid BETWEEN ? AND ?", RowRange{1, 2, true}.Where("s.rowid"))
	require.Equal(t, []driver.Value{int64(1), int64(2)}, RowRange{1, 2, true}.Args())
}

// TestSpansOfNumbersFarApart: rows with numbers at both ends do not make as
// many spans as there are numbers.
func TestSpansOfNumbersFarApart(t *testing.T) {
	t.Parallel()
	db, err := Open(t.Context(), build(t, "CREATE TABLE t (a INTEGER PRIMARY KEY); INSERT INTO t VALUES (0), (4000000000000000000)"), Read)
	require.NoError(t, err)
	defer db.Close()
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	spans, err := RowRanges(t.Context(), conn, "t", 1)
	require.NoError(t, err)
	require.LessOrEqual(t, len(spans), maxRanges+1)
	require.Equal(t, int64(0), spans[0].from)
	require.Equal(t, int64(4000000000000000000), spans[len(spans)-1].to)
}
