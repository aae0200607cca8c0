package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"runtime"
	"sync"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/tables"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// What a row takes in a report, in microseconds of one processor. Only what they are
// to each other counts: docs/performance.md says how they are measured.
const (
	tookSession     = 1.4
	tookCost        = 0.9 // and to sum it by a join, once more
	tookKnownCost   = 1.5
	tookConversion  = 2.5 // to count it
	tookAttributed  = 4   // a conversion, to add up its attributions, and each of these
	tookAttribution = 0.85
	tookJourney     = 20 // to read it from the journal, and each session of it
	tookMark        = 0.25
	tookCounted     = 0.1 // a row, to know how many there are
	tookPair        = 6.5 // to compare a conversion with what was told of it otherwise
	tookUntold      = 1.3 // to forget what was told
)

// takes are how long a pass over the tables takes whose parts are alike, in
// microseconds of one processor.
type takes struct{ sessions, costs, known float64 }

// reporting tells how far a report is, by the rows that it read. The journal is read
// by one connection beside the others, and what is left takes as long as whichever of
// the two takes longer. nil tells nothing.
type reporting struct {
	counter *store.Counter

	mu              sync.Mutex
	lanes           float64 // what works side by side
	journal, others work    // in microseconds of one processor
	alone           work    // likewise, of what has nothing beside it, before and after
	apart           bool    // the journal is read when all else is
	told            float64 // how much of it, from 0 to 1
}

// work is how much there is and how much is done.
type work struct{ all, done float64 }

func (w work) left() float64 { return max(w.all-w.done, 0) }

// newReporting returns what tells how far a report is, which those connections make;
// nil where nobody listens.
func newReporting(ctx context.Context, readers *sql.DB) *reporting {
	counter := store.Begin(ctx)
	if counter == nil {
		return nil
	}
	r := &reporting{counter: counter, lanes: 1}
	if readers != nil {
		r.lanes = float64(max(min(readers.Stats().MaxOpenConnections, runtime.GOMAXPROCS(0)), 1))
	}
	counter.Expect(1)
	return r
}

// expect notes how much there is to read of the tables, and returns how long they take.
func (r *reporting) expect(ctx context.Context, s *summing) (t takes, err error) {
	if r == nil {
		return takes{}, nil
	}
	conn := s.conn
	rows := map[string]float64{tables.SessionCosts: 0, tables.Conversions: 0}
	if there, err := hasTables(ctx, conn, "pipeline_latest"); err != nil {
		return takes{}, err
	} else if there {
		rows["pipeline_latest"] = 0
	}
	for table := range rows {
		var n float64
		if err := conn.QueryRowContext(ctx, `SELECT count(*) FROM `+table).Scan(&n); err != nil {
			return takes{}, err
		}
		rows[table] = n
	}
	counted := tookCounted * (float64(s.sessionRows) + rows[tables.SessionCosts] + rows[tables.Conversions] + rows["pipeline_latest"])
	if start, end := run.Range(s.req); ranged(s.req) {
		var n float64
		if err := conn.QueryRowContext(ctx, `SELECT count(*) FROM conversions v WHERE `+s.inRange(), start, end).Scan(&n); err != nil {
			return takes{}, err
		}
		rows[tables.Conversions] = n
	}
	replaced, err := tellsAnew(ctx, conn, s.req)
	if err != nil {
		return takes{}, err
	}
	each, err := perConversion(ctx, conn, 1)
	if err != nil {
		return takes{}, err
	}
	each, journeys := cmp.Or(each, attributionsGuessed), rows["pipeline_latest"]
	t = takes{
		sessions: float64(s.sessionRows) * tookSession,
		costs:    rows[tables.SessionCosts] * tookCost,
		known:    rows[tables.SessionCosts] * tookKnownCost,
	}
	passes := s.x.Passes()
	r.mu.Lock()
	r.apart = passes > 1
	r.journal = work{all: journeys * (tookJourney + each*tookMark)}
	r.alone = work{all: counted + replaced*(tookPair+tookUntold)}
	r.others = work{all: rows[tables.Conversions]*tookConversion + t.known + float64(passes)*(t.sessions+t.costs+journeys*(tookAttributed+each*tookAttribution))}
	r.mu.Unlock()
	r.add(0, 0, counted)
	return t, nil
}

// read notes that so much of the tables is read, in microseconds.
func (r *reporting) read(took float64) { r.add(took, 0, 0) }

// readAttributions notes that the attributions of so many conversions are read.
func (r *reporting) readAttributions(conversions, rows int) {
	r.read(float64(conversions)*tookAttributed + float64(rows)*tookAttribution)
}

// readJourneys notes that so many journeys of the journal are read.
func (r *reporting) readJourneys(n, sessions int) {
	r.add(0, float64(n)*tookJourney+float64(sessions)*tookMark, 0)
}

// pair notes that so many conversions are compared with what was told of them.
func (r *reporting) pair(n int) { r.add(0, 0, float64(n)*tookPair) }

// untell notes that what was told of so many conversions is forgotten.
func (r *reporting) untell(n int) { r.add(0, 0, float64(n)*tookUntold) }

func (r *reporting) add(others, journal, alone float64) {
	if r == nil {
		return
	}
	r.mu.Lock()
	r.others.done += others
	r.journal.done += journal
	r.alone.done += alone
	more := 0.0
	if whole := r.takes(r.others.all, r.journal.all) + r.alone.all; whole > 0 {
		more = 1 - (r.takes(r.others.left(), r.journal.left())+r.alone.left())/whole - r.told
		r.told += max(more, 0)
	}
	r.mu.Unlock()
	r.counter.Add(more)
}

// takes returns how long so much of the journal and of all else takes.
func (r *reporting) takes(others, journal float64) float64 {
	if r.apart {
		return others/r.lanes + journal
	}
	return max((others+journal)/r.lanes, journal)
}

// tellsAnew returns of about how many conversions a run tells otherwise than the last
// report did: those that it scored itself, as far as any were told of.
func tellsAnew(ctx context.Context, conn *sql.Conn, req *ihcv1.RunRequest) (conversions float64, err error) {
	there, err := hasTables(ctx, conn, "pipeline_told", "pipeline_counts", "pipeline_runs")
	if err != nil || !there {
		return 0, err
	}
	err = conn.QueryRowContext(ctx, `SELECT min((SELECT count(*) FROM pipeline_told),
		coalesce((SELECT sum(CASE WHEN outcome = 'reused' THEN -conversions WHEN touchpoints > 0 THEN conversions END) FROM pipeline_runs JOIN pipeline_counts USING (run) WHERE run_id = ?), 0))`, req.GetRunId()).Scan(&conversions)
	return max(conversions, 0), err
}
