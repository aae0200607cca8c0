package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/tables"
)

// A source is read where it lies if it is a table whose ids are texts. Of a view,
// and of a table whose ids are numbers or blobs, whatever reads it first makes a
// copy with ids as texts: a temporary table of the same name, which to SQLite
// comes before the user's on the connection that made it. So every query is
// written once, for tables. A copy is of the state of the database that the rest
// is read from, and ends with the transaction or connection it was made in.

// connection is a connection or a transaction on one.
type connection interface {
	queryer
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// reading is what a question reads of the sources.
type reading struct {
	tables []string
	byID   bool     // it looks for rows by their ids
	also   []string // columns of session_sources beside those of the contract
}

var (
	allByID     = reading{tables: []string{tables.SessionSources, tables.Conversions, tables.SessionCosts}, byID: true}
	salesByID   = reading{tables: []string{tables.Conversions}, byID: true}
	visitsSales = reading{tables: []string{tables.SessionSources, tables.Conversions}}
	visitsCosts = reading{tables: []string{tables.SessionSources, tables.SessionCosts}, byID: true}
	noSource    = reading{}
)

// isID says whether a column holds ids.
func (c column) isID() bool { return strings.HasSuffix(c.name, "_id") }

// standIns makes a copy of each of the sources that cannot be read as it is, in
// the transaction that c is in, and says whether there is any.
func standIns(ctx context.Context, c connection, what reading) (made bool, err error) {
	for _, t := range inputTables {
		if !slices.Contains(what.tables, t.name) {
			continue
		}
		kind, cols, err := describe(ctx, c, t.name)
		is := false
		if err == nil {
			is, err = plain(ctx, c, t, kind, cols)
		}
		if err == nil && !is {
			made = true
			err = standIn(ctx, c, t, cols, what)
		}
		if err != nil {
			return made, unreadable(t.name, err)
		}
	}
	return made, nil
}

// plain says whether a source is a table, or not there, and all of its ids are
// texts or NULL. Where columns are declared as text nothing is read to know it:
// what else is in them is for validation to tell.
func plain(ctx context.Context, c connection, t table, kind string, cols []declared) (bool, error) {
	if kind == "view" {
		return false, nil
	}
	for _, id := range t.columns {
		i := slices.IndexFunc(cols, id.named)
		if !id.isID() || i < 0 || cols[i].textual() {
			continue
		}
		var others bool
		err := c.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM main.`+t.name+` WHERE typeof(`+id.name+`) NOT IN ('text', 'null'))`).Scan(&others)
		if err != nil || others {
			return false, err
		}
	}
	return true, nil
}

// standIn makes the copy of one source. Its columns have no type, so that all
// values but ids are what they are in the source, and the source's collations.
func standIn(ctx context.Context, c connection, t table, cols []declared, what reading) error {
	var columns, values []string
	for _, col := range t.columns {
		definition, value := col.name, col.name
		if col.text {
			name, unknown, err := collation(ctx, c, "main."+t.name, col.name)
			if err != nil {
				return err
			}
			if unknown != "" {
				return errors.New(noCollation + unknown)
			}
			definition += " COLLATE " + name
		}
		if col.isID() {
			value = strings.ReplaceAll(idAsText, "$id", col.name)
		}
		columns, values = append(columns, definition), append(values, value)
	}
	for _, name := range what.also {
		if t.name == tables.SessionSources && slices.ContainsFunc(cols, column{name: name}.named) {
			columns, values = append(columns, identifier(name)), append(values, identifier(name))
		}
	}
	statements := []string{
		`PRAGMA temp.cache_size = -16384`,
		`DROP TABLE IF EXISTS temp.` + t.name,
		`CREATE TEMP TABLE ` + t.name + ` (` + strings.Join(columns, ", ") + `)`,
		`INSERT INTO temp.` + t.name + ` SELECT ` + strings.Join(values, ", ") + ` FROM main.` + t.name,
	}
	if what.byID {
		statements = append(statements, `CREATE INDEX temp.pipeline_`+t.name+`_id ON `+t.name+` (`+t.columns[0].name+`)`)
	}
	return writable(ctx, c, statements)
}

// idAsText is an id as text: of whole numbers their digits, so that 7 and 7.0,
// which SQLite holds for equal, are one id, and of blobs their bytes. What is
// none stays what it is, for validation to tell.
const idAsText = `CASE typeof($id) WHEN 'integer' THEN CAST($id AS text)
	WHEN 'real' THEN iif(abs($id) < 9007199254740992.0 AND $id = CAST($id AS integer), CAST(CAST($id AS integer) AS text), $id)
	WHEN 'blob' THEN ` + blobInSQL + `($id) ELSE $id END`

// blobInSQL is [textOfBlob] in SQL. A cast would take the bytes for UTF-16 where
// the database is in that.
const blobInSQL = "pipeline_text_of_blob"

// textOfBlob returns the text that a blob is the UTF-8 of, and otherwise the blob.
func textOfBlob(blob []byte) any {
	if utf8.Valid(blob) {
		return string(blob)
	}
	return blob
}

// writable runs statements that write to temporary tables alone, also on a
// connection that may write nothing.
func writable(ctx context.Context, c connection, statements []string) (err error) {
	var only bool
	if err := c.QueryRowContext(ctx, `PRAGMA query_only`).Scan(&only); err != nil {
		return err
	}
	if only {
		statements = append([]string{`PRAGMA query_only = 0`}, statements...)
		defer func() {
			_, again := c.ExecContext(context.WithoutCancel(ctx), `PRAGMA query_only = 1`)
			err = errors.Join(err, again)
		}()
	}
	for _, statement := range statements {
		if err := interruptible(ctx, c, statement); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// interruptible runs a statement that may take for ever, as one that reads a view without end
// does. It is asked as a query: the driver has a goroutine do what is executed, and
// does not interrupt it where ctx ends before that has come to begin.
func interruptible(ctx context.Context, c connection, statement string) error {
	rows, err := c.QueryContext(ctx, statement)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() { // there are none
	}
	return rows.Err()
}

// unreadable tells that a source cannot be read, which is the user's to put
// right, unless err is one of the environment.
func unreadable(table string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errkind.KindOf(Explain("", err)) != errkind.Run {
		return err
	}
	return errkind.Inputf("%s cannot be read: %w; correct it, `ihc validate` tells when it can be", table, err)
}

// inOne calls do in a transaction in which nothing of the database is written.
func inOne(ctx context.Context, conn *sql.Conn, do func() error) error {
	if _, err := conn.ExecContext(ctx, `BEGIN`); err != nil {
		return err
	}
	end := `ROLLBACK`
	err := do()
	if err == nil {
		end = `COMMIT`
	}
	_, ended := conn.ExecContext(context.WithoutCancel(ctx), end)
	return errors.Join(err, ended)
}

// withSources calls do with a connection that sees one state of the database,
// and in it the sources that are read as tables with ids of text. Nothing that it
// makes is kept.
func withSources(ctx context.Context, conn *sql.Conn, what reading, do func() error) error {
	if _, err := conn.ExecContext(ctx, `BEGIN`); err != nil {
		return err
	}
	defer conn.ExecContext(context.WithoutCancel(ctx), `ROLLBACK`) //nolint:errcheck // nothing was written
	if _, err := standIns(ctx, conn, what); err != nil {
		return err
	}
	return do()
}

// withSources calls do while the sources that are read are tables with ids of
// text on the writing connection.
func (tx transaction) withSources(ctx context.Context, what reading, do func() error) error {
	stood, err := standIns(ctx, tx, what)
	if err != nil {
		return err
	}
	if err := do(); err != nil || !stood {
		return err
	}
	return dropStandIns(ctx, tx)
}

// dropStandIns takes the copies away, so that what comes after on the same
// connection does not take them for the sources.
func dropStandIns(ctx context.Context, c connection) error {
	for _, t := range inputTables {
		if _, err := c.ExecContext(ctx, `DROP TABLE IF EXISTS temp.`+t.name); err != nil {
			return fmt.Errorf("drop the copy of %s: %w", human.QuoteText(t.name), err)
		}
	}
	return nil
}
