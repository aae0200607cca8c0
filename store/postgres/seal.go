package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// What a run stores another uses, perhaps months later, and its fingerprint only
// says what was scored. So a row of the journal is stored with a seal, which says
// that its shares are still those, of these sessions of this conversion: a row
// that was changed since, by hand or by a disk, is scored again and never shown.

// sealBytes is how many bytes of the digest are kept.
const sealBytes = 8

// errJournal says that a row of the journal is not what was stored.
var errJournal = errkind.As(errkind.Input, errors.New("a row of pipeline_journeys is damaged; a run over its date scores the conversion again"))

// separator stands between the parts of what is sealed.
const separator = "\x1f"

// seal returns the seal of a row, of its columns; phases are nil for NULL.
func seal[T string | []byte](conv T, sessions []T, ihc []int32, phases []byte) []byte {
	room := len(conv) + 32 + len(sessions)*6 + len(phases) // a share takes up to five digits
	for _, id := range sessions {
		room += len(id) + len(separator)
	}
	text := append(append(make([]byte, 0, room), conv...), separator...)
	text = append(strconv.AppendInt(text, int64(len(sessions)), 10), separator...)
	text = append(appendJoined(text, sessions), separator...)
	text = append(append(appendSpelt(text, ihc), separator...), phases...)
	sum := sha256.Sum256(text)
	return sum[:sealBytes]
}

// appendJoined adds texts with separators between them.
func appendJoined[T string | []byte](text []byte, all []T) []byte {
	for i, t := range all {
		if i > 0 {
			text = append(text, separator...)
		}
		text = append(text, t...)
	}
	return text
}

// appendSpelt adds integers as PostgreSQL writes an array of them.
func appendSpelt(text []byte, all []int32) []byte {
	text = append(text, '{')
	for i, n := range all {
		if i > 0 {
			text = append(text, ',')
		}
		text = strconv.AppendInt(text, int64(n), 10)
	}
	return append(text, '}')
}

// phasesOf returns the column phases: the shares of each phase, one phase after the
// other; nil where they are not known.
func phasesOf(shares [4][]int32) (column []byte) {
	if shares[1] == nil {
		return nil
	}
	for _, of := range shares[1:] {
		for _, n := range of {
			column = binary.BigEndian.AppendUint32(column, uint32(n))
		}
	}
	return column
}

// intact is the condition that a row j of the journal is what was stored: [seal]
// in SQL.
const intact = `coalesce(j.seal = substr(sha256(convert_to(concat_ws(E'\x1f', j.conv_id, cardinality(j.sessions), array_to_string(j.sessions, E'\x1f'),
	j.ihc::text), 'UTF8') || '\x1f' || coalesce(j.phases, '')), 1, 8), false)`

// checkJournal returns [errJournal] where one of the rows j of the journal that
// are joined so is damaged.
func checkJournal(ctx context.Context, tx pgx.Tx, joined string, args ...any) error {
	var conv string
	err := tx.QueryRow(ctx, `SELECT j.conv_id FROM `+joined+` AND NOT `+intact+` ORDER BY j.journey LIMIT 1`, args...).Scan(&conv)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("conversion %q: %w", conv, errJournal)
}
