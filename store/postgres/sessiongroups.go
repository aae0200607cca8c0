package postgres

import (
	"context"
	"errors"
	"io"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/store/sessionindex"
)

// mostSessions is how many sessions a report holds at a time, in some 45 MiB, and how
// many conversions, in some 115. A shop that has more of either has its journal read
// in parts (invariant 8).
const mostSessions = 3_000_000

// eachSession calls do with the mark and the group of each session.
func (s *summing) eachSession(ctx context.Context, x *sessionindex.Index, do func(mark uint64, group key) error) error {
	return s.raw(ctx, `SELECT s.session_id, {dimension}, coalesce(s.event_date, '') FROM {sessions} s`, func(row [][]byte) error {
		group := key{Channel: elsewhere, Date: inPlace(row[2])}
		if row[1] != nil {
			group.Channel = inPlace(row[1])
		}
		return do(x.Mark(inPlace(row[0])), group)
	})
}

// enterSessions enters all sessions.
func (s *summing) enterSessions(ctx context.Context, x *sessionindex.Index) error {
	return toldApart("two sessions of session_sources", func(hash sessionindex.Hash) error {
		x.Rehash(hash)
		w := x.Writer()
		err := s.eachSession(ctx, x, func(mark uint64, group key) error { return w.Enter(mark, w.Group(group)) })
		if err != nil {
			return err
		}
		return w.Flush()
	})
}

// toldApart calls enter, once more with another hash where two ids are not told
// apart. Those that no hash tells apart are the same.
func toldApart(what string, enter func(sessionindex.Hash) error) (err error) {
	const most = 3
	for range most {
		if err = enter(sessionindex.NewHash()); !errors.Is(err, sessionindex.ErrCollision) {
			return err
		}
	}
	return errkind.Inputf("%s have the same id: %w", what, err)
}

// noteSessions enters the sessions of as much of the journal after a row as there
// is room for, in its order, and returns the last row of that. One journey is always
// read, however long it is.
func (a *journeySums) noteSessions(ctx context.Context, after int64) (last int64, err error) {
	x, last, noted := a.sessions, after, 0
	err = fetched(ctx, a.of.tx, a.of.in(a.journal(`j.journey, `+scoredColumns, after, math.MaxInt64)), func(found pgx.CollectableRow) error {
		row := found.RawValues()
		if err := a.row.read(row[1:]); err != nil {
			return err
		}
		a.tell(0.87)
		if last == after {
			x.Clear(len(a.row.sessions))
		} else if len(a.row.sessions) > x.Room() {
			return io.EOF
		}
		for _, mark := range a.marked() {
			if err := x.Note(mark); err != nil {
				return err
			}
		}
		last = integer(row[0])
		noted++
		return nil
	}, func() error { return nil })
	if err != nil || last == after {
		return last, err
	}
	w := x.Writer()
	err = a.of.eachSession(ctx, x, func(mark uint64, group key) error {
		w.Fill(mark, group)
		return nil
	})
	a.of.work.Add(0.33 * float64(noted) * a.of.journey)
	return last, err
}

// marked returns what the sessions of the row at hand go by.
func (a *journeySums) marked() []uint64 {
	a.marks = a.marks[:0]
	for _, id := range a.row.sessions {
		a.marks = append(a.marks, a.sessions.Mark(inPlace(id)))
	}
	return a.marks
}
