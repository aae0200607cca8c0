// Package postgres is the pipeline's store in a PostgreSQL database: all of its
// SQL, and all that is to be known of such a database. The tables are those of the
// first schema in the search path, so that one database may hold several.
package postgres

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/retry"
	"github.com/ihc-pipeline/ihc/store"
)

// Database is a [store.Database] in PostgreSQL. Any number of processes may use
// it at a time.
type Database struct {
	dsn, name string // how it is reached; what it is called in messages
	// use is held to read while something is done, and to write to close: what
	// is closed between two runs is opened anew by the next.
	use      sync.RWMutex
	opening  sync.Mutex
	pool     *pgxpool.Pool
	lock     string      // how long a lock is waited for before that is told
	prepared atomic.Bool // its tables are there
	lz4      atomic.Bool // the server can; known where its tables are there
	sessions int         // a report holds at a time: [mostSessions], fewer in tests
	marks    sync.Map    // run → when it was asked for, of those that were found to be this database's
}

var _ store.Database = (*Database)(nil)

// New returns the database at an address as libpq takes it: postgres://… Nothing
// is opened yet.
func New(dsn string) *Database {
	return &Database{dsn: dsn, name: strconv.Quote(Shown(dsn)), sessions: mostSessions}
}

// open returns the connections, which are made as they are needed.
func (d *Database) open(ctx context.Context) (*pgxpool.Pool, error) {
	d.opening.Lock()
	defer d.opening.Unlock()
	if d.pool != nil {
		return d.pool, nil
	}
	cfg, err := pgxpool.ParseConfig(d.dsn)
	if err != nil {
		return nil, noAddress(d.name, err)
	}
	cfg.MaxConns = max(cfg.MaxConns, leastConnections)
	params := cfg.ConnConfig.RuntimeParams
	params["timezone"], params["datestyle"], params["client_encoding"] = "UTC", "ISO", "UTF8"
	if params["application_name"] == "" {
		params["application_name"] = "ihc"
	}
	d.lock = lockTimeout
	if set := params["lock_timeout"]; set != "" {
		d.lock = set
		delete(params, "lock_timeout")
	}
	d.pool, err = pgxpool.NewWithConfig(context.WithoutCancel(ctx), cfg)
	return d.pool, err
}

// lockTimeout is how long a lock is waited for before that is told, where the
// address does not say.
const lockTimeout = "30s"

// leastConnections is how many are needed at a time: an extractor reads by two of
// them and asks by a third, for a run as for a slice of another's, and holds a
// snapshot by one. A sweep takes two.
const leastConnections = 10

// Close implements [store.Database].
func (d *Database) Close() error {
	d.use.Lock()
	defer d.use.Unlock()
	if d.pool != nil {
		d.pool.Close()
		d.pool = nil
	}
	d.prepared.Store(false)
	return nil
}

// Check implements [store.Database].
func (d *Database) Check(ctx context.Context) error {
	return d.reading(ctx, func(tx pgx.Tx) error {
		var there bool
		err := tx.QueryRow(ctx, `SELECT current_schema() IS NOT NULL`).Scan(&there)
		if err == nil && !there {
			return errkind.Inputf("database %s has none of the schemas of its search path: create one, or set search_path", d.name)
		}
		return err
	})
}

// reading calls do with a transaction that sees one state of the database.
func (d *Database) reading(ctx context.Context, do func(pgx.Tx) error) error {
	d.use.RLock()
	defer d.use.RUnlock()
	return d.inTransaction(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, do)
}

// ledger calls do with a transaction of a database that has all tables. It is
// called anew where the transaction lost against another one.
func (d *Database) ledger(ctx context.Context, o pgx.TxOptions, do func(pgx.Tx) error) error {
	d.use.RLock()
	defer d.use.RUnlock()
	for try := 1; ; try++ {
		err := d.prepare(ctx)
		if err == nil {
			err = d.inTransaction(ctx, o, do)
		}
		switch {
		case err == nil || try == mostTries:
			return err
		case isCode(err, undefinedTable): // somebody dropped them, and they begin anew
			d.prepared.Store(false)
		case !isCode(err, serializationFailure, deadlock):
			return err
		}
		if err := retry.Sleep(ctx, retry.Real, retry.Lock.Delay(try)); err != nil {
			return err
		}
	}
}

// mostTries is how often a transaction is tried that loses against others.
const mostTries = 8

// alone is ledger for what no other such transaction may be in the way of:
// everything but the storing of results. The state it sees is of when it has the
// lock.
func (d *Database) alone(ctx context.Context, o pgx.TxOptions, do func(pgx.Tx) error) error {
	return d.ledger(ctx, o, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `LOCK TABLE pipeline_latest IN SHARE ROW EXCLUSIVE MODE`); err != nil {
			return err
		}
		return do(tx)
	})
}

// inTransaction calls do in a transaction. Errors are explained for people and
// classified; the end of ctx is told as such.
func (d *Database) inTransaction(ctx context.Context, o pgx.TxOptions, do func(pgx.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := d.transact(ctx, o, do)
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // whatever it led to
	}
	return d.explain(err)
}

func (d *Database) transact(ctx context.Context, o pgx.TxOptions, do func(pgx.Tx) error) (err error) {
	pool, err := d.open(ctx)
	if err != nil {
		return err
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	o.BeginQuery = begin(o, d.lock, conn.Conn().PgConn().ParameterStatus("server_version"))
	tx, err := conn.BeginTx(ctx, o)
	if err != nil {
		return err
	}
	ended := context.WithoutCancel(ctx)
	defer func() {
		if failed := tx.Rollback(ended); err == nil && !errors.Is(failed, pgx.ErrTxClosed) {
			err = failed
		}
	}()
	if err := do(tx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return tx.Commit(ended) // whose outcome nobody would know who gave it up halfway
}

// begin returns the statement that begins a transaction, with how long a lock is
// waited for, on a server of a version.
// What a transaction does may take long, and between two of its statements the
// program has work of its own: timeouts that are meant for people do not end it.
func begin(o pgx.TxOptions, lock, version string) string {
	query := "BEGIN"
	if o.IsoLevel != "" {
		query += " ISOLATION LEVEL " + string(o.IsoLevel)
	}
	if o.AccessMode != "" {
		query += " " + string(o.AccessMode)
	}
	query += `; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL lock_timeout = ` + literal(lock)
	if number, _, _ := strings.Cut(version, "."); len(number) > 1 && number >= "17" {
		query += `; SET LOCAL transaction_timeout = 0`
	}
	return query
}

// fetched reads the rows of a query some thousands at a time, so that do, which is
// called for each, can be followed by after, which writes by the same transaction.
// Where do returns [io.EOF] no more are read.
func fetched(ctx context.Context, tx pgx.Tx, query string, do func(pgx.CollectableRow) error, after func() error) error {
	if err := exec(ctx, tx, []string{`SET LOCAL cursor_tuple_fraction = 1`, `DECLARE fetched NO SCROLL CURSOR FOR ` + query}); err != nil {
		return err
	}
	for {
		rows, err := tx.Query(ctx, `FETCH 10000 FROM fetched`, inBinary...) // what it returns depends on the cursor
		if err != nil {
			return err
		}
		n := 0
		for ; err == nil && rows.Next(); n++ {
			err = do(rows)
		}
		rows.Close()
		enough := errors.Is(err, io.EOF)
		if err == nil || enough {
			err = rows.Err()
		}
		if err == nil {
			err = after()
		}
		if err == nil && (n == 0 || enough) {
			_, err = tx.Exec(ctx, `CLOSE fetched`)
			return err
		}
		if err != nil {
			return err
		}
	}
}
