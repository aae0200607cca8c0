package postgres

import (
	"bytes"
	"fmt"
)

// scored is a row of the journal as it is read in bulk: see [inBinary].
type scored struct {
	conv     []byte
	sessions [][]byte
	shares   [4][]int32 // as in [seal]
	held     [4][]int32 // the memory of shares
}

// scoredColumns are what a scored is read from, of a row j of the journal.
const scoredColumns = `j.conv_id, j.sessions, j.ihc, j.initializer, j.holder, j.closer, j.seal`

// read reads the columns, and makes sure that the row is what was stored.
func (s *scored) read(columns [][]byte) error {
	s.conv, s.sessions = columns[0], s.sessions[:0]
	whole := elements(columns[1], func(id []byte) { s.sessions = append(s.sessions, id) })
	for i := range s.shares {
		s.shares[i] = nil
		array := columns[2+i]
		if array == nil {
			continue
		}
		all := append(s.held[i][:0], 0)[:0] // none is empty, and not NULL
		whole = elements(array, func(share []byte) { all = append(all, int32(integer(share))) }) && whole
		s.shares[i], s.held[i] = all, all
	}
	for _, of := range s.shares {
		whole = whole && (of == nil || len(of) == len(s.sessions))
	}
	if !whole || s.shares[0] == nil || !bytes.Equal(seal(s.conv, s.sessions, s.shares), columns[6]) {
		return fmt.Errorf("conversion %q: %w", s.conv, errJournal)
	}
	return nil
}
