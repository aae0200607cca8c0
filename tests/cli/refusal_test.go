package cli

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/tests/snapshot"
)

// state is what a run could have changed: the database's very bytes, and the
// files of the report.
type state struct {
	db      string // a digest; empty where there is none
	reports map[string]string
}

func stateOf(t *testing.T, db, out string) state {
	t.Helper()
	var s state
	info, err := os.Stat(db)
	if err == nil && info.Mode().IsRegular() {
		data, err := os.ReadFile(db)
		require.NoError(t, err)
		s.db = fmt.Sprintf("%x", sha256.Sum256(data))
	}
	s.reports, err = snapshot.Files(out)
	require.NoError(t, err)
	return s
}

// requireRefused checks a command that was to be refused: its exit code, the
// one line that says why, and that nothing came of it.
func requireRefused(t *testing.T, r result, exit int, says string, before, after state) {
	t.Helper()
	line := r.complaint(t)
	require.Contains(t, line, says)
	require.Equal(t, exit, r.code, line)
	require.Less(t, len(line), 600, "a line somebody can read: %s", line)
	require.False(t, strings.ContainsFunc(line, func(c rune) bool { return c < ' ' || c == 0x7f }), "%q", line)
	require.Empty(t, r.stdout)
	require.Equal(t, before.db, after.db, "the database was written to")
	require.Equal(t, before.reports, after.reports, "files of a report were written")
}
