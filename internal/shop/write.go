package shop

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/ihc-pipeline/ihc/internal/source"
)

// stretch is about how many sessions are held in memory at once.
const stretch = 1_000_000

// write fills a new database at path with what the town does. No journal is
// kept: an unfinished file is thrown away by the caller.
func write(ctx context.Context, path string, t *town, sessions int) (Stats, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return Stats{}, err
	}
	dsn := url.URL{Scheme: "file", Path: filepath.ToSlash(abs),
		RawQuery: "_journal_mode=OFF&_synchronous=OFF&_locking_mode=EXCLUSIVE&_cache_size=-65536"}
	db, err := sql.Open("sqlite3", dsn.String())
	if err != nil {
		return Stats{}, err
	}
	defer db.Close() //nolint:errcheck // without a journal nothing is left to do on closing
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, source.InputSchema); err != nil {
		return Stats{}, err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return Stats{}, err
	}
	defer conn.Close()
	var stats Stats
	err = conn.Raw(func(c any) error {
		stats, err = fill(ctx, c.(*sqlite3.SQLiteConn), t, sessions)
		return err
	})
	return stats, err
}

func fill(ctx context.Context, conn *sqlite3.SQLiteConn, t *town, sessions int) (Stats, error) {
	if _, err := conn.ExecContext(ctx, "BEGIN", nil); err != nil {
		return Stats{}, err
	}
	w := &writer{town: t}
	w.sessions = &inserter{conn: conn, table: source.SessionSources, cols: 8}
	w.orders = &inserter{conn: conn, table: source.Conversions, cols: 5}
	w.costs = &inserter{conn: conn, table: source.SessionCosts, cols: 2}
	defer w.close()
	w.stats.Users = int64(t.customers())
	// Whole days, as many as hold a stretch on average.
	step := int64(max(t.days*stretch/max(sessions, 1), 1)) * day
	var visits []visit
	var orders []order
	for from := t.start; from < t.end(); from += step {
		if err := ctx.Err(); err != nil {
			return Stats{}, err
		}
		visits, orders = t.between(from, min(from+step, t.end()), visits[:0], orders[:0])
		if err := w.add(ctx, visits, orders); err != nil {
			return Stats{}, err
		}
	}
	for _, in := range []*inserter{w.sessions, w.orders, w.costs} {
		if err := in.flush(ctx); err != nil {
			return Stats{}, err
		}
	}
	_, err := conn.ExecContext(ctx, "COMMIT", nil)
	return w.stats, err
}

// writer turns visits and orders, which come in order of time, into rows.
type writer struct {
	town                    *town
	sessions, orders, costs *inserter
	stats                   Stats

	clock  clock
	serial int64 // of the session within its day
	today  string
}

func (w *writer) add(ctx context.Context, visits []visit, orders []order) error {
	for i := range visits {
		if err := w.visit(ctx, &visits[i]); err != nil {
			return err
		}
	}
	for i := range orders {
		o := &orders[i]
		date, time := w.clock.at(o.at)
		w.stats.Conversions++
		w.stats.Touchpoints += int64(o.before)
		w.stats.LongestJourney = max(w.stats.LongestJourney, int64(o.before))
		if o.before == 0 {
			w.stats.WithoutSessions++
		}
		id := fmt.Sprintf("o_%09d_%08x", w.stats.Conversions, uint32(w.scatter(w.stats.Conversions)))
		if err := w.orders.add(ctx, id, w.user(o.user), date, time, float64(o.cents)/100); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) visit(ctx context.Context, v *visit) error {
	date, time := w.clock.at(v.at)
	if date != w.today {
		w.today, w.serial = date, 0
	}
	w.serial++
	w.stats.Sessions++
	tail := hex(w.scatter(-w.stats.Sessions))
	// Ids that grow with time keep the file's indices cheap to build.
	id := date + "_" + decimal(w.serial, 7) + "_" + tail[:8]
	err := w.sessions.add(ctx, id, w.user(v.user), date, time, channels[v.channel].name, bit(v.holder), bit(v.closer), bit(v.seen))
	if err != nil {
		return err
	}
	if v.cost >= 0 {
		if err := w.cost(ctx, id, v.cost); err != nil {
			return err
		}
	}
	if v.orphan {
		return w.cost(ctx, id+"_gone", max(v.cost, 7))
	}
	return nil
}

func (w *writer) cost(ctx context.Context, id string, thousandths int32) error {
	w.stats.Costs++
	return w.costs.add(ctx, id, float64(thousandths)/1000)
}

func (w *writer) user(n uint32) string { return "u_" + hex(w.scatter(int64(n))) }

// scatter makes numbers look drawn, and differ between seeds.
func (w *writer) scatter(n int64) uint64 { return mix(mix(w.town.seed) ^ uint64(n)) }

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// hex and decimal write numbers with a fixed number of digits.
func hex(n uint64) string {
	var b [16]byte
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = "0123456789abcdef"[n&15]
		n >>= 4
	}
	return string(b[:])
}

func decimal(n int64, width int) string {
	b := make([]byte, width)
	for i := width - 1; i >= 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return string(b)
}

// clock writes dates and times; consecutive ones are mostly of the same day.
type clock struct {
	day  int64
	date string
}

func (c *clock) at(unix int64) (date, clockTime string) {
	if d := unix / day; d != c.day || c.date == "" {
		c.day, c.date = d, time.Unix(unix, 0).UTC().Format(time.DateOnly)
	}
	s := unix % day
	return c.date, decimal(s/3600, 2) + ":" + decimal(s/60%60, 2) + ":" + decimal(s%60, 2)
}

// inserter collects rows of one table into statements of many rows.
type inserter struct {
	conn  *sqlite3.SQLiteConn
	table string
	cols  int
	stmt  driver.Stmt // of rowsPerStatement rows; nil before the first
	args  []driver.NamedValue
}

const rowsPerStatement = 50

func (in *inserter) sql(rows int) string {
	row := ",(" + strings.Repeat(",?", in.cols)[1:] + ")"
	return "INSERT INTO " + in.table + " VALUES " + strings.Repeat(row, rows)[1:]
}

func (in *inserter) add(ctx context.Context, row ...driver.Value) error {
	for _, v := range row {
		in.args = append(in.args, driver.NamedValue{Ordinal: len(in.args) + 1, Value: v})
	}
	if len(in.args) < rowsPerStatement*in.cols {
		return nil
	}
	if in.stmt == nil {
		stmt, err := in.conn.PrepareContext(ctx, in.sql(rowsPerStatement))
		if err != nil {
			return err
		}
		in.stmt = stmt
	}
	_, err := in.stmt.(driver.StmtExecContext).ExecContext(ctx, in.args)
	in.args = in.args[:0]
	return err
}

// flush inserts the rows that do not fill a statement.
func (in *inserter) flush(ctx context.Context) error {
	if len(in.args) == 0 {
		return nil
	}
	_, err := in.conn.ExecContext(ctx, in.sql(len(in.args)/in.cols), in.args)
	in.args = in.args[:0]
	return err
}

func (w *writer) close() {
	for _, in := range []*inserter{w.sessions, w.orders, w.costs} {
		if in.stmt != nil {
			_ = in.stmt.Close()
		}
	}
}
