package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/mattn/go-sqlite3"
	"golang.org/x/sync/errgroup"

	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/store/inspect"
)

// scan is one pass over one table, or over a span of it.
type scan struct {
	*inspect.Scan
	table table
	span  RowRange
	order binary.AppendByteOrder // of a database in UTF-16
	row   []driver.Value         // its columns, and behind them what is stored of those of text in UTF-16
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
	v.work.Expect(float64(len(spans) * len(t.columns)))
	whole := inspect.New(t.name)
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
			v.work.Add(float64(len(t.columns)))
			mu.Lock()
			defer mu.Unlock()
			done[i] = s
			for ; done[taken] != nil; taken++ {
				whole.Take(done[taken].Scan)
				delete(done, taken)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.scans[t.name] = whole
	return nil
}

func newScan(t table, span RowRange, order binary.AppendByteOrder) *scan {
	return &scan{Scan: inspect.New(t.name), table: t, span: span, order: order}
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
	values := make([]any, len(s.table.columns))
	for {
		err := rows.Next(s.row)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for i := range values {
			values[i] = s.row[i]
		}
		s.Row(values)
		s.checkWide()
	}
}

// checkWide reports text that UTF-16 lets be stored and that cannot be written
// again as it is.
func (s *scan) checkWide() {
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
				s.Report(i, findings.NotUTF16)
			}
		}
		behind++
	}
}
