package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/cespare/xxhash/v2"
	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/tables"
	"github.com/mattn/go-sqlite3"
	"golang.org/x/sync/errgroup"
)

// maxChannels bounds the memory for channel names.
const maxChannels = 100_000

// scan is one pass over one table, or over a span of it.
type scan struct {
	table table
	span  RowRange
	order binary.AppendByteOrder // of a database in UTF-16
	row   []driver.Value         // its columns, and behind them what is stored of those of text in UTF-16

	rows    int64
	digest  uint64              // the sum of those of the rows
	buffer  []byte              // a row, to be digested
	tallies []map[string]*tally // by column, then code
	dates   map[string]int64    // rows by date, readable ones; few in any shop

	channels map[string]int64 // rows by channel name
	crowded  bool             // there are more than maxChannels
}

// tally counts the rows that break a rule.
type tally struct {
	rule    findings.Rule
	count   int64
	example string
}

// scan reads all rows of a table once, in spans side by side, and reports on
// every value. What is found first in the table's order is the example.
func (v *validation) scan(ctx context.Context, t table) error {
	conn, err := v.db.Conn(ctx)
	if err != nil {
		return err
	}
	spans, err := RowRanges(ctx, conn, t.name, v.rows)
	if err := errors.Join(err, conn.Close()); err != nil {
		return err
	}
	whole := newScan(t, RowRange{}, v.order)
	var mu sync.Mutex
	done := map[int]*scan{} // that wait for an earlier one, few at any time
	taken := 0
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(v.db.Stats().MaxOpenConnections, 1))
	for i, span := range spans {
		g.Go(func() error {
			s := newScan(t, span, v.order)
			if err := s.run(ctx, v.db); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			done[i] = s
			for ; done[taken] != nil; taken++ {
				whole.take(done[taken])
				delete(done, taken)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	v.conclude(whole)
	return nil
}

func newScan(t table, span RowRange, order binary.AppendByteOrder) *scan {
	s := &scan{table: t, span: span, order: order, tallies: make([]map[string]*tally, len(t.columns)), dates: map[string]int64{}}
	if t.name == tables.SessionSources {
		s.channels = map[string]int64{}
	}
	return s
}

// run reads the rows from the driver itself: database/sql would double the
// time.
func (s *scan) run(ctx context.Context, db *sql.DB) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Raw(func(c any) error {
		q, ok := c.(*sqlite3.SQLiteConn)
		if !ok {
			return fmt.Errorf("the database is opened by another driver than go-sqlite3: %T", c)
		}
		rows, err := ask(ctx, q, s.query(), s.span.Args())
		if err != nil {
			return err
		}
		defer rows.Close() //nolint:errcheck // only read
		return s.read(rows)
	})
}

// take adds what the next span's pass found.
func (s *scan) take(next *scan) {
	s.rows += next.rows
	s.digest += next.digest
	for col, byCode := range next.tallies {
		for code, t := range byCode {
			if s.tallies[col] == nil {
				s.tallies[col] = map[string]*tally{}
			}
			if was := s.tallies[col][code]; was != nil {
				was.count += t.count
			} else {
				s.tallies[col][code] = t
			}
		}
	}
	for date, n := range next.dates {
		s.dates[date] += n
	}
	s.crowded = s.crowded || next.crowded
	for _, name := range slices.Sorted(maps.Keys(next.channels)) {
		s.countChannel(name, next.channels[name])
	}
}

// query selects the table's columns. The plus signs take away the columns'
// declared types: for one declared date, timestamp or boolean the driver would
// give a value of its own making and not what is stored.
func (s *scan) query() string {
	var names []string
	for _, c := range s.table.columns {
		names = append(names, "+"+c.name)
	}
	if s.order != nil {
		for _, c := range s.table.columns {
			if c.text {
				names = append(names, "CAST("+c.name+" AS blob)")
			}
		}
	}
	return "SELECT " + strings.Join(names, ", ") + " FROM " + s.table.name + s.span.Where("rowid")
}

func (s *scan) read(rows driver.Rows) error {
	s.row = make([]driver.Value, len(rows.Columns()))
	reports := make([]func(findings.Rule), len(s.table.columns))
	date, channel := -1, -1
	for i, c := range s.table.columns {
		reports[i] = func(r findings.Rule) { s.report(i, r) }
		switch c.name {
		case "event_date", "conv_date":
			date = i
		case "channel_name":
			channel = i
		}
	}
	for {
		err := rows.Next(s.row)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		s.rows++
		s.digestRow()
		for i, c := range s.table.columns {
			c.is(s.row[i], reports[i])
		}
		s.checkWide(reports)
		if date >= 0 {
			s.countDate(s.row[date])
		}
		if channel >= 0 {
			if name, ok := s.row[channel].(string); ok {
				s.countChannel(name, 1)
			}
		}
	}
}

// checkWide reports text that UTF-16 lets be stored and that cannot be written
// again as it is.
func (s *scan) checkWide(reports []func(findings.Rule)) {
	behind := len(s.table.columns)
	if len(s.row) == behind {
		return
	}
	for i, c := range s.table.columns {
		if !c.text {
			continue
		}
		if text, ok := s.row[i].(string); ok {
			if stored, _ := s.row[behind].([]byte); !survives(text, stored, s.order) {
				reports[i](findings.NotUTF16)
			}
		}
		behind++
	}
}

// digestRow adds the digest of the row at hand.
func (s *scan) digestRow() {
	b := s.buffer[:0]
	for _, value := range s.row[:len(s.table.columns)] {
		switch value := value.(type) {
		case string:
			b = append(binary.AppendUvarint(append(b, 't'), uint64(len(value))), value...)
		case []byte:
			b = append(binary.AppendUvarint(append(b, 'b'), uint64(len(value))), value...)
		case int64:
			b = binary.LittleEndian.AppendUint64(append(b, 'i'), uint64(value))
		case float64:
			b = binary.LittleEndian.AppendUint64(append(b, 'r'), math.Float64bits(value))
		default:
			b = append(b, 'n')
		}
	}
	s.buffer = b
	s.digest += xxhash.Sum64(b)
}

func (s *scan) report(col int, r findings.Rule) {
	if s.tallies[col] == nil {
		s.tallies[col] = map[string]*tally{}
	}
	t := s.tallies[col][r.Code]
	if t == nil {
		t = &tally{rule: r, example: s.example(col)}
		s.tallies[col][r.Code] = t
	}
	t.count++
}

// example shows the value of a column in the row at hand, and which row it is.
func (s *scan) example(col int) string {
	value := human.Quote(s.row[col])
	if col == 0 {
		return value
	}
	return fmt.Sprintf("%s where %s is %s", value, s.table.columns[0].name, human.Quote(s.row[0]))
}

func (s *scan) countDate(value driver.Value) {
	if d, ok := value.(string); ok && civil.IsDate(d) {
		s.dates[d]++
	}
}

func (s *scan) countChannel(name string, rows int64) {
	if _, known := s.channels[name]; !known && len(s.channels) == maxChannels {
		s.crowded = true
		return
	}
	s.channels[name] += rows
}

// conclude puts what a pass found into the report.
func (v *validation) conclude(s *scan) {
	v.mu.Lock()
	v.digests[s.table.name] = fmt.Sprintf("%d-%x", s.rows, s.digest)
	v.mu.Unlock()
	for i, byCode := range s.tallies {
		for _, code := range slices.Sorted(maps.Keys(byCode)) {
			t := byCode[code]
			v.add(t.rule, s.table.name, s.table.columns[i].name, t.count, "rows", t.example)
		}
	}
	dates := slices.Sorted(maps.Keys(s.dates))
	var first, last string
	if len(dates) > 0 {
		first, last = dates[0], dates[len(dates)-1]
	}
	// Each pass fills fields of its own, and they are read after all are done.
	switch s.table.name {
	case tables.SessionSources:
		v.found.Sessions, v.found.FirstSession, v.found.LastSession = s.rows, first, last
		v.found.Channels = int64(len(s.channels))
		v.concludeChannels(s)
	case tables.Conversions:
		v.found.Conversions, v.found.FirstConversion, v.found.LastConversion = s.rows, first, last
		for _, d := range dates {
			if d >= v.opts.StartDate && (v.opts.EndDate == "" || d <= v.opts.EndDate) {
				v.found.ConversionsInRange += s.dates[d]
			}
		}
		if len(dates) > 0 && v.found.ConversionsInRange == 0 {
			v.add(findings.NothingInRange.With(first, last), tables.Conversions, "conv_date", 0, "", "")
		}
	case tables.SessionCosts:
		v.found.Costs = s.rows
		return // no cost at all is a note about the sessions
	}
	if s.rows == 0 {
		v.add(findings.EmptyTable, s.table.name, "", 0, "", "")
	}
}

// concludeChannels reports on the channel names as a whole.
func (v *validation) concludeChannels(s *scan) {
	add := func(r findings.Rule, count int64, unit, example string) {
		v.add(r, tables.SessionSources, "channel_name", count, unit, example)
	}
	if s.crowded {
		add(findings.ManyChannels, 0, "", "")
	}
	names := slices.Sorted(maps.Keys(s.channels))
	var blanks int64
	var blankName string
	var formulas []string
	var seen []string
	for _, name := range names {
		if findings.Blank(name) {
			if blanks == 0 {
				blankName = name
			}
			blanks += s.channels[name]
			continue
		}
		if strings.IndexAny(name, "=+-@\t\r\n＝＋－＠") == 0 {
			formulas = append(formulas, name)
		}
		seen = append(seen, name)
	}
	if blanks > 0 {
		add(findings.BlankChannel, blanks, "rows", human.Quote(blankName))
	}
	if len(formulas) > 0 {
		add(findings.FormulaChannel, int64(len(formulas)), "channels", human.Quote(formulas[0]))
	}
	similar, example := alike(seen)
	if len(similar) > 0 {
		add(findings.SimilarChannels, int64(len(similar)), "channels", example)
	}
}
