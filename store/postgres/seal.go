package postgres

import (
	"context"
	"crypto/sha256"
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

// seal returns the seal of a row. Shares are its four columns, nil where NULL.
func seal[T string | []byte](conv T, sessions []T, shares [4][]int32) []byte {
	room := len(conv) + 32 + len(sessions)*4*6 // a share takes up to five digits
	for _, id := range sessions {
		room += len(id) + len(separator)
	}
	text := append(append(make([]byte, 0, room), conv...), separator...)
	text = append(strconv.AppendInt(text, int64(len(sessions)), 10), separator...)
	text = appendJoined(text, sessions)
	for _, of := range shares {
		text = appendSpelt(append(text, separator...), of)
	}
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

// appendSpelt adds integers as PostgreSQL writes an array of them; nothing for
// NULL.
func appendSpelt(text []byte, all []int32) []byte {
	if all == nil {
		return text
	}
	text = append(text, '{')
	for i, n := range all {
		if i > 0 {
			text = append(text, ',')
		}
		text = strconv.AppendInt(text, int64(n), 10)
	}
	return append(text, '}')
}

// intact is the condition that a row j of the journal is what was stored: [seal]
// in SQL.
const intact = `coalesce(j.seal = substr(sha256(convert_to(concat_ws(E'\x1f', j.conv_id, cardinality(j.sessions), array_to_string(j.sessions, E'\x1f'),
	j.ihc::text, coalesce(j.initializer::text, ''), coalesce(j.holder::text, ''), coalesce(j.closer::text, '')), 'UTF8')), 1, 8), false)`

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
