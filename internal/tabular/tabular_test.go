package tabular

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/stretchr/testify/require"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

const text = "id;name;note\n1;Österreich;\"a;b\"\n2;\"two\nlines\";\n"

var want = [][]string{{"id", "name", "note"}, {"1", "Österreich", "a;b"}, {"2", "two\nlines", ""}}

func all(t *testing.T, file string, o Options) [][]string {
	t.Helper()
	var got [][]string
	sources, err := Find(file, nil, nil)
	require.NoError(t, err)
	for _, s := range sources {
		rows, err := s.Open(o)
		require.NoError(t, err)
		got = append(got, rows.Columns())
		for {
			row, err := rows.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			got = append(got, append([]string(nil), row...))
		}
		require.NoError(t, rows.Close())
	}
	return got
}

func save(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path
}

func packed(t *testing.T, how func(io.Writer) io.WriteCloser) []byte {
	t.Helper()
	var b bytes.Buffer
	w := how(&b)
	_, err := io.WriteString(w, text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func TestTheSameTableIsReadHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	encoded := func(how func(string) (string, error)) []byte {
		s, err := how(text)
		require.NoError(t, err)
		return []byte(s)
	}
	var zipped bytes.Buffer
	z := zip.NewWriter(&zipped)
	for name, content := range map[string]string{"__MACOSX/._t.csv": "x", "readme": "x", "folder/t.csv": text} {
		f, err := z.Create(name)
		require.NoError(t, err)
		_, err = io.WriteString(f, content)
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	for name, data := range map[string][]byte{
		"plain.csv": []byte(text), "crlf.csv": []byte(strings.ReplaceAll(text, "\n", "\r\n")), "mark.csv": []byte("\xef\xbb\xbf" + text), "macintosh.csv": []byte(strings.ReplaceAll(text, "\n", "\r")),
		"tabs.tsv":     []byte(strings.ReplaceAll(strings.ReplaceAll(text, ";", "\t"), "a\tb", "a;b")),
		"windows.csv":  encoded(charmap.Windows1252.NewEncoder().String),
		"utf16le.csv":  encoded(unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String),
		"utf16be.csv":  encoded(unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM).NewEncoder().String),
		"t.csv.gz":     packed(t, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }),
		"t.csv.zst":    packed(t, func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z }),
		"t.zip":        zipped.Bytes(),
		"objects.json": []byte(`{"id":1,"name":"Österreich","note":"a;b"}` + "\n\n" + `{"name":"two\nlines","id":2,"note":null}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := all(t, save(t, name, data), Options{})
			if name == "crlf.csv" {
				require.Equal(t, "two\nlines", got[2][1])
			}
			require.Equal(t, want, got)
		})
	}
}

func TestParquetValuesAreSpelledAsPeopleDo(t *testing.T) {
	t.Parallel()
	type inner struct {
		Country string `parquet:"country"`
	}
	type row struct {
		ID   int64    `parquet:"id"`
		Name *string  `parquet:"name,optional"`
		At   int64    `parquet:"at,timestamp(microsecond)"`
		Cost int64    `parquet:"cost,decimal(2:18)"`
		Geo  inner    `parquet:"geo"`
		Tags []string `parquet:"tags,list"`
	}
	name := "Österreich"
	var b bytes.Buffer
	require.NoError(t, parquet.Write(&b, []row{{1, &name, 1_711_324_800_500_000, -1234, inner{"AT"}, []string{"x", "y"}}, {2, nil, 0, 5, inner{}, nil}}))
	got := all(t, save(t, "t.parquet", b.Bytes()), Options{})
	require.Equal(t, [][]string{{"id", "name", "at", "cost", "geo.country"},
		{"1", "Österreich", "2024-03-25 00:00:00.5Z", "-12.34", "AT"}, {"2", "", "1970-01-01 00:00:00Z", "0.05", ""}}, got)
	_, err := openParquet(bytes.NewReader(b.Bytes()[:b.Len()/2]), int64(b.Len()/2), func() error { return nil })
	require.Equal(t, errkind.Input, errkind.KindOf(err))
}

// What Spark, pandas and warehouses write, each in its own way.
func TestParquetTypesOfOtherProgramsAreRead(t *testing.T) {
	t.Parallel()
	type row struct {
		Nano   int64            `parquet:"nano,timestamp(nanosecond)"`
		Spark  deprecated.Int96 `parquet:"spark"`
		Clock  int32            `parquet:"clock,time(millisecond)"`
		Small  int32            `parquet:"small,decimal(2:9)"`
		Wide   [16]byte         `parquet:"wide,decimal(2:38)"`
		Unsign uint64           `parquet:"unsign"`
		UUID   [16]byte         `parquet:"uuid,uuid"`
		Raw    []byte           `parquet:"raw"`
	}
	least, minus := [16]byte{15: 5}, [16]byte{}
	for i := range minus {
		minus[i] = 0xff
	}
	minus[14], minus[15] = 0xcf, 0xc7 // -12345
	var b bytes.Buffer
	require.NoError(t, parquet.Write(&b, []row{
		{1_711_324_800_123_456_789, deprecated.Int96{1_000_000_000, 0, 2_440_589}, 30_541_250, -5, minus, 1 << 63, [16]byte{0: 1, 15: 0xff}, []byte("text")},
		{-500_000_000, deprecated.Int96{0, 1, 2_440_587}, 0, 0, least, 7, [16]byte{}, []byte{0xff, 0}}}))
	sources, err := Find(save(t, "t.parquet", b.Bytes()), nil, nil)
	require.NoError(t, err)
	rows, err := sources[0].Open(Options{})
	require.NoError(t, err)
	got, err := rows.Next()
	require.NoError(t, err)
	require.Equal(t, []string{"2024-03-25 00:00:00.123456Z", "1970-01-02 00:00:01Z", "08:29:01.25", "-0.05", "-123.45", "9223372036854775808",
		"01000000-0000-0000-0000-0000000000ff", "text"}, got)
	_, err = rows.Next()
	require.ErrorContains(t, err, `line 2, column "raw", value "\xff\x00": bytes that are no text`)
	require.NoError(t, rows.Close())
}

func TestARowThatIsWrongSaysWhereAndTheNextIsRead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ data, says string }{
		"too few":  {"a,b\n1\n3,4\n", "line 2: the row has 1 values, but there are 2 columns"},
		"too many": {"a,b\n1,2,3\n3,4\n", "line 2: the row has 3 values"},
		"quotes":   {"a,b\n1,x\"y\n3,4\n", "line 2: the quotes of the row are wrong"},
		"bytes":    {"a,b\n1,ü\xff\n3,4\n", `line 2, column "b"`},
		"json":     {"{\"a\":\"0\",\"b\":\"0\"}\n{\"a\"\n{\"a\":3,\"b\":\"4\"}\n", "line 2: no JSON object"},
	} {
		rows, err := unpack(name, "", strings.NewReader(c.data), Options{Encoding: "utf-8"}, func() error { return nil })
		require.NoError(t, err, name)
		if name == "json" {
			_, err := rows.Next()
			require.NoError(t, err)
		}
		_, err = rows.Next()
		var bad *RowError
		require.ErrorAs(t, err, &bad, name)
		require.ErrorContains(t, err, c.says, name)
		row, err := rows.Next()
		require.NoError(t, err, name)
		require.Equal(t, []string{"3", "4"}, row, name)
		require.Equal(t, int64(3), rows.Line(), name)
	}
}

func TestAQuoteThatIsNeverClosedDoesNotTakeTheMemory(t *testing.T) {
	t.Parallel()
	endless := io.MultiReader(strings.NewReader("a,b\n1,\""), io.LimitReader(zeros{}, 1<<40))
	rows, err := unpack("endless", "", endless, Options{Encoding: "utf-8"}, func() error { return nil })
	require.NoError(t, err)
	_, err = rows.Next()
	require.ErrorContains(t, err, "is a quote never closed?")
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestWhatIsNoTableIsRefused(t *testing.T) {
	t.Parallel()
	for data, says := range map[string]string{"": "it is empty", "SQLite format 3\x00": "by --from", "PAR1xxxx": "no sound Parquet file", "\x1f\x8bxx": "gzip",
		string(packed(t, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })[:40]): "is it whole?"} {
		_, err := unpack("f", "f.csv", strings.NewReader(data), Options{}, func() error { return nil })
		require.ErrorContains(t, err, says)
		require.ErrorContains(t, err, "f: ")
		require.Equal(t, errkind.Input, errkind.KindOf(err), says)
	}
}

func TestWhatIsNoTableIsRefusedWithTheWayToOne(t *testing.T) {
	t.Parallel()
	var book bytes.Buffer
	z := zip.NewWriter(&book)
	_, err := z.Create("xl/workbook.xml")
	require.NoError(t, errors.Join(err, z.Close()))
	for name, data := range map[string]string{"orders.xlsx": book.String(), "empty.zip": "PK\x05\x06" + strings.Repeat("\x00", 18)} {
		_, err := Find(save(t, name, []byte(data)), nil, nil)
		require.ErrorContains(t, err, map[string]string{"orders.xlsx": "save its sheet as CSV", "empty.zip": "is in the zip"}[name])
	}
	_, err = unpack("f", "f.json", strings.NewReader(`[{"a":1}]`), Options{}, func() error { return nil })
	require.ErrorContains(t, err, "jq -c '.[]'")
}

// FuzzRead reads whatever there is in every format: rows have as many values as
// there are columns, or an error says what is wrong.
func FuzzRead(f *testing.F) {
	f.Add([]byte(text), "", "")
	f.Add([]byte("{\"a\":{\"b\":[1]},\"c\":true}"), "jsonl", "")
	f.Add([]byte("PAR1\x15\x04PAR1"), "parquet", "")
	f.Add([]byte("\xff\xfea\x00;\x00b\x00\n\x00"), "csv", "utf-16le")
	f.Fuzz(func(t *testing.T, data []byte, format, encoding string) {
		rows, err := unpack("f", "", bytes.NewReader(data), Options{Format: format, Encoding: encoding}, func() error { return nil })
		if err != nil {
			return
		}
		defer rows.Close()
		for range 10_000 {
			row, err := rows.Next()
			var bad *RowError
			switch {
			case errors.As(err, &bad):
			case err != nil:
				return
			case len(row) != len(rows.Columns()):
				t.Fatalf("%d values for %d columns", len(row), len(rows.Columns()))
			}
		}
	})
}

// Tables of several kinds in one zip are told apart by their names.
func TestATableInsideAZipIsNamed(t *testing.T) {
	t.Parallel()
	var zipped bytes.Buffer
	z := zip.NewWriter(&zipped)
	for _, name := range []string{"visits-1.csv", "visits-2.csv", "more/visits-3.csv", "orders[1].csv", "orders1.csv"} {
		f, err := z.Create(name)
		require.NoError(t, err)
		_, err = io.WriteString(f, text)
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	file := save(t, "export.zip", zipped.Bytes())
	for like, want := range map[string][]string{
		"":                     {"visits-1.csv", "visits-2.csv", "more/visits-3.csv", "orders[1].csv", "orders1.csv"},
		"/visits-2.csv":        {"visits-2.csv"},
		"/visits-*.csv":        {"visits-1.csv", "visits-2.csv"},
		"/more/visits-3.csv":   {"more/visits-3.csv"},
		"/*/visits-*.csv":      {"more/visits-3.csv"},
		"/orders[1].csv":       {"orders[1].csv"},
		"/visits-[12]*.c[st]v": {"visits-1.csv", "visits-2.csv"},
	} {
		found, err := Find(file+like, nil, nil)
		require.NoError(t, err, like)
		var names []string
		for _, s := range found {
			names = append(names, strings.TrimPrefix(s.Name, file+"/"))
		}
		require.Equal(t, want, names, like)
	}
	_, err := Find(file+"/none.csv", nil, nil)
	require.ErrorContains(t, err, "no table none.csv is in the zip")
	_, err = Find(save(t, "t.csv", []byte(text))+"/none.csv", nil, nil)
	require.Error(t, err)
	_, err = Find(file+".gone/none.csv", nil, nil)
	require.Equal(t, errkind.Environment, errkind.KindOf(err))
}

func TestLinesBeforeATableArePassedOver(t *testing.T) {
	t.Parallel()
	for data, want := range map[string][][]string{
		"# -----\n# Free form, 1\n# 20240301-20240331\n# -----\n\na,b\n1,2\n": {{"a", "b"}, {"1", "2"}},
		"#\r\n# x\r\na;b\r\n1;2\r\n":                                          {{"a", "b"}, {"1", "2"}},
		"sep=|\na|b,c\n1|2\n":                                                 {{"a", "b,c"}, {"1", "2"}},
		"#,b\n#1,2\n":                                                         {{"#", "b"}, {"#1", "2"}},
		"# order,b\n# 1,2\n":                                                  {{"# order", "b"}, {"# 1", "2"}},
		"sep=,b\n1,2\n":                                                       {{"sep=", "b"}, {"1", "2"}},
	} {
		require.Equal(t, want, all(t, save(t, "t.csv", []byte(data)), Options{}), data)
	}
	found, err := Find(save(t, "t.csv", []byte("# --\n# x\na,b\n1,2\n1,2,3\n")), nil, nil)
	require.NoError(t, err)
	rows, err := found[0].Open(Options{})
	require.NoError(t, err)
	defer rows.Close()
	require.Contains(t, rows.Assumed(), "after 2 lines that are no part of the table")
	_, err = rows.Next()
	require.NoError(t, err)
	require.EqualValues(t, 4, rows.Line())
	_, err = rows.Next()
	var bad *RowError
	require.ErrorAs(t, err, &bad)
	require.EqualValues(t, 5, bad.Line)
}
