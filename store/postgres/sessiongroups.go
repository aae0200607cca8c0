package postgres

import (
	"context"
	"errors"
	"hash/maphash"
	"io"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/store/journeysum"
)

// mostSessions is how many sessions a report holds at a time, in some 80 MiB. A
// shop that has more is read in parts of its journal (invariant 8).
const mostSessions = 3_000_000

// sessionGroups knows which group of a report each of some sessions is in. A
// session serves many conversions: to look it up here takes a fraction of what
// the database takes to join the journal with the sessions, and to sort that.
//
// A session goes by a hash of 64 bits. That one which is not there is taken for
// one that is has a chance of one in 10¹² for each.
type sessionGroups struct {
	seed    maphash.Seed
	of      map[uint64]uint32
	most    int
	entered bool // all sessions are in here

	keys    []key // by number
	numbers map[string]uint32
	text    []byte // at hand
}

func newSessionGroups(most int) *sessionGroups {
	return &sessionGroups{seed: maphash.MakeSeed(), of: map[uint64]uint32{}, most: most, numbers: map[string]uint32{}}
}

func (g *sessionGroups) mark(session []byte) uint64 { return maphash.Bytes(g.seed, session) }

// find returns the group of a session.
func (g *sessionGroups) find(session []byte) (number uint32, there bool) {
	number, there = g.of[g.mark(session)]
	return number, there
}

// number returns the number of the group of a channel, nil for other channels than
// the one asked for, and a date: 0, 1 and so on.
func (g *sessionGroups) number(channel, date []byte) uint32 {
	if channel == nil {
		channel = []byte(elsewhere)
	}
	g.text = append(append(append(g.text[:0], date...), separator...), channel...)
	n, met := g.numbers[string(g.text)]
	if !met {
		n = uint32(len(g.keys))
		g.keys = append(g.keys, key{string(channel), string(date)})
		g.numbers[string(g.text)] = n
	}
	return n
}

const sessionGroupsQuery = `SELECT s.session_id, {dimension}, coalesce(s.event_date, '') FROM {sessions} s`

// errAlike says that two have the same hash.
var errAlike = errors.New("two ids have the same hash")

// enterSessions enters all sessions. Where two are not told apart it begins anew,
// with another hash.
func (s *summing) enterSessions(ctx context.Context, g *sessionGroups) error {
	for range mostHashes {
		g.seed = maphash.MakeSeed()
		clear(g.of)
		err := s.raw(ctx, sessionGroupsQuery, func(row [][]byte) error {
			mark := g.mark(row[0])
			if _, alike := g.of[mark]; alike {
				return errAlike
			}
			g.of[mark] = g.number(row[1], row[2])
			return nil
		})
		if !errors.Is(err, errAlike) {
			g.entered = err == nil
			return err
		}
	}
	return errkind.As(errkind.Input, errors.New("two sessions of session_sources have the same id"))
}

// mostHashes is how many are tried.
const mostHashes = 3

// noteSessions enters the sessions of as much of the journal after a row as there
// is room for, in its order, and returns the last row of that.
func (a *journeySums) noteSessions(ctx context.Context, after int64) (last int64, err error) {
	g, last := a.sessions, after
	clear(g.of)
	err = fetched(ctx, a.of.tx, a.of.in(a.journal(`j.journey, `+scoredColumns, after, math.MaxInt64)), func(found pgx.CollectableRow) error {
		row := found.RawValues()
		if err := a.row.read(row[1:]); err != nil {
			return err
		}
		if last > after && len(g.of)+len(a.row.sessions) > g.most {
			return io.EOF
		}
		for _, id := range a.row.sessions {
			g.of[g.mark(id)] = journeysum.NoGroup
		}
		last = integer(row[0])
		return nil
	}, func() error { return nil })
	if err != nil || last == after {
		return last, err
	}
	return last, a.of.raw(ctx, sessionGroupsQuery, func(row [][]byte) error {
		mark := g.mark(row[0])
		if _, noted := g.of[mark]; noted {
			g.of[mark] = g.number(row[1], row[2])
		}
		return nil
	})
}
