package columnar

import (
	"bytes"
	"errors"
	"io"
	"math/big"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/sheet"
)

// read writes a sheet and reads it back, null as "".
func read(t require.TestingT, s *sheet.Sheet) (schema string, rows [][]string) {
	var b, again bytes.Buffer
	require.NoError(t, Write(&b, s))
	require.NoError(t, Write(&again, s))
	require.Equal(t, b.Bytes(), again.Bytes(), "the same sheet gives the same bytes")
	f, err := parquet.OpenFile(bytes.NewReader(b.Bytes()), int64(b.Len()))
	require.NoError(t, err)
	in := parquet.NewReader(f)
	line := make([]parquet.Row, 1)
	for {
		n, err := in.ReadRows(line)
		if n == 1 {
			var texts []string
			for _, v := range line[0] {
				texts = append(texts, shown(v))
			}
			rows = append(rows, texts)
		}
		if errors.Is(err, io.EOF) {
			return f.Schema().String(), rows
		}
		require.NoError(t, err)
	}
}

func shown(v parquet.Value) string {
	switch {
	case v.IsNull():
		return ""
	case v.Kind() != parquet.FixedLenByteArray:
		return v.String()
	}
	n := new(big.Int).SetBytes(v.ByteArray())
	if v.ByteArray()[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), 128))
	}
	return decimal.NewFromBigInt(n, -Scale).String()
}

func TestParquetHasTypesInTheOrderOfTheColumns(t *testing.T) {
	t.Parallel()
	d := decimal.RequireFromString
	schema, rows := read(t, &sheet.Sheet{Name: "day", Columns: []sheet.Column{{Name: "day", Kind: sheet.Date}, {Name: "channel"}, {Name: "n", Kind: sheet.Count}, {Name: "cost", Kind: sheet.Amount}, {Name: "share", Kind: sheet.Percent}},
		Rows: [][]sheet.Cell{{sheet.T("2023-05-01"), sheet.T("=SEO"), sheet.I(1940), sheet.N(d("-104301.6149")), sheet.N(d("0.3333333333333333"))},
			{sheet.T("never"), sheet.T(""), sheet.None(""), sheet.None("nothing was spent"), sheet.I(1)}},
		Total: []sheet.Cell{sheet.T("total"), sheet.T(""), sheet.I(1), sheet.I(1), sheet.I(1)}})
	require.Equal(t, `message day {
	optional int32 day (DATE);
	required binary channel (STRING);
	optional int64 n (INT(64,true));
	optional fixed_len_byte_array(16) cost (DECIMAL(38,16));
	optional fixed_len_byte_array(16) share (DECIMAL(38,16));
}`, schema)
	require.Equal(t, [][]string{{"19478", "=SEO", "1940", "-104301.6149", "0.3333333333333333"}, {"", "", "", "", "1"}}, rows)
}

func TestParquetIsExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := &sheet.Sheet{Name: "channel", Columns: []sheet.Column{{Name: "channel"}, {Name: "cost", Kind: sheet.Amount}}}
		var want [][]string
		for range rapid.IntRange(0, 20).Draw(t, "rows") {
			text, n := rapid.String().Draw(t, "text"), decimal.New(rapid.Int64().Draw(t, "number"), -rapid.Int32Range(0, Scale).Draw(t, "places"))
			want = append(want, []string{text, n.String()})
			s.Rows = append(s.Rows, []sheet.Cell{sheet.T(text), sheet.N(n)})
		}
		_, got := read(t, s)
		require.Equal(t, want, got)
	})
}

func TestWhatParquetHasNoRoomForIsRefused(t *testing.T) {
	t.Parallel()
	columns := []sheet.Column{{Name: "cost", Kind: sheet.Amount}}
	err := Write(io.Discard, &sheet.Sheet{Columns: columns, Rows: [][]sheet.Cell{{sheet.N(decimal.New(1, 22))}}})
	require.Equal(t, errkind.Input, errkind.KindOf(err))
	require.ErrorContains(t, err, "cost")
	err = Write(io.Discard, &sheet.Sheet{Columns: append(columns, columns...)})
	require.Equal(t, errkind.Input, errkind.KindOf(err))
}
