package postgres

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"unsafe"

	"github.com/jackc/pgx/v5"
)

// Rows that are many are read as PostgreSQL sends them, without a copy of each
// text: what follows reads columns in its binary form. They last until the next
// row.

// inBinary has a query answered so, and asked for without a statement that stays.
var inBinary = []any{pgx.QueryExecModeDescribeExec, pgx.QueryResultFormats{pgx.BinaryFormatCode}}

// inPlace returns a column as a text that lasts as long as the column: to hash each
// of millions of ids takes no copy of it.
func inPlace(column []byte) string {
	return unsafe.String(unsafe.SliceData(column), len(column)) //nolint:gosec // nobody writes to the column while the text is in use
}

// integer reads an integer of any size, 0 for NULL.
func integer(column []byte) int64 {
	switch len(column) {
	case 4:
		return int64(int32(binary.BigEndian.Uint32(column)))
	case 8:
		return int64(binary.BigEndian.Uint64(column))
	default:
		return 0
	}
}

// elements calls do for each element of an array, and says whether it is one list
// of elements that are there.
func elements(array []byte, do func([]byte)) bool {
	const header, dimension = 12, 8
	if len(array) < header {
		return false
	}
	dimensions, rest := integer(array[:4]), array[header:]
	if dimensions == 0 {
		return true
	}
	if dimensions != 1 || len(rest) < dimension {
		return false
	}
	n, rest := integer(rest[:4]), rest[dimension:]
	for range n {
		if len(rest) < 4 {
			return false
		}
		size := integer(rest[:4])
		if rest = rest[4:]; size < 0 || size > int64(len(rest)) {
			return false
		}
		do(rest[:size:size])
		rest = rest[size:]
	}
	return len(rest) == 0
}

// copied copies rows into a table with these columns, which write writes to as
// COPY takes them in binary, one [beginRow] after the other: beside the server,
// which stores them meanwhile.
func copied(ctx context.Context, tx pgx.Tx, table, columns string, write func(io.Writer) error) error {
	from, to := io.Pipe()
	written := make(chan error, 1)
	go func() {
		out := bufio.NewWriterSize(to, 1<<18)
		_, err := out.WriteString("PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00")
		if err == nil {
			err = write(out)
		}
		if err == nil {
			_, err = out.WriteString("\xff\xff")
		}
		if err == nil {
			err = out.Flush()
		}
		to.CloseWithError(err)
		written <- err
	}()
	_, err := tx.Conn().PgConn().CopyFrom(ctx, from, `COPY `+table+` (`+columns+`) FROM STDIN (FORMAT binary)`)
	from.CloseWithError(err)
	if failed := <-written; failed != nil {
		return failed // which the other is about
	}
	return err
}

// beginRow begins a row of so many columns, which are added to it one by one.
func beginRow(row []byte, columns uint16) []byte {
	return binary.BigEndian.AppendUint16(row[:0], columns)
}

func addInteger(row []byte, n int32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(row, 4), uint32(n))
}

func addBigint(row []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(row, 8), uint64(n))
}

// addText adds a text or bytes.
func addText[T string | []byte](row []byte, text T) []byte {
	return append(binary.BigEndian.AppendUint32(row, uint32(len(text))), text...)
}

// addSome is addText, with NULL for nothing.
func addSome[T string | []byte](row []byte, text T) []byte {
	if len(text) == 0 {
		return addNull(row)
	}
	return addText(row, text)
}

func addNull(row []byte) []byte { return append(row, 0xff, 0xff, 0xff, 0xff) }

// The types of the elements of arrays.
const (
	textType    = 25
	integerType = 23
)

// addArray adds an array of elements of a type, which add adds.
func addArray[T any](row []byte, of uint32, all []T, add func([]byte, T) []byte) []byte {
	at, dimensions := len(row), min(uint32(len(all)), 1)
	for _, n := range []uint32{0, dimensions, 0, of} { // its length is set in the end; no element is NULL
		row = binary.BigEndian.AppendUint32(row, n)
	}
	if dimensions > 0 { // which begins with the element 1
		row = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(row, uint32(len(all))), 1)
	}
	for _, element := range all {
		row = add(row, element)
	}
	binary.BigEndian.PutUint32(row[at:], uint32(len(row)-at-4))
	return row
}
