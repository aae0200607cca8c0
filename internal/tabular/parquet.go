package tabular

import (
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
	"github.com/shopspring/decimal"

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

// mostDigits is how many a decimal number has, at most: what would be longer is
// made by no program.
const mostDigits = 76

// textOf returns how values of a column are spelled: points in time in UTC,
// numbers in decimal digits, all others as the library has them.
func textOf(node parquet.Node) func(parquet.Value) string {
	if node.Type().Kind() == parquet.Int96 {
		return oldTime
	}
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
	case *format.TimeType:
		unit := int64(kind.Unit.Value.Duration())
		return func(v parquet.Value) string { return time.Unix(0, whole(v)*unit).UTC().Format("15:04:05.999999") }
	case *format.DecimalType:
		if kind.Scale < 0 || kind.Scale > mostDigits {
			break
		}
		return func(v parquet.Value) string {
			switch k := v.Kind(); {
			case (k == parquet.ByteArray || k == parquet.FixedLenByteArray) && len(v.ByteArray()) > mostDigits/2:
				return v.String()
			case k == parquet.ByteArray || k == parquet.FixedLenByteArray:
				return decimal.NewFromBigInt(signed(v.ByteArray()), -kind.Scale).StringFixed(kind.Scale)
			}
			return decimal.New(whole(v), -kind.Scale).StringFixed(kind.Scale)
		}
	case *format.IntType:
		if !kind.IsSigned && node.Type().Kind() == parquet.Int64 {
			return func(v parquet.Value) string { return strconv.FormatUint(v.Uint64(), 10) }
		}
	case *format.UUIDType:
		return func(v parquet.Value) string {
			b := v.ByteArray()
			return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
		}
	}
	return parquet.Value.String
}

func whole(v parquet.Value) int64 {
	if v.Kind() == parquet.Int32 {
		return int64(v.Int32())
	}
	return v.Int64()
}

// signed returns the number that bytes are, the highest first, in two's
// complement.
func signed(raw []byte) *big.Int {
	n := new(big.Int).SetBytes(raw)
	if len(raw) > 0 && raw[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(raw))))
	}
	return n
}

// oldTime spells a point in time as Spark, Hive and Impala wrote it of old: the
// nanoseconds of the day, and the Julian day.
func oldTime(v parquet.Value) string {
	const epoch = 2_440_588 // the Julian day of 1970-01-01
	n := v.Int96()
	return time.Unix((int64(n[2])-epoch)*86400, int64(n[1])<<32|int64(n[0])).UTC().Format("2006-01-02 15:04:05.999999Z07:00")
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
	for i, value := range p.values {
		if !utf8.ValidString(value) {
			return nil, &RowError{Line: p.line, Column: p.columns[i], Value: value, Why: "bytes that are no text in UTF-8: export it as text, such as in hexadecimal digits"}
		}
	}
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
