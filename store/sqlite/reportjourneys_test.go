package sqlite

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/sessionindex"
)

// journalled makes a database whose journal has journeys over few channels, and
// in many ways.
func journalled(t *testing.T, conversions int, walk func(conv, step int) int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shop.db")
	var sold, visited []string
	result := &ihcv1.AttributionResult{RunId: "run", Chunk: 1, Model: "builtin x"}
	for c := range conversions {
		sold = append(sold, fmt.Sprintf("('c%d', 'u%d', '2023-02-%02d', '12:00:00', %d)", c, c, 1+c%28, 10+c))
		a := &ihcv1.Attribution{ConvId: fmt.Sprint("c", c)}
		for k := range 1 + c%5 {
			id := fmt.Sprintf("s%d-%d", c, k)
			visited = append(visited, fmt.Sprintf("('%s', 'u%d', '2023-01-%02d', '12:00:00', 'channel %d', 0, 0, 0)", id, c, 1+(c+k)%31, walk(c, k)))
			a.SessionIds = append(a.SessionIds, id)
			a.Ihc, a.Initializer, a.Holder, a.Closer = append(a.Ihc, 2000), append(a.Initializer, uint32(k)), append(a.Holder, 7), append(a.Closer, uint32(c))
		}
		result.Attributions = append(result.Attributions, a)
	}
	execute(t, path, "", InputSchema+"INSERT INTO conversions VALUES "+strings.Join(sold, ", ")+"; INSERT INTO session_sources VALUES "+strings.Join(visited, ", "))
	db := New(path)
	require.NoError(t, db.Expect(t.Context(), "run", &ihcv1.RunExtracted{Chunks: 1, Counts: &ihcv1.Counts{InRange: uint64(conversions)}}))
	require.NoError(t, db.Store(t.Context(), []*ihcv1.AttributionResult{result}))
	state, err := db.Finish(t.Context(), "run")
	require.NoError(t, err)
	require.True(t, state.Complete)
	require.NoError(t, db.Close())
	return path
}

// However little room the index has, the sums of the journal are the same.
func TestJournalIsSummedInAnyNumberOfPasses(t *testing.T) {
	t.Parallel()
	path := journalled(t, 60, func(conv, step int) int { return (conv*step + step) % 4 })
	db, err := Open(t.Context(), path, Write)
	require.NoError(t, err)
	defer db.Close()
	want, err := rebuild(t.Context(), path, db, nil, &ihcv1.RunRequest{}, usual)
	require.NoError(t, err)
	require.NotEmpty(t, want.Journeys.Paths)
	rapid.Check(t, func(t *rapid.T) {
		got, err := rebuild(context.Background(), path, db, nil, &ihcv1.RunRequest{},
			sizes{rows: 50, few: rapid.IntRange(8, 40).Draw(t, "slots"), most: rapid.IntRange(8, 200).Draw(t, "most"), hash: sessionindex.NewHash})
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}

// Of more ways than there is memory for, the frequent ones stay, and no count is
// short by more than is told.
func TestFrequentPathsStayWhereThereIsNoRoomForAll(t *testing.T) {
	t.Parallel()
	path := journalled(t, 400, func(conv, step int) int {
		if conv%4 == 0 {
			return 0 // one way in four is by channel 0 alone
		}
		return conv*7 + step
	})
	db, err := Open(t.Context(), path, Write)
	require.NoError(t, err)
	defer db.Close()
	size := usual
	size.paths = 20
	totals, err := rebuild(t.Context(), path, db, nil, &ihcv1.RunRequest{}, size)
	require.NoError(t, err)
	j := totals.Journeys
	require.Equal(t, []store.Step{{Channel: "channel 0", Visits: j.Paths[0].Steps[0].Visits, IHC: j.Paths[0].Steps[0].IHC, Initializer: j.Paths[0].Steps[0].Initializer,
		Holder: j.Paths[0].Steps[0].Holder, Closer: j.Paths[0].Steps[0].Closer}}, j.Paths[0].Steps)
	require.Positive(t, j.PathsShort)
	require.InDelta(t, 100, j.Paths[0].Conversions, float64(j.PathsShort))
}

func TestSharesAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		shares := rapid.SliceOfN(rapid.Uint32(), 0, 20)
		a := &ihcv1.Attribution{Ihc: shares.Draw(t, "ihc")}
		n := len(a.GetIhc())
		phased := rapid.Bool().Draw(t, "phased") || n == 0
		if phased {
			same := rapid.SliceOfN(rapid.Uint32(), n, n)
			a.Initializer, a.Holder, a.Closer = same.Draw(t, "i"), same.Draw(t, "h"), same.Draw(t, "c")
		}
		blob := encodeShares(a)
		read, was, err := decodeShares(blob, nil)
		require.NoError(t, err)
		require.Equal(t, phased, was)
		require.Len(t, read, n)
		for i, s := range read {
			require.EqualValues(t, a.GetIhc()[i], s.IHC)
			if phased {
				require.Equal(t, []int64{int64(a.GetInitializer()[i]), int64(a.GetHolder()[i]), int64(a.GetCloser()[i])}, []int64{s.Initializer, s.Holder, s.Closer})
			}
		}
		// Cut short or damaged it is an error or other shares, and never a panic.
		for cut := range blob {
			_, _, _ = decodeShares(blob[:cut], nil)
		}
	})
}

// Whatever is in the blob of a journal, it is shares or an error.
func FuzzDecodeShares(f *testing.F) {
	f.Add(encodeShares(&ihcv1.Attribution{Ihc: []uint32{1, 10_000}}))
	f.Add(encodeShares(&ihcv1.Attribution{Ihc: []uint32{5}, Initializer: []uint32{6}, Holder: []uint32{0}, Closer: []uint32{1 << 31}}))
	f.Add([]byte{withPhases, 1, 2})
	f.Add([]byte{ihcAlone, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, blob []byte) {
		shares, _, err := decodeShares(blob, nil)
		ihc, same := decodeIHC(blob, nil)
		require.Equal(t, same == nil, err == nil)
		for i := range ihc {
			if err == nil {
				require.EqualValues(t, ihc[i], shares[i].IHC)
			}
		}
	})
}

// A database that an earlier release has written last is reported as well.
func TestDatabaseOfTheFirstReleaseIsReported(t *testing.T) {
	t.Parallel()
	first, err := migrations.ReadFile("migrations/1.sql")
	require.NoError(t, err)
	db := New(build(t, Schema+soundRows+string(first)+`INSERT INTO attribution_customer_journey VALUES ('c1', 's1', 0.25), ('c1', 's2', 0.75);
		INSERT INTO pipeline_outcomes VALUES ('run', 'c2', 1, 'failed', 'why', 1);`))
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	totals, err := db.Survey(t.Context(), &ihcv1.RunRequest{}, store.View{})
	require.NoError(t, err)
	require.Nil(t, totals.Journeys)
	require.EqualValues(t, 1, totals.Unattributed[0].GetConversions())
	c, err := db.Conversion(t.Context(), "c2")
	require.NoError(t, err)
	require.Empty(t, c.Outcome)
	c, err = db.Conversion(t.Context(), "c1")
	require.NoError(t, err)
	require.Len(t, c.Sessions, 2)
}
