package sqlite

import (
	"context"
	"database/sql"
	"hash/maphash"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// colliding hashes s1 and s3 to the same under the first so many seeds that it
// meets, and everything else as usual.
func colliding(seeds int) func(maphash.Seed, string) uint64 {
	met := map[maphash.Seed]int{}
	return func(seed maphash.Seed, session string) uint64 {
		if _, ok := met[seed]; !ok {
			met[seed] = len(met)
		}
		if met[seed] < seeds && (session == "s1" || session == "s3") {
			return 7
		}
		return maphash.String(seed, session)
	}
}

// sharing is a database of sessions that earned, and a stale report.
func sharing(t *testing.T) *sql.DB {
	db, err := Open(t.Context(), build(t, Schema+soundRows+`
		INSERT INTO attribution_customer_journey VALUES ('c1', 's1', 0.25), ('c1', 's2', 0.75), ('c2', 's3', 1);
		INSERT INTO channel_reporting VALUES ('stale', '2023-01-01', 1, 1, 1)`), Write)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// Two sessions with one hash never take each other's credit: the report begins
// anew with another hash.
func TestSessionsOfOneHashAreToldApart(t *testing.T) {
	t.Parallel()
	for _, slots := range []int{indexSlots, 4} {
		want, err := rebuild(t.Context(), sharing(t), nil, &ihcv1.RunRequest{}, sizes{rows: RangeRows, slots: slots, hash: maphash.String})
		require.NoError(t, err)
		require.Len(t, want.Rows, 3)
		for seeds := range 3 {
			got, err := rebuild(t.Context(), sharing(t), nil, &ihcv1.RunRequest{}, sizes{rows: RangeRows, slots: slots, hash: colliding(seeds)})
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	}
}

func TestSessionsThatCannotBeToldApartAreNotReported(t *testing.T) {
	t.Parallel()
	db := sharing(t)
	_, err := rebuild(t.Context(), db, nil, &ihcv1.RunRequest{}, sizes{rows: RangeRows, slots: 100, hash: colliding(3)})
	require.ErrorIs(t, err, errCollision)
	require.Equal(t, errkind.Input, errkind.KindOf(err))
	var channel string
	require.NoError(t, db.QueryRowContext(context.Background(), `SELECT group_concat(channel_name) FROM channel_reporting`).Scan(&channel))
	require.Equal(t, "stale", channel)
}

// Where no key rules it out, an id may occur twice: that is told as well.
func TestSessionThatOccursTwiceIsNotReported(t *testing.T) {
	t.Parallel()
	db, err := Open(t.Context(), build(t, loose+`; INSERT INTO session_sources SELECT * FROM session_sources WHERE session_id = 's1'`), Write)
	require.NoError(t, err)
	defer db.Close()
	_, err = rebuild(t.Context(), db, nil, &ihcv1.RunRequest{}, usual)
	require.ErrorIs(t, err, errCollision)
}
