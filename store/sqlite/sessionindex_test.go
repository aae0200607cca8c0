package sqlite

import (
	"context"
	"testing"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// However the marks fall, and however many sessions there is room for, every
// session is found in its own group and no other one is. Ids of no session
// have marks of their own here: see the comment of sessionIndex.
func TestSessionsThatShareAMarkAreLookedUp(t *testing.T) {
	t.Parallel()
	path := build(t, InputSchema+`INSERT INTO session_sources VALUES
		('s0', 'u', '2023-01-01', '10:00:00', 'A', 0, 0, 0), ('s1', 'u', '2023-01-01', '10:00:00', 'B', 0, 0, 0),
		('s2', 'u', '2023-01-02', '10:00:00', 'A', 0, 0, 0), ('s3', 'u', '2023-01-01', '10:00:00', 'A', 0, 0, 0),
		('s4', 'u', '2023-01-03', '10:00:00', 'C', 0, 0, 0)`)
	sessions := map[string]key{"s0": {"A", "2023-01-01"}, "s1": {"B", "2023-01-01"}, "s2": {"A", "2023-01-02"}, "s3": {"A", "2023-01-01"}, "s4": {"C", "2023-01-03"}}
	db, err := Open(t.Context(), path, Read)
	require.NoError(t, err)
	defer db.Close()
	rapid.Check(t, func(t *rapid.T) {
		x := newSessionIndex(rapid.IntRange(4, 16).Draw(t, "slots"))
		marks := map[string]slot{"unknown": {high: 99, low: 99}}
		order := rapid.Permutation([]string{"s0", "s1", "s2", "s3", "s4"}).Draw(t, "order")
		for _, s := range order {
			marks[s] = slot{high: rapid.Uint64Range(0, 2).Draw(t, "high"), low: 1}
		}
		x.mark = func(session string) slot { return marks[session] }
		for i, s := range order {
			w := x.writer()
			w.enter(s, sessions[s])
			w.flush()
			require.Len(t, w.entered, 0, i)
		}
		conn, err := db.Conn(context.Background())
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, raw(conn, func(c *sqlite3.SQLiteConn) error {
			r, err := x.reader(c)
			require.NoError(t, err)
			for range 2 {
				for s, k := range sessions {
					n, there, err := r.group(s)
					require.NoError(t, err)
					require.True(t, there)
					require.Equal(t, k, x.keys[n], "%s with %v", s, marks)
				}
				_, there, err := r.group("unknown")
				require.NoError(t, err)
				require.False(t, there)
			}
			return r.close()
		}))
	})
}
