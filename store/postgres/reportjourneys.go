package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/history"
	"github.com/ihc-pipeline/ihc/store/journeysum"
)

// journeySums adds up the journal's journeys, row by row.
type journeySums struct {
	*journeysum.Sums
	of       *summing
	sessions *sessionGroups
	row      scored
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
)

// readJourneys adds up the journal.
func (s *summing) readJourneys(ctx context.Context) error {
	there, err := hasTables(ctx, s.tx, "pipeline_journeys", "pipeline_latest", "pipeline_runs")
	if err != nil || !there {
		return err
	}
	all := &journeySums{Sums: journeysum.New(s.req, 0), of: s, sessions: &sessionGroups{of: map[uint64]uint32{}, numbers: map[string]uint32{}, most: s.held}}
	if err := all.read(ctx); err != nil {
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

// read reads the journal at once where there is room for all sessions, and
// otherwise in parts.
func (a *journeySums) read(ctx context.Context) error {
	all, err := a.enterSessions(ctx)
	if err != nil {
		return err
	}
	if all {
		return a.readRows(ctx, 0, math.MaxInt64)
	}
	for after := int64(0); ; {
		last, err := a.noteSessions(ctx, after)
		if err != nil || last == after {
			return err
		}
		if err := a.readRows(ctx, after, last); err != nil {
			return err
		}
		after = last
	}
}

// readRows adds the journeys after a row of the journal and up to another.
func (a *journeySums) readRows(ctx context.Context, after, last int64) error {
	h := a.of.history
	if h == nil {
		return a.each(ctx, a.journal(journeyColumns+scoredColumns, after, last), func(row [][]byte) error {
			_, err := a.add(row)
			return err
		})
	}
	return fetched(ctx, a.of.tx, a.of.in(a.journal(journeyColumns+scoredColumns+toldColumns, after, last)), func(row pgx.CollectableRow) error {
		columns := row.RawValues()
		added, err := a.add(columns)
		if err != nil || !added {
			return err
		}
		was, now := a.told(columns)
		return h.tell(was, now)
	}, func() error { return h.write(ctx) })
}

// add adds a row. One with a date that validation would have refused is none.
func (a *journeySums) add(row [][]byte) (added bool, err error) {
	if err := a.row.read(row[4:]); err != nil {
		return false, err
	}
	date := string(row[2])
	day, ok := civil.ParseDate(date)
	if !ok {
		return false, nil
	}
	shares := a.row.shares
	a.journey = journeysum.Journey{Run: integer(row[1]), Date: date, Day: day, Revenue: unit.Money(integer(row[3])), Groups: a.journey.Groups[:0], Shares: a.journey.Shares[:0], Phased: shares[1] != nil && shares[2] != nil && shares[3] != nil}
	for i, id := range a.row.sessions {
		share := journeysum.Shares{IHC: int64(shares[0][i])}
		if a.journey.Phased {
			share.Initializer, share.Holder, share.Closer = int64(shares[1][i]), int64(shares[2][i]), int64(shares[3][i])
		}
		a.journey.Groups, a.journey.Shares = append(a.journey.Groups, a.sessions.find(id)), append(a.journey.Shares, share)
	}
	a.Add(&a.journey)
	return true, nil
}

// told returns what was told of the row's conversion before, nil for nothing, and
// what is told now. The hash of its sessions is reckoned where the last report told
// another row of the journal.
func (a *journeySums) told(row [][]byte) (was, now *history.Told) {
	t := row[11:]
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
