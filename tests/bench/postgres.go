package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/pgtest"
	"github.com/ihc-pipeline/ihc/store/storetest/pgshop"
)

// postgres starts a server that keeps what is committed, as a user's does.
func (b *bench) postgres() (*pgtest.Server, error) {
	return pgtest.Run(b.ctx, pgtest.Options{Settings: map[string]string{"fsync": "on", "autovacuum": "on", "shared_buffers": "512MB", "max_wal_size": "4GB", "work_mem": "32MB"}})
}

// nightlyServer starts a server with a copy of a file's source tables, and
// returns a function that ends it. Where no server can be started it returns nil,
// and says why.
func (b *bench) nightlyServer(file string) (n *nightly, stop func() error, err error) {
	server, err := b.postgres()
	if err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "no figures of PostgreSQL: %s\n", err)
		return nil, func() error { return nil }, nil
	}
	dsn := server.DSN("postgres")
	if err := pgshop.Copy(b.ctx, file, dsn); err != nil {
		return nil, server.Stop, err
	}
	conn, err := pgx.Connect(b.ctx, dsn)
	if err != nil {
		return nil, server.Stop, err
	}
	stop = func() error { return errors.Join(conn.Close(context.WithoutCancel(b.ctx)), server.Stop()) }
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
	return &nightly{"PostgreSQL", dsn, exec, size}, stop, nil
}
