package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/tables"
	"github.com/ihc-pipeline/ihc/internal/tabular"
)

// textRows reads a table, a view or a query of a SQLite file, as texts.
type textRows struct {
	path    string
	db      *sql.DB
	rows    *sql.Rows
	columns []string
	raw     []any
	values  []string
	line    int64
}

// Rows reads what of the SQLite file at path: a table, a view, or a query that
// begins with SELECT or WITH. The file is only read, and nothing in it trusted.
func Rows(ctx context.Context, path, what string) (tabular.Rows, error) {
	db, err := Open(ctx, path, Read, Readers(1))
	if err != nil {
		return nil, err
	}
	t := &textRows{path: path, db: db}
	if err := t.begin(ctx, what); err != nil {
		if kind := errkind.KindOf(Explain(path, err)); kind != errkind.Run || ctx.Err() != nil {
			return nil, errors.Join(Explain(path, err), db.Close())
		}
		return nil, errors.Join(errkind.Inputf("%s: %q cannot be read: %w; name a table, a view, or a query that begins with SELECT", path, what, err), db.Close())
	}
	return t, nil
}

// Table reads one of the five tables, as [Rows] does, in the order of its key's
// bytes.
func Table(ctx context.Context, path, table string) (tabular.Rows, error) {
	return Rows(ctx, path, `SELECT * FROM `+table+` ORDER BY `+keys[table])
}

// keys are those of the five tables.
var keys = map[string]string{
	tables.SessionSources: `session_id COLLATE BINARY`, tables.Conversions: `conv_id COLLATE BINARY`, tables.SessionCosts: `session_id COLLATE BINARY`,
	tables.CustomerJourney:  `conv_id COLLATE BINARY, session_id COLLATE BINARY`,
	tables.ChannelReporting: `channel_name COLLATE BINARY, date COLLATE BINARY`,
}

func (t *textRows) begin(ctx context.Context, what string) error {
	from := identifier(what)
	if word := strings.ToLower(strings.TrimSpace(what)); strings.HasPrefix(word, "select ") || strings.HasPrefix(word, "with ") {
		from = "(" + strings.TrimSuffix(strings.TrimSpace(what), ";") + ")"
	}
	var err error
	if t.columns, err = columnNames(ctx, t.db, from); err != nil {
		return err
	}
	// As expressions they are what is stored: the driver makes times of columns
	// that are declared so.
	list := make([]string, len(t.columns))
	for i, c := range t.columns {
		list[i] = "+" + identifier(c)
	}
	t.raw, t.values = make([]any, len(list)), make([]string, len(list))
	t.rows, err = t.db.QueryContext(ctx, "SELECT "+strings.Join(list, ", ")+" FROM "+from) //nolint:gosec,gocritic,rowserrcheck // as above; Close closes it, Row tells its error
	return err
}

// columnNames returns the names of the columns of a table or of a query.
func columnNames(ctx context.Context, db *sql.DB, from string) ([]string, error) {
	head, err := db.QueryContext(ctx, "SELECT * FROM "+from+" LIMIT 0") //nolint:gosec // the user's own query, on a file that is only read
	if err != nil {
		return nil, err
	}
	defer head.Close()
	names, err := head.Columns()
	return names, errors.Join(err, head.Err())
}

func identifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func (t *textRows) Columns() []string { return t.columns }
func (t *textRows) Line() int64       { return t.line }
func (t *textRows) Assumed() string   { return "SQLite" }
func (t *textRows) Close() error      { return errors.Join(t.rows.Close(), t.db.Close()) }

func (t *textRows) Next() ([]string, error) {
	if !t.rows.Next() {
		if err := t.rows.Err(); err != nil {
			return nil, Explain(t.path, err)
		}
		return nil, io.EOF
	}
	into := make([]any, len(t.raw))
	for i := range t.raw {
		into[i] = &t.raw[i]
	}
	if err := t.rows.Scan(into...); err != nil {
		return nil, Explain(t.path, err)
	}
	for i, v := range t.raw {
		t.values[i] = asText(v)
	}
	t.line++
	return t.values, nil
}

// asText returns a value as a text that is read back as the same.
func asText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	case []byte:
		return string(v)
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case string:
		return v
	}
	return ""
}
