package tabular

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// parquetRows reads the leaf columns of a Parquet file, inner ones by their
// path, lists left out.
type parquetRows struct {
	groups  []parquet.RowGroup
	rows    parquet.Rows
	columns []string
	at      []int // by leaf column: where it is among columns, -1 if left out
	text    []func(parquet.Value) string
	buffer  []parquet.Row
	ready   []parquet.Row
	values  []string
	line    int64
	close   func() error
}

func openParquet(r io.ReaderAt, size int64, closing func() error) (rows Rows, err error) {
	defer func() { // the library may take a damaged file amiss
		if r := recover(); r != nil {
			rows, err = nil, errkind.Inputf("it is no sound Parquet file: %v", r)
		}
	}()
	file, err := parquet.OpenFile(r, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, errkind.Inputf("it is no sound Parquet file: %w", err)
	}
	p := &parquetRows{groups: file.RowGroups(), buffer: make([]parquet.Row, 64), close: closing}
	for _, path := range file.Schema().Columns() {
		leaf, _ := file.Schema().Lookup(path...)
		p.at, p.text = append(p.at, -1), append(p.text, textOf(leaf.Node))
		if !leaf.Node.Repeated() && leaf.MaxRepetitionLevel == 0 {
			p.at[len(p.at)-1] = len(p.columns)
			p.columns = append(p.columns, strings.Join(path, "."))
		}
	}
	p.values = make([]string, len(p.columns))
	return p, nil
}

// textOf returns how values of a column are spelled: points in time in UTC, all
// others as the library has them.
func textOf(node parquet.Node) func(parquet.Value) string {
	logical := node.Type().LogicalType()
	if logical == nil {
		return parquet.Value.String
	}
	switch kind := logical.Value.(type) {
	case *format.TimestampType:
		unit, form := int64(kind.Unit.Value.Duration()), "2006-01-02 15:04:05.999999"
		if kind.IsAdjustedToUTC {
			form += "Z07:00"
		}
		per := int64(time.Second) / unit
		return func(v parquet.Value) string {
			return time.Unix(v.Int64()/per, v.Int64()%per*unit).UTC().Format(form)
		}
	case *format.DateType:
		return func(v parquet.Value) string {
			return time.Unix(int64(v.Int32())*86400, 0).UTC().Format(time.DateOnly)
		}
	case *format.DecimalType:
		switch node.Type().Kind() {
		case parquet.Int32:
			return func(v parquet.Value) string { return scaled(int64(v.Int32()), int(kind.Scale)) }
		case parquet.Int64:
			return func(v parquet.Value) string { return scaled(v.Int64(), int(kind.Scale)) }
		}
	}
	return parquet.Value.String
}

// scaled spells n ÷ 10^scale.
func scaled(n int64, scale int) string {
	sign, magnitude := "", uint64(n)
	if n < 0 {
		sign, magnitude = "-", -magnitude
	}
	digits := fmt.Sprintf("%0*d", scale+1, magnitude)
	if scale <= 0 {
		return sign + digits
	}
	return sign + digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
}

func (p *parquetRows) Columns() []string { return p.columns }
func (p *parquetRows) Line() int64       { return p.line }
func (p *parquetRows) Assumed() string   { return "Parquet" }

func (p *parquetRows) Close() error {
	var err error
	if p.rows != nil {
		err = p.rows.Close()
	}
	return errors.Join(err, p.close())
}

func (p *parquetRows) Next() (values []string, err error) {
	defer func() {
		if r := recover(); r != nil {
			values, err = nil, errkind.Inputf("the Parquet file is damaged after row %d: %v", p.line, r)
		}
	}()
	if len(p.ready) == 0 {
		if err := p.fill(); err != nil {
			return nil, err
		}
	}
	clear(p.values)
	for _, v := range p.ready[0] {
		if c := v.Column(); c >= 0 && c < len(p.at) && p.at[c] >= 0 && !v.IsNull() {
			p.values[p.at[c]] = p.text[c](v)
		}
	}
	p.ready = p.ready[1:]
	p.line++
	return p.values, nil
}

func (p *parquetRows) fill() error {
	for {
		if p.rows == nil {
			if len(p.groups) == 0 {
				return io.EOF
			}
			p.rows, p.groups = p.groups[0].Rows(), p.groups[1:]
		}
		n, err := p.rows.ReadRows(p.buffer)
		if err != nil && !errors.Is(err, io.EOF) {
			return errkind.Inputf("the Parquet file is damaged after row %d: %w", p.line, err)
		}
		if n > 0 {
			p.ready = p.buffer[:n]
			return nil
		}
		if err != nil {
			err = p.rows.Close()
			p.rows = nil
			if err != nil {
				return err
			}
		}
	}
}
