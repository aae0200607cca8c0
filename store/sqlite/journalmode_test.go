package sqlite

import (
	"testing"

	"github.com/stretchr/testify/require"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

const modeQuery = `PRAGMA journal_mode`

// enter enters a run in the database at path, as an extractor does.
func enter(t *testing.T, path, id string) *Database {
	t.Helper()
	d := New(path)
	a := &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: id}, Asked: id}
	var err error
	a.Database, _, err = d.Enter(t.Context(), a)
	require.NoError(t, err)
	require.NoError(t, d.Accept(t.Context(), a))
	return d
}

func TestTheFileIsGivenBackInTheModeItHad(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"delete", "wal"} {
		path := build(t, "PRAGMA journal_mode = "+mode+";"+Schema+soundRows)
		d := enter(t, path, "one")
		require.NoError(t, d.Close())
		require.Equal(t, []string{"wal"}, tableRows(t, path, modeQuery), "a run is under way")
		if mode == "wal" { // as one that is killed while it shows a run leaves it
			execute(t, path, "", `PRAGMA journal_mode = DELETE`)
		}
		require.NoError(t, d.End(t.Context(), "one", store.Failed))
		require.NoError(t, d.Close())
		require.Equal(t, []string{mode}, tableRows(t, path, modeQuery))
		require.NoFileExists(t, path+"-wal")

		execute(t, path, "", `PRAGMA journal_mode = WAL`) // by its owner, between two runs
		d = enter(t, path, "two")
		require.NoError(t, d.End(t.Context(), "two", store.Cancelled))
		require.NoError(t, d.Close())
		require.Equal(t, []string{"wal"}, tableRows(t, path, modeQuery), "as its owner wants it now")
	}
}

func TestAKilledRunDoesNotKeepTheFileInAnotherMode(t *testing.T) {
	t.Parallel()
	path := build(t, Schema+soundRows)
	require.NoError(t, enter(t, path, "killed").Close())
	d := enter(t, path, "next")
	require.NoError(t, d.End(t.Context(), "next", store.Failed))
	require.NoError(t, d.Close())
	require.Equal(t, []string{"delete"}, tableRows(t, path, modeQuery))
}

func TestAFileThatIsInUseKeepsTheModeUntilItIsNot(t *testing.T) {
	t.Parallel()
	path := build(t, Schema+soundRows)
	d := enter(t, path, "one")
	reads, err := Open(t.Context(), path, Read)
	require.NoError(t, err)
	require.NoError(t, d.End(t.Context(), "one", store.Failed))
	require.NoError(t, d.Close())
	require.Equal(t, 2, costs(t, reads)-1, "whoever reads goes on")
	require.NoError(t, reads.Close())
	Checkpoint(path)
	require.Equal(t, []string{"delete"}, tableRows(t, path, modeQuery))
}
