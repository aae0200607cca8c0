package postgres

import (
	"encoding/binary"

	"github.com/jackc/pgx/v5"
)

// Rows that are many are read as PostgreSQL sends them, without a copy of each
// text: what follows reads columns in its binary form. They last until the next
// row.

// inBinary has a query answered so, and asked for without a statement that stays.
var inBinary = []any{pgx.QueryExecModeDescribeExec, pgx.QueryResultFormats{pgx.BinaryFormatCode}}

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
