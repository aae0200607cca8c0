package sqlite

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/sessionindex"
	"github.com/ihc-pipeline/ihc/store/storetest"
)

// A report tells how far it is until about all is done, by the rows that it reads,
// whether two connections make it or one in several passes, whatever its dates.
func TestReportTellsHowFarItIs(t *testing.T) {
	t.Parallel()
	path := journalled(t, 6*toldAtOnce, func(conv, step int) int { return (conv + step) % 5 })
	for name, report := range map[string]func(context.Context) (*store.Totals, error){
		"side by side": func(ctx context.Context) (*store.Totals, error) {
			db := New(path)
			defer db.Close()
			return db.Rebuild(ctx, &ihcv1.RunRequest{})
		},
		"of a range without conversions": func(ctx context.Context) (*store.Totals, error) {
			db := New(path)
			defer db.Close()
			return db.Rebuild(ctx, &ihcv1.RunRequest{StartDate: "1999-01-01", EndDate: "1999-01-02"})
		},
		"in passes": func(ctx context.Context) (*store.Totals, error) {
			db, err := Open(ctx, path, Write)
			if err != nil {
				return nil, err
			}
			defer db.Close()
			return rebuild(ctx, path, db, nil, &ihcv1.RunRequest{}, sizes{rows: 1000, few: 4000, most: 8000, hash: sessionindex.NewHash})
		},
	} {
		ctx, all := storetest.Listen(t.Context())
		_, err := report(ctx)
		require.NoError(t, err, name)
		told := all()
		require.Zero(t, told[0], name)
		slices.Sort(told) // two connections tell at once
		require.Greater(t, len(told), 6, name)
		require.InDelta(t, 0.97, told[len(told)-1], 0.0301, name)
		for i := range told[1:] {
			require.Less(t, told[i+1]-told[i], 0.4, name)
		}
	}
}

// What is left takes as long as the journal by itself, where that is more than half
// of it, and of both in turn where they are read in turn.
func TestLeftOfAReport(t *testing.T) {
	t.Parallel()
	r := &reporting{lanes: 2}
	require.InDelta(t, 6, r.takes(8, 4), 1e-12)
	require.InDelta(t, 8, r.takes(1, 8), 1e-12)
	r.apart = true
	require.InDelta(t, 8, r.takes(4, 6), 1e-12)
	r.lanes = 1
	require.InDelta(t, 10, r.takes(4, 6), 1e-12)
}
