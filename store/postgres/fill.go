package postgres

import (
	"bytes"
	"context"
	"io"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/tables"
	"github.com/ihc-pipeline/ihc/store"
)

// fill copies what a run shows into attribution_customer_journey, which is empty:
// to store row by row what the database reads from the journal takes it twice as
// long. The rows of the query, which are [scored] and in the order of conversions,
// are read by a connection of their own, as the transaction sees them; none of them
// is of the transaction's making. There are about so many touchpoints.
func (d *Database) fill(ctx context.Context, tx pgx.Tx, run int64, touchpoints uint64, work *store.Counter, query string) error {
	err := d.beside(ctx, tx, func(beside pgx.Tx) error {
		if err := inBulk(ctx, beside); err != nil {
			return err
		}
		return copied(ctx, tx, tables.CustomerJourney, "conv_id, session_id, ihc", func(to io.Writer) error {
			rows, err := beside.Query(ctx, query, append(slices.Clone(inBinary), run)...)
			if err != nil {
				return err
			}
			defer rows.Close()
			return writeRows(to, rows, func(some int) { work.Add(partFilled * float64(some) / float64(max(touchpoints, 1))) })
		})
	})
	if err != nil {
		return err
	}
	err = addKey(ctx, tx)
	work.Add(partKey)
	return err
}

// addKey gives attribution_customer_journey its key, if it has none. A key that is
// made of all rows at once takes half as long as one that is there while they come;
// until then the table has none, and no rows.
func addKey(ctx context.Context, tx pgx.Tx) error {
	there, err := hasKey(ctx, tx, tables.CustomerJourney, "conv_id", "session_id")
	if err == nil && !there {
		_, err = tx.Exec(ctx, `ALTER TABLE attribution_customer_journey ADD PRIMARY KEY (conv_id, session_id)`)
	}
	return err
}

// touchpoint is a session and its share.
type touchpoint struct {
	session []byte
	share   int32
}

// writeRows writes the rows of attribution_customer_journey, in the order of its
// key, and tells from time to time how many more.
func writeRows(to io.Writer, rows pgx.Rows, tell func(some int)) error {
	var journey scored
	var all []touchpoint
	var row []byte
	some := 0 // not told yet
	for rows.Next() {
		if err := journey.read(rows.RawValues()); err != nil {
			return err
		}
		all = all[:0]
		for i, id := range journey.sessions {
			all = append(all, touchpoint{id, journey.shares[0][i]})
		}
		if some += len(all); some >= 100_000 {
			tell(some)
			some = 0
		}
		slices.SortFunc(all, func(a, b touchpoint) int { return bytes.Compare(a.session, b.session) })
		for _, t := range all {
			row = addText(addText(beginRow(row, 3), journey.conv), t.session)
			row = addBigint(row, int64(math.Float64bits(float64(t.share)/10_000)))
			if _, err := to.Write(row); err != nil {
				return err
			}
		}
	}
	tell(some)
	return rows.Err()
}
