package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/tables"
	"github.com/ihc-pipeline/ihc/store"
)

// declared is a column as the database declares it.
type declared struct {
	Name, Type              string
	NotNull, Default, Bytes bool // Bytes: texts that differ in a byte are never one
}

// describe returns the columns of a table or view, none where it is not there.
func describe(ctx context.Context, tx pgx.Tx, name string) (columns []declared, err error) {
	rows, err := tx.Query(ctx, `SELECT a.attname::text, format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL), a.attnotnull, a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> '',
			coalesce(c.collisdeterministic, true)
		FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_collation c ON c.oid = a.attcollation
		WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`, name)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[declared])
}

// identifier quotes a name for SQL.
func identifier(name string) string { return pgx.Identifier{name}.Sanitize() }

// content is what a column of the contract holds, whatever its type.
type content int

const (
	aText content = iota
	aDate
	aTime
	aFlag
	aNumber
)

// cast returns the term that reads a column: text as it is, dates and times of day
// in UTC and written as in text, flags as 0 and 1, numbers as double precision.
// What is of another type is read as its text.
func (d declared) cast(as content) string {
	c := identifier(d.Name)
	moment := strings.HasPrefix(d.Type, "timestamp")
	switch {
	case as == aDate && (d.Type == "date" || moment):
		return `to_char(` + c + `, 'YYYY-MM-DD')` // the session's time zone is UTC
	case as == aTime && moment:
		return c + `::time::text`
	case as == aTime && d.Type == "time with time zone":
		return `(` + c + ` AT TIME ZONE 'UTC')::time::text`
	case as == aFlag && d.Type == "boolean":
		return c + `::integer::bigint`
	case as == aFlag && d.numeric():
		return c + `::bigint`
	case as == aNumber && d.Type == "real": // the number that is written, and not the one next to it
		return c + `::text::double precision`
	case as == aNumber && d.Type == "money":
		return c + `::numeric::double precision`
	case as == aNumber && d.numeric():
		return c + `::double precision`
	case d.Type == "text" && d.Bytes:
		return c
	case d.Bytes:
		return c + `::text`
	}
	return c + `::text COLLATE "C"`
}

// numeric says whether the column's type is one of numbers.
func (d declared) numeric() bool {
	switch d.Type {
	case "smallint", "integer", "bigint", "numeric", "real", "double precision":
		return true
	}
	return false
}

// column is a column that the contract asks for.
type column struct {
	name string
	content
}

// contract is the columns of the tables that are read, whose first names a row.
var contract = map[string][]column{
	tables.SessionSources: {{"session_id", aText}, {"user_id", aText}, {"event_date", aDate}, {"event_time", aTime}, {"channel_name", aText},
		{"holder_engagement", aFlag}, {"closer_engagement", aFlag}, {"impression_interaction", aFlag}},
	tables.Conversions:  {{"conv_id", aText}, {"user_id", aText}, {"conv_date", aDate}, {"conv_time", aTime}, {"revenue", aNumber}},
	tables.SessionCosts: {{"session_id", aText}, {"cost", aNumber}},
}

// sources are the tables that are read, as terms that stand for them in a FROM:
// with the columns of the contract, cast, and amounts also in the units that are
// summed.
type sources map[string]string

func findSources(ctx context.Context, tx pgx.Tx) (sources, error) {
	s := sources{`{attributions}`: attributions}
	for table, want := range contract {
		found, err := describe(ctx, tx, table)
		if err != nil {
			return nil, err
		}
		s["{"+table+"}"] = view(table, want, found)
	}
	s["{sessions}"], s["{costs}"] = s["{"+tables.SessionSources+"}"], s["{"+tables.SessionCosts+"}"]
	return s, nil
}

// view returns the term for a table. A column that is not there is read as if it
// were, so that the database says so.
func view(table string, want []column, found []declared) string {
	has := map[string]declared{}
	for _, c := range found {
		has[c.Name] = c
	}
	terms := []string{}
	for _, c := range want {
		d, there := has[c.name]
		if !there {
			d = declared{Name: c.name, Type: "text", Bytes: true}
		}
		term := d.cast(c.content)
		switch { // what validation refuses is not read; the query has to be one all the same
		case c.content == aFlag && !d.numeric() && d.Type != "boolean":
			term = "(" + term + ")::bigint"
		case c.content == aNumber && !d.numeric() && d.Type != "money":
			term = "(" + term + ")::double precision"
		}
		terms = append(terms, term+" AS "+c.name)
	}
	switch table {
	case tables.SessionSources: // another column may be asked for: see [summing.dimension]
		return `(SELECT ` + strings.Join(terms, ", ") + `{other} FROM session_sources)`
	case tables.Conversions:
		return amounts(`SELECT `+strings.Join(terms, ", ")+` FROM conversions`, "revenue", "10000")
	default:
		return amounts(`SELECT `+strings.Join(terms, ", ")+` FROM session_costs`, "cost", "1000000")
	}
}

// amounts adds to a query of amounts a column units: the integers nearest to the
// amount in a unit, with halves away from zero, as [unit.MoneyOf] has them.
// PostgreSQL's own round has halves to the even.
func amounts(query, amount, unit string) string {
	return `(SELECT x.*, (trunc(scaled) + CASE WHEN abs(scaled - trunc(scaled)) >= 0.5 THEN sign(scaled) ELSE 0 END)::bigint AS units
		FROM (SELECT s.*, coalesce(` + amount + `, 0) * ` + unit + ` AS scaled FROM (` + query + `) s) x)`
}

// attributions is the users' table with shares as whole numbers of their
// [store.ShareDecimals]. What is no share of a conversion, 0 to 1, since another
// program wrote it, is odd: the same number, where it is one that can be summed.
var attributions = fmt.Sprintf(`(SELECT conv_id::text AS conv_id, session_id::text AS session_id, NOT coalesce(ihc BETWEEN 0 AND 1, false) AS odd,
	CASE WHEN ihc BETWEEN 0 AND 1 THEN floor(ihc::double precision * 1e%[1]d + 0.5)::bigint WHEN ihc BETWEEN -100 AND 100 THEN round(ihc::double precision * 1e%[1]d)::bigint ELSE 0 END AS share
	FROM attribution_customer_journey)`, store.ShareDecimals)

// in replaces the names of sources in a query, after those of the pairs.
func (s sources) in(query string, pairs ...string) string {
	for len(pairs) > 1 {
		query, pairs = strings.ReplaceAll(query, pairs[0], pairs[1]), pairs[2:]
	}
	for name, term := range s {
		query = strings.ReplaceAll(query, name, term)
	}
	return strings.ReplaceAll(query, "{other}", "")
}
