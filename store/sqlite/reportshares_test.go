package sqlite

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/store/books"
)

// Where there is no room to put parts together, SQLite says the same.
func TestConversionsThatAreNotWholeAreFoundBySorting(t *testing.T) {
	t.Parallel()
	for name, table := range map[string]string{"without row numbers": CreateCustomerJourney, "with row numbers": withRowNumbers} {
		db, err := sql.Open("sqlite3", ":memory:")
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		db.SetMaxOpenConns(1)
		_, err = db.Exec(table + `; INSERT INTO attribution_customer_journey VALUES ('third', 'a', 1.0/3), ('third', 'b', 1.0/3), ('third', 'c', 1.0/3),
			('near', 'a', 0.9991), ('far', 'a', 0.9989), ('text', 'a', 'one'), ('twice', 'a', 1), ('twice', 'b', 1), ('odd', 'a', 1.9), ('odd', 'b', -0.9), ('huge', 'a', 1e300)`)
		require.NoError(t, err)
		conn, err := db.Conn(t.Context())
		require.NoError(t, err)
		s := &summing{conn: conn, whole: &part{uneven: uneven{crowded: true}}}
		require.NoError(t, s.checkPartial(t.Context()))
		require.Equal(t, [2]any{int64(4), `conv_id "far"`}, [2]any{s.whole.Uneven, s.whole.UnevenExample}, name)
		require.NoError(t, conn.Close())
	}
}

func TestSumsOfPartsAreBounded(t *testing.T) {
	t.Parallel()
	var u uneven
	for range 10_000 {
		u.put(1, 100*books.WholeShare)
		u.put(2, -100*books.WholeShare)
	}
	require.False(t, books.Even(u.sums[1]) || books.Even(u.sums[2]))
	require.Positive(t, u.sums[1])
	require.Negative(t, u.sums[2])
	for mark := range uint64(mostPartial) {
		u.put(mark+10, books.WholeShare)
	}
	require.True(t, u.crowded)
	require.Len(t, u.sums, mostPartial)
}
