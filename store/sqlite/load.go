package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"path/filepath"

	"github.com/mattn/go-sqlite3"

	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/internal/tables"
)

// GenerateShop makes up a shop (see [shop.Generate]) in a new file at path,
// whole or not at all. An existing file is an input error unless replace is
// set, trouble with the disk an environment error.
func GenerateShop(ctx context.Context, path string, cfg shop.Config, replace bool) (shop.Stats, error) {
	var stats shop.Stats
	err := Place(path, replace, func(temp string) error {
		return Explain(path, load(ctx, temp, func(l *loader) (err error) {
			stats, err = shop.Generate(ctx, cfg, l)
			return err
		}))
	})
	return stats, err
}

// load fills the source tables of a new database at path. No journal is kept:
// an unfinished file is thrown away by the caller.
func load(ctx context.Context, path string, fill func(*loader) error) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	dsn := url.URL{Scheme: "file", Path: filepath.ToSlash(abs),
		RawQuery: "_journal_mode=OFF&_synchronous=OFF&_locking_mode=EXCLUSIVE&_cache_size=-65536"}
	db, err := sql.Open("sqlite3", dsn.String())
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // without a journal nothing is left to do on closing
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, InputSchema); err != nil {
		return err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return raw(conn, func(c *sqlite3.SQLiteConn) error {
		if _, err := c.ExecContext(ctx, "BEGIN", nil); err != nil {
			return err
		}
		l := newLoader(c)
		if err := errors.Join(fill(l), l.close()); err != nil {
			return err
		}
		_, err := c.ExecContext(ctx, "COMMIT", nil)
		return err
	})
}

// loader takes rows of the source tables.
type loader struct{ sessions, conversions, costs *rows }

func newLoader(c *sqlite3.SQLiteConn) *loader {
	into := func(table, row string, width int) *rows {
		return newRows(c, "INSERT INTO "+table+" VALUES ", row, "", width, 50)
	}
	return &loader{into(tables.SessionSources, "(?,?,?,?,?,?,?,?)", 8), into(tables.Conversions, "(?,?,?,?,?)", 5), into(tables.SessionCosts, "(?,?)", 2)}
}

func (l *loader) Session(id, user, date, clock, channel string, holder, closer, impression bool) error {
	return l.sessions.add(id, user, date, clock, channel, bit(holder), bit(closer), bit(impression))
}

func (l *loader) Conversion(id, user, date, clock string, revenue float64) error {
	return l.conversions.add(id, user, date, clock, revenue)
}

func (l *loader) Cost(session string, cost float64) error { return l.costs.add(session, cost) }

// close writes what is left over.
func (l *loader) close() (err error) {
	for _, r := range []*rows{l.sessions, l.conversions, l.costs} {
		err = errors.Join(err, r.flush(), r.close())
	}
	return err
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
