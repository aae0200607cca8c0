package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/version"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/books"
)

// A run belongs to the database it began on. That has an identity, which is
// drawn when the first run begins; but a copy of the file has the same. What
// tells a copy from its original is the runs it knows: a run is entered before
// anybody hears of it, so that a file which does not know it is from before.

// replaced says that the file at the path is not the one a run began on.
func (d *Database) replaced(id string) error {
	return books.Replaced(strconv.Quote(d.path), id)
}

// asker is a database or a transaction.
type asker interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// known returns a run's, nil if it is not known.
func known(ctx context.Context, on asker, id string) (*books.Entered, error) {
	var e books.Entered
	err := on.QueryRowContext(ctx, `SELECT run, asked, request FROM pipeline_runs WHERE run_id = ?`, id).Scan(&e.Number, &e.Asked, &e.Request)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // not known is a usual answer
	}
	return &e, err
}

// identity returns the database's, "" if it has none.
func identity(ctx context.Context, on asker) (id string, err error) {
	err = on.QueryRowContext(ctx, `SELECT id FROM pipeline_database LIMIT 1`).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return id, err
}

// identify returns the database's identity, which is drawn if it has none.
func (tx transaction) identify(ctx context.Context) (string, error) {
	id, err := identity(ctx, tx)
	if err != nil || id != "" {
		return id, err
	}
	id = strings.ToLower(rand.Text())
	_, err = tx.ExecContext(ctx, `INSERT INTO pipeline_database (id) VALUES (?)`, id)
	return id, err
}

// Enter implements [store.Ledger].
func (d *Database) Enter(ctx context.Context, a *ihcv1.RunAccepted) (database string, again bool, err error) {
	file, err := Identity(d.path)
	if err != nil {
		return "", false, err
	}
	done, err := turn(ctx, d.path)
	if err != nil {
		return "", false, err
	}
	defer done()
	// On a connection of its own, which waits for others as long as it takes, and
	// in the mode that the file is to be given back in.
	db, err := Open(ctx, d.path, Write, asItIs())
	if err != nil {
		return "", false, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	mode, err := journalMode(ctx, db, `PRAGMA journal_mode`)
	if err != nil {
		return "", false, Explain(d.path, err)
	}
	begun, err := db.BeginTx(ctx, nil)
	if err != nil {
		return "", false, Explain(d.path, err)
	}
	tx := transaction{Tx: begun}
	defer tx.Rollback()
	if err := d.migrate(ctx, begun); err != nil {
		return "", false, Explain(d.path, err)
	}
	if err = tx.noteMode(ctx, mode); err == nil {
		again, err = tx.enter(ctx, a)
	}
	if err == nil {
		database, err = tx.identify(ctx)
	}
	if err == nil {
		err = tx.Commit()
	}
	if err == nil && mode == writeAhead {
		// Into the file itself, where it is looked for: see [Database.Confirm].
		_, err = db.ExecContext(ctx, `PRAGMA wal_checkpoint(PASSIVE)`)
	}
	if err == nil {
		err = d.toLog(ctx, mode)
	}
	if err == nil {
		d.remember(a, file, modified(d.path))
	}
	return database, again, Explain(d.path, err)
}

// enter makes the row of a run, and says whether that took the name from
// another.
func (tx transaction) enter(ctx context.Context, a *ihcv1.RunAccepted) (again bool, err error) {
	id := a.GetRequest().GetRunId()
	was, err := known(ctx, tx, id)
	if err != nil {
		return false, err
	}
	if again, err = books.TakesName(was, a); err != nil {
		return false, err
	}
	if again {
		if err := tx.retire(ctx, was, id); err != nil {
			return false, err
		}
	}
	return again, tx.record(ctx, a)
}

// retire gives a run that has ended, or will never end, a name that no run can
// be asked for under.
func (tx transaction) retire(ctx context.Context, was *books.Entered, id string) error {
	if err := tx.end(ctx, id, string(store.Failed)); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `UPDATE pipeline_runs SET run_id = ?2 WHERE run = ?1`, was.Number, books.RetiredName(id, was.Number))
	return err
}

