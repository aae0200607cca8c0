package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// hasJournal says whether the database has a journal. One of an earlier release is
// not read.
func hasJournal(ctx context.Context, tx pgx.Tx) (there bool, err error) {
	there, err = hasTables(ctx, tx, "pipeline_journeys", "pipeline_latest", "pipeline_runs")
	if err != nil || !there {
		return false, err
	}
	var ours bool
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass('pipeline_journeys') AND attname = 'phases')`).Scan(&ours)
	if err == nil && !ours {
		err = errkind.Inputf("the pipeline's tables are an earlier release's: the next `ihc run` brings them up to date")
	}
	return ours, err
}

// scored is a row of the journal as it is read in bulk: see [inBinary].
type scored struct {
	conv     []byte
	sessions [][]byte
	shares   [4][]int32 // as in [sharesOf]
	held     [4][]int32 // the memory of shares
}

// scoredColumns are what a scored is read from, of a row j of the journal.
const scoredColumns = `j.conv_id, j.sessions, j.ihc, j.phases, j.seal`

// read reads the columns, and makes sure that the row is what was stored.
func (s *scored) read(columns [][]byte) error {
	s.conv, s.sessions = columns[0], s.sessions[:0]
	whole := elements(columns[1], func(id []byte) { s.sessions = append(s.sessions, id) })
	all := append(s.held[0][:0], 0)[:0] // none is empty, and not NULL
	whole = elements(columns[2], func(share []byte) { all = append(all, int32(integer(share))) }) && whole
	s.shares, s.held[0] = [4][]int32{all}, all
	phases := columns[3]
	if !whole || len(all) != len(s.sessions) || phases != nil && len(phases) != 12*len(all) || !bytes.Equal(seal(s.conv, s.sessions, all, phases), columns[4]) {
		return fmt.Errorf("conversion %q: %w", s.conv, errJournal)
	}
	if phases != nil {
		s.readPhases(phases)
	}
	return nil
}

// readPhases reads what [phasesOf] returned.
func (s *scored) readPhases(column []byte) {
	n := len(column) / 12
	for i := range s.shares[1:] {
		of := s.held[1+i][:0]
		for k := range n {
			of = append(of, int32(binary.BigEndian.Uint32(column[4*(i*n+k):])))
		}
		s.shares[1+i], s.held[1+i] = of, of
	}
}
