package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/version"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/books"
)

// replaced says that the database is not the one a run began on.
func (d *Database) replaced(id string) error {
	return books.Replaced(d.name, id)
}

// known returns a run's, nil if it is not known.
func known(ctx context.Context, tx pgx.Tx, id string) (*books.Entered, error) {
	var e books.Entered
	err := tx.QueryRow(ctx, `SELECT run, asked, request FROM pipeline_runs WHERE run_id = $1`, id).Scan(&e.Number, &e.Asked, &e.Request)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // not known is a usual answer
	}
	return &e, err
}

// identity returns the database's, "" if it has none.
func identity(ctx context.Context, tx pgx.Tx) (id string, err error) {
	err = tx.QueryRow(ctx, `SELECT id FROM pipeline_database`).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return id, err
}

// Enter implements [store.Ledger].
func (d *Database) Enter(ctx context.Context, a *ihcv1.RunAccepted) (database string, again bool, err error) {
	err = d.alone(ctx, pgx.TxOptions{}, func(tx pgx.Tx) (err error) {
		if again, err = enter(ctx, tx, a); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO pipeline_database (id) VALUES ($1) ON CONFLICT DO NOTHING`, strings.ToLower(rand.Text()))
		if err == nil {
			database, err = identity(ctx, tx)
		}
		return err
	})
	if err == nil {
		d.remember(a)
	}
	return database, again, err
}

// enter makes the row of a run, and says whether that took the name from another.
func enter(ctx context.Context, tx pgx.Tx, a *ihcv1.RunAccepted) (again bool, err error) {
	id := a.GetRequest().GetRunId()
	was, err := known(ctx, tx, id)
	if err != nil {
		return false, err
	}
	if again, err = books.TakesName(was, a); err != nil {
		return false, err
	}
	if again {
		// One that has ended, or will never end, has a name from now on that no run
		// can be asked for under.
		if err := end(ctx, tx, id, store.Failed); err != nil {
			return false, err
		}
		if _, err := tx.Exec(ctx, `UPDATE pipeline_runs SET run_id = $2 WHERE run = $1`, was.Number, books.RetiredName(id, was.Number)); err != nil {
			return false, err
		}
	}
	return again, record(ctx, tx, a)
}

// record writes what a run was accepted with.
func record(ctx context.Context, tx pgx.Tx, a *ihcv1.RunAccepted) error {
	request, scoredBy, err := books.Record(a)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO pipeline_runs AS r (run_id, request, asked, scoring, scored_by, source, program) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (run_id) DO UPDATE SET request = EXCLUDED.request, asked = EXCLUDED.asked, scoring = coalesce(EXCLUDED.scoring, r.scoring), scored_by = EXCLUDED.scored_by,
			source = EXCLUDED.source, program = EXCLUDED.program`,
		a.GetRequest().GetRunId(), string(request), a.GetAsked(), bytesOrNull(run.ScoringDigest(a.GetScoring())), string(scoredBy), a.GetSourceDigest(), version.This().Version)
	return err
}

// Accept implements [store.Ledger].
func (d *Database) Accept(ctx context.Context, a *ihcv1.RunAccepted) error {
	id := a.GetRequest().GetRunId()
	err := d.alone(ctx, pgx.TxOptions{}, func(tx pgx.Tx) error {
		if a.GetDatabase() == "" {
			return record(ctx, tx, a)
		}
		is, err := identity(ctx, tx)
		if err != nil {
			return err
		}
		there, err := known(ctx, tx, id)
		if err != nil {
			return err
		}
		again, err := books.Admit(a, d.name, is, there)
		if err != nil {
			return err
		}
		if again {
			if _, err := enter(ctx, tx, a); err != nil {
				return err
			}
		}
		return record(ctx, tx, a)
	})
	if err == nil && a.GetDatabase() != "" {
		d.remember(a)
	}
	return err
}

// remember notes that a run was found to be the database's.
func (d *Database) remember(a *ihcv1.RunAccepted) {
	d.marks.Store(a.GetRequest().GetRunId(), a.GetAsked())
}

// Confirm implements [store.Database].
func (d *Database) Confirm(ctx context.Context, a *ihcv1.RunAccepted) error {
	if a.GetDatabase() == "" {
		return nil
	}
	id := a.GetRequest().GetRunId()
	err := d.reading(ctx, func(tx pgx.Tx) error {
		ours, err := hasTables(ctx, tx, "pipeline_database", "pipeline_runs")
		if err != nil {
			return err
		}
		if !ours {
			return d.replaced(id)
		}
		is, err := identity(ctx, tx)
		if err != nil {
			return err
		}
		there, err := known(ctx, tx, id)
		if err == nil && (is != a.GetDatabase() || there == nil || there.Asked != a.GetAsked()) {
			err = d.replaced(id)
		}
		return err
	})
	if err == nil {
		d.remember(a)
	}
	return err
}

// checkStill makes sure that a run that was accepted here is still known: that
// the database was not put back to an earlier state since.
func (d *Database) checkStill(ctx context.Context, tx pgx.Tx, id string) error {
	asked, accepted := d.marks.Load(id)
	if !accepted {
		return nil
	}
	there, err := known(ctx, tx, id)
	if err == nil && (there == nil || there.Asked != asked) {
		err = d.replaced(id)
	}
	return err
}
