package snapshot

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/tables"
)

// left are the tables that a run leaves, each with a query for what of it does
// not depend on the order in which results arrived, or on when.
var left = map[string]string{
	tables.CustomerJourney:  `SELECT conv_id, session_id, ihc FROM attribution_customer_journey`,
	tables.ChannelReporting: `SELECT channel_name, date, cost, ihc, ihc_revenue FROM channel_reporting`,
	"pipeline_runs":         `SELECT run_id, status, request, model, expected_chunks, expected_range FROM pipeline_runs`,
	"pipeline_chunks":       `SELECT run_id, chunk, c.revision, c.requests, c.shown FROM pipeline_chunks c JOIN pipeline_runs USING (run)`,
	"pipeline_counts":       `SELECT run_id, chunk, outcome, conversions, touchpoints FROM pipeline_counts JOIN pipeline_runs USING (run)`,
	"pipeline_outcomes":     `SELECT run_id, chunk, conv_id, outcome, reason, sessions FROM pipeline_outcomes JOIN pipeline_runs USING (run)`,
	"pipeline_journeys":     `SELECT run_id, chunk, conv_id, length(fingerprint), sessions, ihc, strategy, left_out, j.model FROM pipeline_journeys j JOIN pipeline_runs USING (run)`,
	"pipeline_latest":       `SELECT l.conv_id, run_id, chunk FROM pipeline_latest l LEFT JOIN pipeline_journeys USING (journey) LEFT JOIN pipeline_runs USING (run)`,
}

// TakePostgres reads what runs left in a PostgreSQL database, as [Take] reads a
// file: the users' two tables are written alike.
func TakePostgres(ctx context.Context, dsn string) (Tables, error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx) //nolint:errcheck // only read
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, err
	}
	defer tx.Rollback(ctx) //nolint:errcheck // only read
	all := Tables{}
	for table, query := range left {
		rows, err := tx.Query(ctx, query)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", table, err)
		}
		all[table], err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
			values, err := row.Values()
			return Row(values), err
		})
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", table, err)
		}
		slices.Sort(all[table])
	}
	return all, nil
}
