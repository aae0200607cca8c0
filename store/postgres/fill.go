package postgres

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"
)

// fill copies what a run shows into attribution_customer_journey, which is empty:
// to store row by row what the database reads from the journal takes it twice as
// long. The rows of the query, which are [scored] and in the order of conversions,
// are read by a connection of their own, as the transaction sees them; none of them
// is of the transaction's making.
func (d *Database) fill(ctx context.Context, tx pgx.Tx, run int64, query string) error {
	var snapshot string
	if err := tx.QueryRow(ctx, `SELECT pg_export_snapshot()`).Scan(&snapshot); err != nil {
		return err
	}
	from, to := io.Pipe()
	read := make(chan error, 1)
	go func() {
		err := d.inTransaction(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(beside pgx.Tx) error {
			if err := see(ctx, beside, snapshot); err != nil {
				return err
			}
			if err := inBulk(ctx, beside); err != nil {
				return err
			}
			rows, err := beside.Query(ctx, query, append(slices.Clone(inBinary), run)...)
			if err != nil {
				return err
			}
			defer rows.Close()
			return writeRows(to, rows)
		})
		to.CloseWithError(err)
		read <- err
	}()
	_, err := tx.Conn().PgConn().CopyFrom(ctx, from, `COPY attribution_customer_journey (conv_id, session_id, ihc) FROM STDIN (FORMAT binary)`)
	from.CloseWithError(err)
	if failed := <-read; failed != nil {
		return failed // which the other is about
	}
	return err
}

// The beginning and the end of rows that COPY takes in binary.
var (
	copyBegin = append([]byte("PGCOPY\n\xff\r\n\x00"), 0, 0, 0, 0, 0, 0, 0, 0)
	copyEnd   = []byte{0xff, 0xff}
)

// touchpoint is a session and its share.
type touchpoint struct {
	session []byte
	share   int32
}

// writeRows writes the rows of attribution_customer_journey, in the order of its
// key.
func writeRows(to io.Writer, rows pgx.Rows) error {
	out := bufio.NewWriterSize(to, 1<<18)
	if _, err := out.Write(copyBegin); err != nil {
		return err
	}
	var journey scored
	var all []touchpoint
	var row []byte
	for rows.Next() {
		if err := journey.read(rows.RawValues()); err != nil {
			return err
		}
		all = all[:0]
		for i, id := range journey.sessions {
			all = append(all, touchpoint{id, journey.shares[0][i]})
		}
		slices.SortFunc(all, func(a, b touchpoint) int { return bytes.Compare(a.session, b.session) })
		for _, t := range all {
			row = append(row[:0], 0, 3) // columns
			for _, text := range [][]byte{journey.conv, t.session} {
				row = append(binary.BigEndian.AppendUint32(row, uint32(len(text))), text...)
			}
			row = binary.BigEndian.AppendUint64(append(row, 0, 0, 0, 8), math.Float64bits(float64(t.share)/10_000))
			if _, err := out.Write(row); err != nil {
				return err
			}
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if _, err := out.Write(copyEnd); err != nil {
		return err
	}
	return out.Flush()
}
