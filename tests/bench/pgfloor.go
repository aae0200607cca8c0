package main

import (
	"bytes"
	"fmt"
	"io"
	"time"
)

// pgFloor is the least that a run could take by the tables that PostgreSQL has: the
// sessions copied out in the order of journeys, the journal copied in beside that,
// then the table of results, and then one statement that adds up.
type pgFloor struct{ sessions, journal, results, sum, cpu float64 } // in seconds

func (f pgFloor) seconds() float64 { return max(f.sessions, f.journal) + f.results + f.sum }

func (f pgFloor) String() string {
	return fmt.Sprintf("sessions out in order %.1f s beside the journal in %.1f s, results in %.1f s, one statement that adds up %.1f s", f.sessions, f.journal, f.results, f.sum)
}

// copiedRows are the rows of a table that a run writes, and their order.
type copiedRows struct{ table, columns, order string }

var (
	journalRows = copiedRows{"pipeline_journeys", "run, chunk, conv_id, fingerprint, sessions, ihc, phases, strategy, left_out, model, scored, seal", "journey"}
	resultRows  = copiedRows{"attribution_customer_journey", "conv_id, session_id, ihc", "conv_id, session_id"}
)

const (
	inOrder = `COPY (SELECT * FROM session_sources ORDER BY user_id COLLATE "C", event_date COLLATE "C", event_time COLLATE "C") TO STDOUT (FORMAT binary)`
	// addsUp is what a report adds up, and nothing else.
	addsUp = `WITH costs AS (SELECT channel_name, event_date, sum(cost) AS cost FROM session_sources LEFT JOIN session_costs USING (session_id) GROUP BY 1, 2),
	credits AS (SELECT channel_name, event_date, sum(ihc) AS ihc, sum(ihc * revenue) AS revenue FROM ` + inSchema + `.attribution_customer_journey
		JOIN session_sources USING (session_id) JOIN conversions USING (conv_id) GROUP BY 1, 2)
	SELECT sum(cost), sum(ihc), sum(revenue) FROM costs LEFT JOIN credits USING (channel_name, event_date)`
)

// floor measures it with the rows of the run that the schema holds. Of CPU it counts
// the server's and that of this process.
func (o *onPostgres) floor() (f pgFloor, err error) {
	taken := func(into *float64, do func() error) error {
		begun, cpu := time.Now(), cpuOf(o.server)+ownCPU()
		err := do()
		*into, f.cpu = time.Since(begun).Seconds(), f.cpu+cpuOf(o.server)+ownCPU()-cpu
		return err
	}
	err = taken(&f.sessions, func() error {
		_, err := o.conn.PgConn().CopyTo(o.b.ctx, io.Discard, inOrder)
		return err
	})
	if err == nil {
		err = taken(&f.sum, func() error {
			_, err := o.conn.Exec(o.b.ctx, addsUp)
			return err
		})
	}
	for _, part := range []struct {
		into *float64
		of   copiedRows
	}{{&f.journal, journalRows}, {&f.results, resultRows}} {
		if err == nil {
			*part.into, _, err = o.copyAgain(part.of)
			f.cpu += o.copying
		}
	}
	return f, err
}

// copyAgain copies the rows of a table, in an order, as the server itself writes
// them, into an empty one like it, and returns the seconds that took.
func (o *onPostgres) copyAgain(of copiedRows) (seconds float64, rows int64, err error) {
	b, db, from, to := o.b, o.conn.PgConn(), inSchema+"."+of.table, inSchema+".copied"
	var held bytes.Buffer
	if _, err := db.CopyTo(b.ctx, &held, `COPY (SELECT `+of.columns+` FROM `+from+` ORDER BY `+of.order+`) TO STDOUT (FORMAT binary)`); err != nil {
		return 0, 0, err
	}
	for _, statement := range []string{`DROP TABLE IF EXISTS ` + to, `CREATE TABLE ` + to + ` (LIKE ` + from + ` INCLUDING ALL)`, `CHECKPOINT`,
		`SELECT set_config('default_toast_compression', 'lz4', false) FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)`} {
		if _, err := o.conn.Exec(b.ctx, statement); err != nil {
			return 0, 0, err
		}
	}
	begun, cpu := time.Now(), cpuOf(o.server)+ownCPU()
	copied, err := db.CopyFrom(b.ctx, io.Reader(&held), `COPY `+to+` (`+of.columns+`) FROM STDIN (FORMAT binary)`)
	o.copying = cpuOf(o.server) + ownCPU() - cpu
	return time.Since(begun).Seconds(), copied.RowsAffected(), err
}

// ratios returns those of figures that were taken in pairs.
func ratios(of, to []float64) (all []float64) {
	for i := range of {
		all = append(all, of[i]/to[i])
	}
	return all
}
