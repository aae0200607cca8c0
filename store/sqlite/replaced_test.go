package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/shop"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// What is in use may be written over; the log of what was there must not come
// into what is there now.
func TestDatabaseThatIsWrittenOverInUse(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]func(by, path string) error{
		"by a new name": os.Rename,
		"byte by byte": func(by, path string) error {
			data, err := os.ReadFile(by)
			return errors.Join(err, os.WriteFile(path, data, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := inUse(t)
			require.NoError(t, u.store(1))
			require.NoError(t, u.extractor.Confirm(t.Context(), u.run))

			require.NoError(t, how(u.by, u.path))
			require.ErrorIs(t, u.extractor.Confirm(t.Context(), u.run), store.ErrRefused)
			require.ErrorIs(t, u.store(1), store.ErrRefused)
			u.isWhatWasPutThere()
		})
	}
}

// A transaction that is under way when the file is written over keeps the log
// until it is done: behind a log that was emptied before it was, its pages would
// stand behind a hole, and that would come into the file.
func TestLogOfATransactionUnderWayIsNotTakenAway(t *testing.T) {
	t.Parallel()
	u := inUse(t)
	require.NoError(t, u.store(1))
	require.NoError(t, u.extractor.Confirm(t.Context(), u.run))

	require.NoError(t, u.writer.transact(t.Context(), func(tx transaction) error {
		if _, err := tx.ExecContext(t.Context(), `INSERT INTO pipeline_runs (run_id, request) VALUES ('other', ?)`, strings.Repeat("c", 1<<16)); err != nil {
			return err
		}
		require.NoError(t, os.WriteFile(u.path, u.other, 0o600))
		soon, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		require.Error(t, u.extractor.Confirm(soon, u.run))
		info, err := os.Stat(u.path + "-wal")
		require.NoError(t, err)
		require.NotZero(t, info.Size())
		return nil
	}))
	require.ErrorIs(t, u.extractor.Confirm(t.Context(), u.run), store.ErrRefused)
	require.ErrorIs(t, u.store(3), store.ErrRefused)
	u.isWhatWasPutThere()
}

// SQLite takes a log away that it finds beside an empty file, as a file is for a
// moment that is written over. Whoever has that log open does not put it into what
// comes after.
func TestLogThatWasTakenAwayStaysOutOfTheFile(t *testing.T) {
	t.Parallel()
	u := inUse(t)
	require.NoError(t, u.store(1))
	require.NoError(t, os.Truncate(u.path, 0))
	db, err := sql.Open("sqlite3", u.path)
	require.NoError(t, err)
	require.NoError(t, db.QueryRow(`SELECT 1 FROM (SELECT count(*) FROM sqlite_schema)`).Scan(new(int)))
	require.NoError(t, db.Close())
	require.NoFileExists(t, u.path+"-wal")
	require.NoError(t, os.WriteFile(u.path, u.other, 0o600))
	require.ErrorIs(t, u.extractor.Confirm(t.Context(), u.run), store.ErrRefused)
	require.ErrorIs(t, u.store(2), store.ErrRefused)
	u.isWhatWasPutThere()
}

// used is a database with a run under way, and another to be put in its place.
type used struct {
	t                 *testing.T
	path, by          string
	other             []byte // what by holds
	extractor, writer *Database
	run               *ihcv1.RunAccepted
}

func inUse(t *testing.T) *used {
	dir := t.TempDir()
	u := &used{t: t, path: filepath.Join(dir, "shop.db"), by: filepath.Join(dir, "other.db")}
	for seed, p := range map[uint64]string{1: u.path, 2: u.by} {
		_, err := GenerateShop(t.Context(), p, shop.Config{Sessions: 500, Seed: seed}, false)
		require.NoError(t, err)
	}
	var err error
	u.other, err = os.ReadFile(u.by)
	require.NoError(t, err)
	u.extractor, u.writer = New(u.path), New(u.path)
	u.run = &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "run"}, Asked: "now"}
	u.run.Database, _, err = u.extractor.Enter(t.Context(), u.run)
	require.NoError(t, err)
	require.NoError(t, u.writer.Accept(t.Context(), u.run))
	return u
}

func (u *used) store(chunk uint32) error {
	return u.writer.Store(u.t.Context(), []*ihcv1.AttributionResult{{RunId: "run", Chunk: chunk,
		Attributions: []*ihcv1.Attribution{{ConvId: "c", SessionIds: []string{"s"}, Ihc: []uint32{10000}}}}})
}

func (u *used) isWhatWasPutThere() {
	require.NoError(u.t, errors.Join(u.writer.Close(), u.extractor.Close()))
	is, err := os.ReadFile(u.path)
	require.NoError(u.t, err)
	require.True(u.t, bytes.Equal(u.other, is), "the file is another than was put there")
	for _, side := range sideFiles {
		require.NoFileExists(u.t, u.path+side)
	}
}

// A writer may hear of a run when its database was replaced already: what is there
// now is left as it is, to the byte, whatever the run is.
func TestDatabaseOfAnotherRunIsNotTouched(t *testing.T) {
	t.Parallel()
	for _, of := range []string{"", "run-before"} {
		path := filepath.Join(t.TempDir(), "shop.db")
		_, err := GenerateShop(t.Context(), path, shop.Config{Sessions: 500, Seed: 1}, false)
		require.NoError(t, err)
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		writer := New(path)
		a := &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "run", ReplayOf: of}, Asked: "now", Database: "another"}
		require.ErrorIs(t, writer.Accept(t.Context(), a), store.ErrRefused)
		require.NoError(t, writer.Close())
		is, err := os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, is))
		for _, side := range sideFiles {
			require.NoFileExists(t, path+side)
		}
	}
}
