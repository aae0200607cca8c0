package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/pgtest"
	"github.com/ihc-pipeline/ihc/internal/tables"
	"github.com/ihc-pipeline/ihc/store/postgres"
)

// postgres starts a server with a copy of a file's source tables, and returns a
// function that ends it. Where PostgreSQL is not installed it returns nil, and
// says so.
func (b *bench) postgres(file string) (n *nightly, stop func(), err error) {
	o := &owner{ctx: b.ctx}
	server := o.start()
	if server == nil {
		_, _ = fmt.Fprintf(os.Stderr, "no figures of PostgreSQL: %s\n", o.failure)
		return nil, o.end, nil
	}
	dsn := server.DSN("postgres")
	conn, err := pgx.Connect(b.ctx, dsn)
	if err != nil {
		return nil, o.end, err
	}
	stop = func() {
		_ = conn.Close(context.WithoutCancel(b.ctx))
		o.end()
	}
	exec := func(ctx context.Context, statement string, args ...any) error {
		_, err := conn.Exec(ctx, statement, args...)
		return err
	}
	size := func(ctx context.Context) (bytes int64, err error) {
		// What the server does by itself in the course of a day.
		if err := exec(ctx, `VACUUM`); err != nil {
			return 0, err
		}
		err = conn.QueryRow(ctx, `SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace`).Scan(&bytes)
		return bytes, err
	}
	return &nightly{"PostgreSQL", dsn, exec, size}, stop, copySources(b.ctx, file, conn)
}

// copySources makes the source tables and fills them with those of a file.
func copySources(ctx context.Context, file string, into *pgx.Conn) (err error) {
	from, err := sql.Open("sqlite3", file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	if _, err := into.PgConn().Exec(ctx, postgres.InputSchema).ReadAll(); err != nil {
		return err
	}
	for _, table := range []string{tables.SessionSources, tables.Conversions, tables.SessionCosts} {
		if err := copyTable(ctx, from, table, into); err != nil {
			return fmt.Errorf("%s: %w", table, err)
		}
	}
	return nil
}

func copyTable(ctx context.Context, from *sql.DB, table string, into *pgx.Conn) error {
	rows, err := from.QueryContext(ctx, "SELECT * FROM "+table) //nolint:gosec,sqlclosecheck // a name of ours; closed below
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	_, err = into.CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromFunc(func() ([]any, error) {
		if !rows.Next() {
			return nil, rows.Err()
		}
		row, to := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			to[i] = &row[i]
		}
		return row, rows.Scan(to...)
	}))
	return err
}

// owner is whom pgtest starts a server for in the place of a test: until end.
type owner struct {
	testing.TB // the rest of it, which pgtest does not ask for
	ctx        context.Context //nolint:containedctx // as a test has one
	failure    string
	cleanups   []func()
}

// start returns nil where there is no server, and failure says why.
func (o *owner) start() (s *pgtest.Server) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s = pgtest.Start(o, pgtest.Options{})
	}()
	<-done
	return s
}

func (o *owner) Helper()                      {}
func (o *owner) Context() context.Context     { return o.ctx }
func (o *owner) Cleanup(f func())             { o.cleanups = append(o.cleanups, f) }
func (o *owner) Errorf(f string, args ...any) { o.failure = fmt.Sprintf(f, args...) }

// FailNow ends the goroutine of start, as that of a test.
func (o *owner) FailNow() { runtime.Goexit() }

// end ends the server and removes what it had.
func (o *owner) end() {
	for _, f := range slices.Backward(o.cleanups) {
		f()
	}
	o.cleanups = nil
}