// record writes what a run was accepted with.
func (tx transaction) record(ctx context.Context, a *ihcv1.RunAccepted) error {
	request, scoredBy, err := books.Record(a)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO pipeline_runs (run_id, request, asked, scoring, scored_by, source, program) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
		ON CONFLICT (run_id) DO UPDATE SET request = ?2, asked = ?3, scoring = coalesce(?4, scoring), scored_by = ?5, source = ?6, program = ?7`,
		a.GetRequest().GetRunId(), string(request), a.GetAsked(), run.ScoringDigest(a.GetScoring()), string(scoredBy), a.GetSourceDigest(), version.This().Version)
	return err
}

// Accept implements [store.Ledger].
func (d *Database) Accept(ctx context.Context, a *ihcv1.RunAccepted) error {
	id := a.GetRequest().GetRunId()
	file, err := Identity(d.path)
	since := modified(d.path)
	if err == nil {
		err = d.admit(ctx, a)
	}
	if err != nil {
		return err
	}
	same := func() error {
		if now, err := Identity(d.path); a.GetDatabase() != "" && err == nil && now != file {
			return d.replaced(id)
		}
		return nil
	}
	err = d.transactIf(ctx, same, func(tx transaction) error {
		if a.GetDatabase() == "" {
			return tx.record(ctx, a)
		}
		is, err := identity(ctx, tx)
		if err != nil {
			return err
		}
		there, err := known(ctx, tx, id)
		if err != nil {
			return err
		}
		enter, err := books.Admit(a, strconv.Quote(d.path), is, there)
		if err != nil {
			return err
		}
		if enter {
			if _, err := tx.enter(ctx, a); err != nil {
				return err
			}
		}
		return tx.record(ctx, a)
	})
	if err == nil && a.GetDatabase() != "" {
		d.remember(a, file, since)
	}
	return err
}

// admit refuses a run of another database by reading alone: to open the file to be
// written would change it, and it may have been put in the place of the run's.
func (d *Database) admit(ctx context.Context, a *ihcv1.RunAccepted) error {
	if a.GetDatabase() == "" {
		return nil
	}
	done, err := turn(ctx, d.path) // who shows a run keeps out who reads, too
	if err != nil {
		return err
	}
	defer done()
	db, err := Open(ctx, d.path, Read, BusyTimeout(time.Second), Readers(1))
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // only read
	is, err := identity(ctx, db)
	if err != nil && !isSQLite(err, sqlite3.ErrError) { // but no such table: it has none
		return Explain(d.path, err)
	}
	if is != a.GetDatabase() {
		_, err := books.Admit(a, strconv.Quote(d.path), is, nil)
		return err
	}
	return nil
}

// mark is what is remembered of a run that was found to be the database's.
type mark struct {
	asked string
	file  FileID
	since time.Time // the file's time of change when it was last seen to be the run's
}

// remember notes that a run was found to be the database's, which was that file
// before it was opened to find out, and last changed then: what was put in its
// place since is not it.
func (d *Database) remember(a *ihcv1.RunAccepted, file FileID, since time.Time) {
	d.marks.Store(a.GetRequest().GetRunId(), mark{a.GetAsked(), file, since})
}

// Confirm implements [store.Database].
func (d *Database) Confirm(ctx context.Context, a *ihcv1.RunAccepted) error {
	if a.GetDatabase() == "" {
		return nil
	}
	id := a.GetRequest().GetRunId()
	file, err := Identity(d.path)
	if err != nil {
		return err
	}
	found, _ := d.marks.Load(id)
	was, seen := found.(mark)
	if seen = seen && was.asked == a.GetAsked(); seen && was.file != file {
		return d.replaced(id)
	}
	err = d.confirm(ctx, a, file)
	if err == nil || errkind.KindOf(err) != errkind.Input {
		return err
	}
	// Whatever is wrong with it was not before.
	if seen {
		disown(ctx, followed(d.path), was.since)
	}
	if seen || met(followed(d.path)) {
		return d.replaced(id)
	}
	return err
}

// confirm looks on a connection of its own, which has nothing in memory.
func (d *Database) confirm(ctx context.Context, a *ihcv1.RunAccepted, file FileID) error {
	done, err := turn(ctx, d.path)
	if err != nil {
		return err
	}
	defer done()
	id, since := a.GetRequest().GetRunId(), modified(d.path)
	db, err := Open(ctx, d.path, Read, BusyTimeout(time.Second), Readers(1))
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // only read
	is, err := identity(ctx, db)
	var there *books.Entered
	if err == nil {
		there, err = known(ctx, db, id)
	}
	switch {
	case isSQLite(err, sqlite3.ErrError): // no such table
		return d.replaced(id)
	case err != nil:
		return Explain(d.path, err)
	case is != a.GetDatabase() || there == nil || there.Asked != a.GetAsked():
		return d.replaced(id)
	}
	d.remember(a, file, since)
	return nil
}

// still makes sure that the file of runs that were accepted here is the one that
// it was, without a look into it: what was put in its place is left alone.
func (d *Database) still(runs ...string) func() error {
	return func() error {
		for _, id := range runs {
			was, accepted := d.marks.Load(id)
			if file, err := Identity(d.path); accepted && err == nil && file != was.(mark).file {
				return d.replaced(id)
			}
		}
		return nil
	}
}

// checkStill makes sure that a run that was accepted here is still known: that
// the file was not replaced since.
func (d *Database) checkStill(ctx context.Context, tx transaction, id string) error {
	was, accepted := d.marks.Load(id)
	if !accepted {
		return nil
	}
	there, err := known(ctx, tx, id)
	if err == nil && (there == nil || there.Asked != was.(mark).asked) {
		err = d.replaced(id)
	}
	return err
}

// checkScoring makes sure that results of a run were scored by what scores the
// run, which the first of them settles where nothing has.
func (tx transaction) checkScoring(ctx context.Context, number int64, id string, results []*ihcv1.AttributionResult) error {
	var settled []byte
	if err := tx.QueryRowContext(ctx, `SELECT scoring FROM pipeline_runs WHERE run = ?`, number).Scan(&settled); err != nil {
		return err
	}
	first := settled == nil
	settled, err := books.Scoring(id, settled, results)
	if err != nil || !first || settled == nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE pipeline_runs SET scoring = ?2 WHERE run = ?1`, number, settled)
	return err
}
