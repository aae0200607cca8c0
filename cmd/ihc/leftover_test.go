package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/shop"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/open"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// enteredIn makes a database that runs of these names were entered in, of which
// nobody has heard.
func enteredIn(t *testing.T, ids ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shop.db")
	_, err := sqlite.GenerateShop(t.Context(), path, shop.Config{Sessions: 200}, false)
	require.NoError(t, err)
	db := open.Database(path)
	for _, id := range ids {
		_, _, err := db.Enter(t.Context(), &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: id}, Asked: "when " + id})
		require.NoError(t, err)
	}
	require.NoError(t, db.Close())
	return path
}

// knownTo returns the runs that `ihc runs` lists of a database.
func knownTo(t *testing.T, path string) map[string]store.Status {
	t.Helper()
	known, err := (&databaseFlag{db: path}).known(t.Context())
	require.NoError(t, err)
	all := map[string]store.Status{}
	for _, k := range known {
		all[k.RunID] = k.Status
	}
	return all
}

// A process that is killed when its run is in the database, and nobody has heard of
// that, leaves no run that is running for ever; nor one that took a run's place.
func TestRunWhoseProcessWasKilledWhenItWasEnteredIsCalledInterrupted(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	db := enteredIn(t, "killed", "replaced-v2", "other")
	for _, id := range []string{"killed", "replaced", "of-another-database"} {
		dir := filepath.Join(os.TempDir(), passing+id)
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600)) // as its server leaves one
		note(dir, id)
	}
	want := map[string]store.Status{"killed": store.Interrupted, "replaced-v2": store.Interrupted, "other": store.Running}
	require.Equal(t, want, knownTo(t, db))
	localRun{db: db}.clearAway(t.Context())
	left, err := os.ReadDir(os.TempDir())
	require.NoError(t, err)
	require.Len(t, left, 1, "the note of the other database's run")
	require.Equal(t, want, knownTo(t, db), "now it is written there")
}

// What a process says of its run when it stops is written where the run was entered,
// accepted or not, and nowhere else.
func TestRunThatStopsBeforeItIsAcceptedEndsInTheDatabase(t *testing.T) {
	t.Parallel()
	db := enteredIn(t, "timed-out", "stopped", "given-up", "kept", "named-so-before")
	var said bytes.Buffer
	for id, c := range map[string]struct {
		err     error
		dataDir string
		asked   string
	}{
		"timed-out":       {err: &ops.StateError{Status: run.StatusFailed, Err: errors.New("not done within 1s (--timeout)")}, dataDir: "kept", asked: "when timed-out"},
		"stopped":         {err: &ops.StateError{Status: run.StatusInterrupted, Err: errors.New("interrupted")}, asked: "when stopped"},
		"given-up":        {err: errors.New("a service gave up"), asked: "when given-up"},
		"kept":            {err: &ops.StateError{Status: run.StatusInterrupted, Err: errors.New("interrupted")}, dataDir: "kept", asked: "when kept"},
		"named-so-before": {err: &ops.StateError{Status: run.StatusFailed, Err: errors.New("why")}, asked: "later"},
		"never-entered":   {err: &ops.StateError{Status: run.StatusFailed, Err: errors.New("why")}, asked: "when"},
	} {
		localRun{db: db, dataDir: c.dataDir, say: &said}.record(entry{id: id, asked: c.asked}, c.err)
	}
	require.Equal(t, map[string]store.Status{"timed-out": store.Failed, "stopped": store.Interrupted, "given-up": store.Interrupted,
		"kept": store.Running, "named-so-before": store.Running}, knownTo(t, db))
	localRun{db: filepath.Join(t.TempDir(), "none.db"), say: &said}.record(entry{id: "run", asked: "when"}, errors.New("no database"))
	require.Empty(t, said.String())
}
