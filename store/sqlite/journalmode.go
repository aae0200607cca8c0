package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"time"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// The pipeline writes with the write-ahead log and shows a run without it (see
// leaveLog). The file is the user's, and is given back in the mode it had: that
// is noted in the file before the first switch, so that a process which is
// killed leaves the next one the note, and taken away when the mode is given
// back, so that what the user chooses between two runs is noted anew.

// createModeNote is no migration: the note is made before there are others.
const createModeNote = `CREATE TABLE IF NOT EXISTS pipeline_journal_mode (mode text NOT NULL)`

// noteMode notes the journal mode of the file at path, unless there is a note.
func noteMode(ctx context.Context, path string, s settings) error {
	db, err := connect(ctx, path, s, url.Values{"mode": {"rw"}, "_txlock": {"immediate"}, "_synchronous": {"FULL"}}, 1, probeRead)
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // what was committed is in the file
	if mode, err := notedMode(ctx, db); err == nil && mode != "" {
		return nil
	}
	if err := checkWhole(ctx, db, path, s.shown); err != nil {
		return err // which a write would hide
	}
	if err := checkSchema(ctx, db, s.shown); err != nil {
		return err
	}
	if ours, err := onlyOurs(ctx, db); err != nil || !ours {
		return err // whoever migrates says what is wrong, and nothing is written before
	}
	mode, err := journalMode(ctx, db, `PRAGMA journal_mode`)
	if err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, createModeNote); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO pipeline_journal_mode (mode) SELECT ? WHERE NOT EXISTS (SELECT 1 FROM pipeline_journal_mode)`, mode); err != nil {
		if err := Explain(s.shown, err); errkind.KindOf(err) != errkind.Run {
			return err
		}
		return errkind.Inputf("table pipeline_journal_mode of database %q is not the pipeline's: %w; rename or drop all tables named pipeline_*, and they are created anew", s.shown, err)
	}
	return tx.Commit()
}

// onlyOurs says whether tables named as the pipeline's are its own, as far as can
// be told without writing: they have a version, or there are none.
func onlyOurs(ctx context.Context, db queryer) (ours bool, err error) {
	var there int
	err = db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE name GLOB 'pipeline_*' AND name <> 'pipeline_journal_mode'`).Scan(&there)
	if err != nil || there == 0 {
		return err == nil, err
	}
	var version int
	return db.QueryRowContext(ctx, `SELECT version FROM pipeline_schema`).Scan(&version) == nil, nil
}

// notedMode returns the mode the file had, "" where none is noted.
func notedMode(ctx context.Context, db queryer) (mode string, err error) {
	err = db.QueryRowContext(ctx, `SELECT mode FROM pipeline_journal_mode LIMIT 1`).Scan(&mode)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return mode, err
}

// giveBack puts the file at path into the mode that is noted. Where somebody
// uses it, that is left to the end of a later run: nobody is waited for.
func giveBack(ctx context.Context, path string) {
	db, err := connect(ctx, path, settings{busy: 50 * time.Millisecond, shown: path}, url.Values{"mode": {"rw"}, "_synchronous": {"FULL"}}, 1, probeRead)
	if err != nil {
		return
	}
	defer db.Close() //nolint:errcheck // of no use to the user
	was, err := notedMode(ctx, db)
	if err != nil || was == "" {
		return
	}
	to := `PRAGMA journal_mode = DELETE`
	if was == "wal" {
		to = `PRAGMA journal_mode = WAL`
	}
	// The note goes last: a file with a note is one to give back.
	if is, err := journalMode(ctx, db, to); err == nil && (is == "wal") == (was == "wal") && checkSchema(ctx, db, path) == nil {
		_, _ = db.ExecContext(ctx, `DELETE FROM pipeline_journal_mode`)
	}
}

// journalMode asks for, or sets, the mode.
func journalMode(ctx context.Context, db queryer, pragma string) (mode string, err error) {
	err = db.QueryRowContext(ctx, pragma).Scan(&mode)
	return mode, err
}
