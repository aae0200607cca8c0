// Package columnar writes a sheet as Parquet, for programs that take columns
// with their types.
package columnar

import (
	"io"
	"math/big"

	"github.com/parquet-go/parquet-go"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/sheet"
)

// Amounts and shares have so many digits, and so many of them after the point:
// more than any that the pipeline sums or divides, so that they are exact.
const (
	Precision = 38
	Scale     = 16
	// decimalBytes is how many bytes it takes to hold them.
	decimalBytes = 16
)

// Write writes the rows, without the total, under the names of the columns:
// text as strings, dates as DATE, counts as 64-bit integers, and amounts and
// shares, which are from 0 to 1, as DECIMAL(38, 16). Cells without a number are
// null. The same sheet gives the same bytes.
func Write(w io.Writer, s *sheet.Sheet) error {
	schema, err := schemaOf(s)
	if err != nil {
		return err
	}
	out := parquet.NewWriter(w, schema, parquet.Compression(&parquet.Zstd), parquet.MaxRowsPerRowGroup(128<<10), parquet.CreatedBy("ihc", "", ""))
	line := make(parquet.Row, len(s.Columns))
	for _, row := range s.Rows {
		for i, c := range s.Columns {
			if line[i], err = valueOf(c, row[i]); err != nil {
				return err
			}
			defined := 1
			if line[i].IsNull() || c.Kind == sheet.Text {
				defined = 0
			}
			line[i] = line[i].Level(0, defined, i)
		}
		if _, err := out.WriteRows([]parquet.Row{line}); err != nil {
			return err
		}
	}
	return out.Close()
}

// ordered is a group whose columns are in the order of the sheet's. The
// library's own are in that of their names.
type ordered struct {
	parquet.Group
	fields []parquet.Field
}

func (o ordered) Fields() []parquet.Field { return o.fields }

func schemaOf(s *sheet.Sheet) (*parquet.Schema, error) {
	group := ordered{Group: parquet.Group{}}
	for _, c := range s.Columns {
		if group.Group[c.Name] != nil {
			return nil, errkind.Inputf("two columns of the table are called %.80q, which Parquet does not have: use --format csv", c.Name)
		}
		group.Group[c.Name] = nodeOf(c.Kind)
	}
	of := map[string]parquet.Field{}
	for _, f := range group.Group.Fields() {
		of[f.Name()] = f
	}
	for _, c := range s.Columns {
		group.fields = append(group.fields, of[c.Name])
	}
	return parquet.NewSchema(s.Name, group), nil
}

func nodeOf(k sheet.Kind) parquet.Node {
	switch k {
	case sheet.Text:
		return parquet.Encoded(parquet.String(), &parquet.RLEDictionary)
	case sheet.Date:
		return parquet.Optional(parquet.Date())
	case sheet.Count:
		return parquet.Optional(parquet.Int(64))
	default:
		return parquet.Optional(parquet.Decimal(Scale, Precision, parquet.FixedLenByteArrayType(decimalBytes)))
	}
}

// most is the first number that has too many digits.
var most = new(big.Int).Exp(big.NewInt(10), big.NewInt(Precision), nil)

func valueOf(c sheet.Column, cell sheet.Cell) (parquet.Value, error) {
	switch {
	case c.Kind == sheet.Text:
		return parquet.ByteArrayValue([]byte(cell.Text)), nil
	case c.Kind == sheet.Date:
		if day, ok := civil.ParseDate(cell.Text); ok {
			return parquet.Int32Value(int32(day)), nil
		}
		return parquet.NullValue(), nil
	case !cell.Is:
		return parquet.NullValue(), nil
	case c.Kind == sheet.Count:
		return parquet.Int64Value(cell.Number.IntPart()), nil
	}
	n := cell.Number.Shift(Scale).Round(0).BigInt()
	if n.CmpAbs(most) >= 0 {
		return parquet.Value{}, errkind.Inputf("column %s: %s has more digits than Parquet has room for: use --format csv", c.Name, cell.Number)
	}
	if n.Sign() < 0 {
		n.Add(n, new(big.Int).Lsh(big.NewInt(1), 8*decimalBytes))
	}
	return parquet.FixedLenByteArrayValue(n.FillBytes(make([]byte, decimalBytes))), nil
}
