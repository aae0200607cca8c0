package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/books"
)

// replaced says that the database is not the one a run began on.
func (d *Database) replaced(id string) error {
	return books.Refuse("the database at %s is not the one that run %s began on: it was replaced; ask for the run again", d.name, id)
}

// entered is what pipeline_runs says of who a run is.
type entered struct {
	number         int64
	asked, request string
}

// known returns a run's, nil if it is not known.
func known(ctx context.Context, tx pgx.Tx, id string) (*entered, error) {
	var e entered
	err := tx.QueryRow(ctx, `SELECT run, asked, request FROM pipeline_runs WHERE run_id = $1`, id).Scan(&e.number, &e.asked, &e.request)
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
	if was != nil && was.asked != a.GetAsked() {
		if before, err := run.Decode([]byte(was.request)); err != nil || !run.Same(before, a.GetRequest()) {
			return false, books.Refuse("run id %s was used on this database for another request (%s): choose another run_id, or leave it empty", id, run.Describe(before))
		}
		// One that has ended, or will never end, has a name from now on that no run
		// can be asked for under.
		if err := end(ctx, tx, id, store.Failed); err != nil {
			return false, err
		}
		if _, err := tx.Exec(ctx, `UPDATE pipeline_runs SET run_id = $2 WHERE run = $1`, was.number, fmt.Sprintf("%s@%d", id, was.number)); err != nil {
			return false, err
		}
		again = true
	}
	return again, record(ctx, tx, a)
}

// record writes what a run was accepted with.
func record(ctx context.Context, tx pgx.Tx, a *ihcv1.RunAccepted) error {
	request, err := run.JSON(a.GetRequest(), "")
	if err != nil {
		return err
	}
	scoredBy := []byte{}
	if a.GetScoring() != nil {
		if scoredBy, err = (protojson.MarshalOptions{UseProtoNames: true}).Marshal(a.GetScoring()); err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, `INSERT INTO pipeline_runs AS r (run_id, request, asked, scoring, scored_by) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (run_id) DO UPDATE SET request = EXCLUDED.request, asked = EXCLUDED.asked, scoring = coalesce(EXCLUDED.scoring, r.scoring), scored_by = EXCLUDED.scored_by`,
		a.GetRequest().GetRunId(), string(request), a.GetAsked(), bytesOrNull(run.ScoringDigest(a.GetScoring())), string(scoredBy))
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
		switch replay := a.GetRequest().GetReplayOf() != ""; {
		case err != nil:
			return err
		case replay && is != a.GetDatabase():
			return books.Refuse("the database at %s is not the one that run %s began on, which run %s replays: replay it there, or ask for a new run", d.name, a.GetRequest().GetReplayOf(), id)
		case is != a.GetDatabase(), there == nil && !replay:
			return d.replaced(id)
		case there != nil && there.asked != a.GetAsked() && !replay:
			return books.Refuse("run %s of database %s was asked for at another time (%s, not %s)", id, d.name, there.asked, a.GetAsked())
		case there != nil && there.asked != a.GetAsked():
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
		if err == nil && (is != a.GetDatabase() || there == nil || there.asked != a.GetAsked()) {
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
	if err == nil && (there == nil || there.asked != asked) {
		err = d.replaced(id)
	}
	return err
}
