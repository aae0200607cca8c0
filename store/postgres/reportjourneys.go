package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"

	"golang.org/x/sync/errgroup"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/history"
	"github.com/ihc-pipeline/ihc/store/journeysum"
	"github.com/ihc-pipeline/ihc/store/sessionindex"
)

// journeySums adds up the journal's journeys, row by row.
type journeySums struct {
	*journeysum.Sums
	of       *summing
	sessions *sessionindex.Index
	row      scored
	marks    []uint64           // of its sessions
	read     int                // rows
	journey  journeysum.Journey // at hand
}

// journal returns a query of the journal as it is shown, after a row and up to
// another, in its order. What a report tells of a conversion it compares with what
// the last one told.
func (a *journeySums) journal(columns string, after, last int64) string {
	told := ""
	if a.of.history != nil {
		told = ` LEFT JOIN pipeline_told t ON t.conv_id = j.conv_id`
	}
	return fmt.Sprintf(`SELECT %s FROM pipeline_latest l JOIN pipeline_journeys j ON j.journey = l.journey AND j.conv_id = l.conv_id
		JOIN {conversions} v ON v.conv_id = j.conv_id%s WHERE j.journey > %d AND j.journey <= %d ORDER BY j.journey`, columns, told, after, last)
}

// The columns that a journey is read from, before [scoredColumns], and those that
// the history needs, after them.
const (
	journeyColumns = `j.journey, j.run, v.conv_date, v.units, `
	toldColumns    = `, j.fingerprint, t.journey, t.run, t.fingerprint, t.sessions, t.revenue, t.credit`

	toldColumnsCount = 7
)

// readJourneys adds up the journal, whose sessions are all entered.
func (s *summing) readJourneys(ctx context.Context, sessions *sessionindex.Index) error {
	return s.sumJourneys(ctx, sessions, func(all *journeySums) error {
		all.Groups(sessions.Keys())
		return all.readRows(ctx, 0, math.MaxInt64)
	})
}

// readJourneysInParts adds up as much of the journal at a time as there is room for
// the sessions of.
func (s *summing) readJourneysInParts(ctx context.Context) error {
	sessions := sessionindex.New(s.d.sessions, sessionindex.NewHash())
	defer sessions.Close()
	return s.sumJourneys(ctx, sessions, func(all *journeySums) error {
		for after := int64(0); ; {
			last, err := all.noteSessions(ctx, after)
			if err != nil || last == after {
				return err
			}
			all.Groups(sessions.Keys())
			if err := all.readRows(ctx, after, last); err != nil {
				return err
			}
			after = last
		}
	})
}

// sumJourneys adds up the journal, which read reads.
func (s *summing) sumJourneys(ctx context.Context, sessions *sessionindex.Index, read func(*journeySums) error) error {
	there, err := hasJournal(ctx, s.tx)
	if err != nil || !there {
		return err
	}
	all := &journeySums{Sums: journeysum.New(s.req, 0), of: s, sessions: sessions}
	if err := read(all); err != nil {
		return err
	}
	if s.Journeys = all.Result(); s.Journeys == nil {
		return nil
	}
	var run int64
	var r store.RunJourneys
	return s.each(ctx, `SELECT run, run_id, model, request FROM pipeline_runs ORDER BY run`, nil, []any{&run, &r.RunID, &r.Model, &r.Request}, func() error {
		if r.Conversions = all.Of(run); r.Conversions > 0 {
			s.Journeys.Runs = append(s.Journeys.Runs, r)
		}
		return nil
	})
}

// readRows adds the journeys after a row of the journal and up to another. What
// they are told as now is written meanwhile, by the transaction of the report.
func (a *journeySums) readRows(ctx context.Context, after, last int64) error {
	h := a.of.history
	if h == nil {
		return a.of.raw(ctx, a.journal(journeyColumns+scoredColumns, after, last), func(row [][]byte) error {
			_, err := a.add(row)
			return err
		})
	}
	differ := make(chan []history.Told, 1)
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error {
		for some := range differ {
			if err := h.write(ctx, some); err != nil {
				return err
			}
		}
		return nil
	})
	both.Go(func() error {
		defer close(differ)
		var some []history.Told
		hand := func() error {
			select {
			case differ <- some:
				some = nil
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		err := a.of.raw(ctx, a.journal(journeyColumns+scoredColumns+toldColumns, after, last), func(row [][]byte) error {
			added, err := a.add(row)
			if err != nil || !added {
				return err
			}
			was, now := a.told(row)
			differs, err := h.tell(was, now)
			if differs {
				some = append(some, *now)
			}
			if err == nil && len(some) == toldAtATime {
				err = hand()
			}
			return err
		})
		if err == nil && len(some) > 0 {
			err = hand()
		}
		return err
	})
	return both.Wait()
}

// toldAtATime is how many conversions are written at a time.
const toldAtATime = 10_000

// tell tells now and then that rows were read, which takes so many times as long as to
// add them.
func (a *journeySums) tell(times float64) {
	if a.read++; a.read%1000 == 0 {
		a.of.work.Add(1000 * times * a.of.journey)
	}
}

// add adds a row. One with a date that validation would have refused is none.
func (a *journeySums) add(row [][]byte) (added bool, err error) {
	a.tell(1)
	if err := a.row.read(row[4:]); err != nil {
		return false, err
	}
	date := string(row[2])
	day, ok := civil.ParseDate(date)
	if !ok {
		return false, nil
	}
	shares := a.row.shares
	groups := a.sessions.Groups(a.marked(), a.journey.Groups[:0])
	a.journey = journeysum.Journey{Groups: groups, Run: integer(row[1]), Date: date, Day: day, Revenue: unit.Money(integer(row[3])), Shares: a.journey.Shares[:0], Phased: shares[1] != nil && shares[2] != nil && shares[3] != nil}
	for i := range a.row.sessions {
		share := journeysum.Shares{IHC: int64(shares[0][i])}
		if a.journey.Phased {
			share.Initializer, share.Holder, share.Closer = int64(shares[1][i]), int64(shares[2][i]), int64(shares[3][i])
		}
		a.journey.Shares = append(a.journey.Shares, share)
	}
	a.Add(&a.journey)
	return true, nil
}

// told returns what was told of the row's conversion before, nil for nothing, and
// what is told now. The hash of its sessions is reckoned where the last report told
// another row of the journal.
func (a *journeySums) told(row [][]byte) (was, now *history.Told) {
	t := row[len(row)-toldColumnsCount:]
	now = &history.Told{Journey: integer(row[0]), Conv: string(a.row.conv), Run: a.journey.Run, Fingerprint: append([]byte(nil), t[0]...), Revenue: a.journey.Revenue,
		Credit: a.of.history.channels.Credit(a.Sums, &a.journey)}
	if t[1] != nil {
		was = &history.Told{Journey: integer(t[1]), Conv: now.Conv, Run: integer(t[2]), Fingerprint: t[3], Sessions: integer(t[4]), Revenue: unit.Money(integer(t[5])), Credit: t[6]}
	}
	if was == nil || was.Journey != now.Journey {
		hash := sha256.Sum256(appendJoined(nil, a.row.sessions))
		now.Sessions = int64(binary.BigEndian.Uint64(hash[:]))
	}
	return was, now
}
