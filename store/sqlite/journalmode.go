package sqlite

import (
	"context"
	"net/url"
	"os"
	"time"

	"github.com/ihc-pipeline/ihc/internal/retry"
)

// The pipeline writes with the write-ahead log, but for what shows a run (see
// leaveLog). The file is the user's, and is given back in the journal mode it
// had. That is noted in the transaction that enters a run, which is still in that
// mode: so a process that is killed leaves the next one the note, and a file that
// is refused is not touched.

// writeAhead is the mode with the log. All others are one to a file that nobody
// has open: a connection that comes has a rollback journal that it deletes.
const writeAhead = "wal"

// createModeNote is no migration: a database without the table is in no need of
// being given back.
const createModeNote = `CREATE TABLE IF NOT EXISTS pipeline_journal_mode (mode text NOT NULL)`

// betweenRuns says that no run has been entered since the last one ended. One
// that was killed before another ended is not waited for.
const betweenRuns = `SELECT NOT EXISTS (SELECT 1 FROM pipeline_runs WHERE run > (SELECT coalesce(max(run), 0) FROM pipeline_runs WHERE ` + ended + `) AND NOT ` + ended + `)`

// ended is true of a run that was reported or ended without a report.
const ended = `(report IS NOT NULL OR status NOT IN ('running', 'written'))`

// journalMode asks for, or sets, the mode.
func journalMode(ctx context.Context, on asker, pragma string) (mode string, err error) {
	err = on.QueryRowContext(ctx, pragma).Scan(&mode)
	return mode, err
}

// noteMode notes the mode that the file is in. While a run is under way, or where
// one was killed, that is the pipeline's, and what was noted before stands.
func (tx transaction) noteMode(ctx context.Context, mode string) error {
	if _, err := tx.ExecContext(ctx, createModeNote); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM pipeline_journal_mode WHERE (`+betweenRuns+`)`); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO pipeline_journal_mode (mode) SELECT ? WHERE NOT EXISTS (SELECT 1 FROM pipeline_journal_mode)`, mode)
	return err
}

// toLog goes to the write-ahead log for a run that was entered in another mode,
// before anybody reads journeys: who writes would wait for them.
func (d *Database) toLog(ctx context.Context, mode string) error {
	if mode == writeAhead {
		return nil
	}
	db, err := Open(ctx, d.path, Write)
	if err != nil {
		return err
	}
	return db.Close()
}

// giveBack puts the file at path into the mode it had, if no run is under way.
// Somebody who uses it is waited for a moment; if he stays, the next to leave the
// database does it, or the end of the next run.
func giveBack(ctx context.Context, path string) {
	if _, err := os.Stat(path); err != nil {
		return
	}
	db, err := connect(ctx, path, settings{busy: 50 * time.Millisecond, shown: path}, url.Values{"mode": {"rw"}, "_synchronous": {"FULL"}}, 1, probeRead)
	if err != nil {
		return
	}
	defer db.Close() //nolint:errcheck // of no use to the user
	var was string
	if db.QueryRowContext(ctx, `SELECT mode FROM pipeline_journal_mode WHERE (`+betweenRuns+`)`).Scan(&was) != nil {
		return // the usual: no run was on it, or one is under way
	}
	if is, err := journalMode(ctx, db, `PRAGMA journal_mode`); err != nil || (is == writeAhead) == (was == writeAhead) {
		return
	}
	to := `PRAGMA journal_mode = DELETE`
	if was == writeAhead {
		to = `PRAGMA journal_mode = WAL`
	}
	for try := range 4 {
		if try > 0 && retry.Sleep(ctx, retry.Real, retry.Lock.Delay(try)) != nil {
			return
		}
		if is, err := journalMode(ctx, db, to); err == nil && (is == writeAhead) == (was == writeAhead) {
			return
		}
	}
}
