package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"

	"github.com/mattn/go-sqlite3"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
)

// A database may be from anywhere, and what is in its schema runs in whoever
// opens it. https://www.sqlite.org/security.html says what to do about that.
// Its defensive mode, which keeps SQL from harming the file, this driver cannot
// switch on; but no SQL of a file's own that writes ever runs: see checkSchema.

// longestValue is how many bytes a text or blob, or a row, may have: more than
// any the pipeline writes, and little enough to be held in memory.
const longestValue = 64 << 20

// guarded opens connections that trust nothing that is in the file at the DSN.
type guarded struct{ dsn string }

func (g guarded) Connect(context.Context) (driver.Conn, error) { return g.Driver().Open(g.dsn) }

func (g guarded) Driver() driver.Driver { return &sqlite3.SQLiteDriver{ConnectHook: guard} }

// guard keeps functions with side effects out of the schema's expressions and
// has pages looked over before they are believed. Beside SQLite's own functions
// there are ours.
func guard(c *sqlite3.SQLiteConn) error {
	c.SetLimit(sqlite3.SQLITE_LIMIT_LENGTH, longestValue)
	if err := errors.Join(c.RegisterFunc(dateInZone, dateIn, true), c.RegisterFunc(intactInSQL, intact, true), c.RegisterFunc(blobInSQL, textOfBlob, true)); err != nil {
		return err
	}
	_, err := c.Exec(`PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON`, nil)
	return err
}

// ours are the tables that the pipeline writes, as a term about the column.
func ours(column string) string {
	return `(lower(` + column + `) IN ('attribution_customer_journey', 'channel_reporting') OR lower(` + column + `) LIKE 'pipeline\_%' ESCAPE '\')`
}

// queryer is a connection or a transaction.
type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// checkSchema refuses triggers that would run on what the pipeline writes, of
// which one could empty the users' tables, and views in place of its tables.
func checkSchema(ctx context.Context, db queryer, path string) error {
	var kind, name, table string
	err := db.QueryRowContext(ctx, `SELECT type, name, tbl_name FROM main.sqlite_schema
		WHERE type IN ('trigger', 'view') AND `+ours("tbl_name")+` ORDER BY type, name LIMIT 1`).Scan(&kind, &name, &table)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return err
	case kind == "view" && strings.HasPrefix(strings.ToLower(name), "pipeline_"):
		return errkind.Inputf("a table of database %q is not the pipeline's: %s is a view; rename or drop all tables named pipeline_*, and they are created anew", path, human.QuoteText(name))
	case kind == "view":
		return errkind.Inputf("%s is a view where a table of database %q belongs that the pipeline writes: rename or drop it", human.QuoteText(name), path)
	default:
		return errkind.Inputf("trigger %s of database %[3]q would run on what is written to %[2]s: take it away (DROP TRIGGER %[1]s) and run again", human.QuoteText(name), table, path)
	}
}
