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
	seed maphash.Seed
	of   map[uint64]uint32
	most int

	numbers map[string]uint32 // of groups, by date and channel
	text    []byte            // at hand
}

func (g *sessionGroups) mark(session []byte) uint64 { return maphash.Bytes(g.seed, session) }

// find returns the group of a session, [journeysum.NoGroup] where there is none.
func (g *sessionGroups) find(session []byte) uint32 {
	if n, there := g.of[g.mark(session)]; there {
		return n
	}
	return journeysum.NoGroup
}

// number returns the number of the group of a channel, nil for other channels than
// the one asked for, and a date.
func (g *sessionGroups) number(sums *journeysum.Sums, channel, date []byte) uint32 {
	if channel == nil {
		channel = []byte(elsewhere)
	}
	g.text = append(append(append(g.text[:0], date...), separator...), channel...)
	n, met := g.numbers[string(g.text)]
	if !met {
		n = sums.Group(string(channel), string(date))
		g.numbers[string(g.text)] = n
	}
	return n
}

const sessionGroupsQuery = `SELECT s.session_id, {dimension}, coalesce(s.event_date, '') FROM {sessions} s`

// enterSessions enters all sessions, and says whether there is room for them. Where
// two are not told apart it begins anew, with another hash.
func (a *journeySums) enterSessions(ctx context.Context) (all bool, err error) {
	g := a.sessions
	for range mostHashes {
		g.seed, all = maphash.MakeSeed(), true
		clear(g.of)
		alike := false
		err := a.each(ctx, sessionGroupsQuery, func(row [][]byte) error {
			mark := g.mark(row[0])
			if _, alike = g.of[mark]; alike {
				return io.EOF
			}
			if all = len(g.of) < g.most; !all {
				return io.EOF
			}
			g.of[mark] = g.number(a.Sums, row[1], row[2])
			return nil
		})
		if err != nil || !alike {
			return all, err
		}
	}
	return false, errkind.As(errkind.Input, errors.New("two sessions of session_sources have the same id"))
}

// mostHashes is how many are tried.
const mostHashes = 3

// noteSessions enters the sessions of as much of the journal after a row as there
// is room for, in its order, and returns the last row of that.
func (a *journeySums) noteSessions(ctx context.Context, after int64) (last int64, err error) {
	g, last := a.sessions, after
	clear(g.of)
	err = a.each(ctx, a.journal(`j.journey, `+scoredColumns, after, math.MaxInt64), func(row [][]byte) error {
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
	})
	if err != nil || last == after {
		return last, err
	}
	return last, a.each(ctx, sessionGroupsQuery, func(row [][]byte) error {
		mark := g.mark(row[0])
		if _, noted := g.of[mark]; noted {
			g.of[mark] = g.number(a.Sums, row[1], row[2])
		}
		return nil
	})
}

// each calls do with the columns of each row of a query.
func (a *journeySums) each(ctx context.Context, query string, do func([][]byte) error) error {
	return fetched(ctx, a.of.tx, a.of.in(query), func(row pgx.CollectableRow) error { return do(row.RawValues()) }, func() error { return nil })
}
