package sqlite

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheFileIsGivenBackInTheModeItHad(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"delete", "wal"} {
		path := build(t, "PRAGMA journal_mode = "+mode+";"+Schema+soundRows)
		db, err := Open(t.Context(), path, Write)
		require.NoError(t, err)
		require.NoError(t, db.Close()) // as one that is killed leaves it
		require.Equal(t, []string{"wal"}, tableRows(t, path, `PRAGMA journal_mode`))
		if mode == "wal" { // and one that is killed while it shows a run
			execute(t, path, "", `PRAGMA journal_mode = DELETE`)
		}
		h := NewHandle(path, Write)
		_, _, err = h.DB(t.Context())
		require.NoError(t, err)
		require.NoError(t, h.Close())
		require.Equal(t, []string{mode}, tableRows(t, path, `PRAGMA journal_mode`))
		require.Empty(t, tableRows(t, path, `SELECT mode FROM pipeline_journal_mode`))
	}
}
