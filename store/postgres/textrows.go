// Package postgres reads PostgreSQL.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/tabular"
)

// textRows are rows of a query as texts: as the server writes them.
type textRows struct {
	ctx     context.Context //nolint:containedctx // of the import, which Next has no other way to
	address string
	conn    *pgx.Conn
	rows    *pgconn.ResultReader
	columns []string
	values  []string
	line    int64
}

// connectTimeout is for a server that does not answer.
const connectTimeout = 30 * time.Second

// Rows reads a table, a view, or a query that begins with SELECT or WITH, of the
// database at an address. It is one read-only transaction, whose rows come as they
// are read: neither side holds all of them. Times are in UTC.
//
// An Environment error is one of the server or the way to it, an Input error one
// of the address or of what is asked for.
func Rows(ctx context.Context, address, what string) (tabular.Rows, error) {
	config, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, noAddress(Shown(address), err)
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	for name, value := range map[string]string{"default_transaction_read_only": "on", "timezone": "UTC", "datestyle": "ISO, YMD", "intervalstyle": "iso_8601",
		"bytea_output": "escape", "extra_float_digits": "3", "client_encoding": "UTF8", "application_name": "ihc import"} {
		config.RuntimeParams[name] = value
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, errkind.As(errkind.Environment, fmt.Errorf("%s: %w", Shown(address), reason(err)))
	}
	t := &textRows{ctx: ctx, address: Shown(address), conn: conn}
	if err := t.begin(what); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// Table reads one of the five tables, in the order of its key's bytes: the columns
// of the contract as texts that an import reads back, whatever their types, others
// as the server writes them.
func Table(ctx context.Context, address, table string) (_ tabular.Rows, err error) {
	d := New(address)
	defer func() { err = errors.Join(err, d.Close()) }()
	var columns []declared
	err = d.reading(ctx, func(tx pgx.Tx) (err error) {
		columns, err = describe(ctx, tx, table)
		return err
	})
	if err != nil {
		return nil, err
	}
	return Rows(ctx, address, exported(table, columns))
}

// exported is the query of [Table].
func exported(table string, columns []declared) string {
	of, keys := contract[table], 1
	for _, o := range results {
		if o.table == table {
			of, keys = o.columns, 2
		}
	}
	var terms []string
	order := make([]string, keys)
	for _, c := range columns {
		term := identifier(c.Name)
		if n := slices.IndexFunc(of, func(o column) bool { return o.name == c.Name }); n >= 0 {
			term = c.cast(of[n].content)
			if n < keys {
				order[n] = term + ` COLLATE "C"`
			}
		}
		terms = append(terms, term+" AS "+identifier(c.Name))
	}
	order = slices.DeleteFunc(order, func(term string) bool { return term == "" })
	if len(terms) == 0 || len(order) == 0 {
		return "SELECT * FROM " + identifier(table)
	}
	return "SELECT " + strings.Join(terms, ", ") + " FROM " + identifier(table) + " ORDER BY " + strings.Join(order, ", ")
}

// begin asks for the rows. The query is described first: the server then takes
// one statement alone, whatever follows a semicolon.
func (t *textRows) begin(what string) error {
	query := "SELECT * FROM " + qualified(what)
	if word := strings.ToLower(strings.TrimSpace(what)); strings.HasPrefix(word, "select") && !isName(word) || strings.HasPrefix(word, "with ") || strings.HasPrefix(word, "with\n") {
		query = strings.TrimSuffix(strings.TrimSpace(what), ";")
	}
	described, err := t.conn.PgConn().Prepare(t.ctx, "rows", query, nil)
	if err != nil {
		return t.explain(err, what)
	}
	if len(described.Fields) == 0 {
		return errkind.Inputf("%s: %q gives no rows; name a table, a view, or a query that begins with SELECT", t.address, what)
	}
	for _, f := range described.Fields {
		t.columns = append(t.columns, f.Name)
	}
	t.values = make([]string, len(t.columns))
	t.rows = t.conn.PgConn().ExecPrepared(t.ctx, "rows", nil, nil, nil)
	return nil
}

func isName(word string) bool { return !strings.ContainsAny(word, " \t\n(*") }

// qualified quotes the name of a table, after that of its schema where it has one.
func qualified(name string) string {
	return pgx.Identifier(strings.SplitN(name, ".", 2)).Sanitize()
}

// explain says what an error of the server means.
func (t *textRows) explain(err error, what string) error {
	var of *pgconn.PgError
	switch {
	case t.ctx.Err() != nil:
		return t.ctx.Err()
	case errors.As(err, &of) && (strings.HasPrefix(of.Code, "42") || strings.HasPrefix(of.Code, "22") || strings.HasPrefix(of.Code, "25") || strings.HasPrefix(of.Code, "0A")):
		return errkind.Inputf("%s: %q cannot be read: %s; name a table, a view, or a query that begins with SELECT, which only reads", t.address, what, of.Message)
	}
	return errkind.As(errkind.Environment, fmt.Errorf("%s: %w", t.address, reason(err)))
}

// reason takes out of an error of pgx what it says of the address, which may
// have the password.
func reason(err error) error {
	var of *pgconn.PgError
	if errors.As(err, &of) {
		return errors.New(of.Message)
	}
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		return &worded{connect, err}
	}
	for next := err; next != nil; next = errors.Unwrap(next) {
		err = next
	}
	return err
}

func (t *textRows) Columns() []string { return t.columns }
func (t *textRows) Line() int64       { return t.line }
func (t *textRows) Assumed() string   { return "PostgreSQL" }

func (t *textRows) Next() ([]string, error) {
	if !t.rows.NextRow() {
		if _, err := t.rows.Close(); err != nil {
			return nil, t.explain(err, "the rows")
		}
		return nil, io.EOF
	}
	values := t.rows.Values()
	if len(values) != len(t.columns) { // the table was altered since it was described, or the server is none
		return nil, errkind.As(errkind.Environment, fmt.Errorf("%s: a row of %d values for %d columns; was a table altered? Import again", t.address, len(values), len(t.columns)))
	}
	for i, v := range values {
		t.values[i] = string(v)
	}
	t.line++
	return t.values, nil
}

// Close ends the connection, also in the middle of the rows.
func (t *textRows) Close() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), time.Second)
	defer cancel()
	_ = t.conn.PgConn().Close(ctx)
	return nil
}
