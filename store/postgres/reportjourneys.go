package postgres

import (
	"context"
	"encoding/binary"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/history"
	"github.com/ihc-pipeline/ihc/store/journeysum"
)

// journeysQuery is the journal as it is shown, a row a session. The sessions are
// listed first and then joined as a whole, not journey by journey. {told} and what
// belongs to it are for the history: see [withHistory].
const journeysQuery = `WITH said AS MATERIALIZED (
		SELECT j.journey, j.run, v.conv_date, v.units, u.*, j.initializer IS NOT NULL AS phased{told}
		FROM pipeline_latest l JOIN pipeline_journeys j ON j.journey = l.journey AND j.conv_id = l.conv_id JOIN {conversions} v ON v.conv_id = j.conv_id{told by}
			LEFT JOIN LATERAL unnest(j.sessions, j.ihc, j.initializer, j.holder, j.closer) WITH ORDINALITY AS u(session_id, ihc, initial, hold, close, place) ON true)
	SELECT u.journey, u.run, u.conv_date, u.units, u.place, s.session_id IS NOT NULL, {dimension}, coalesce(s.event_date, ''),
		coalesce(u.ihc, 0), coalesce(u.initial, 0), coalesce(u.hold, 0), coalesce(u.close, 0), u.phased{told of}
	FROM said u LEFT JOIN {sessions} s ON s.session_id = u.session_id ORDER BY u.journey, u.place`

// withHistory and withoutHistory replace in [journeysQuery] what is told of a
// conversion, now and by the last report, which is on the first of its rows. The
// hash of the sessions is reckoned where the last report told another row of the
// journal.
var withHistory, withoutHistory = strings.NewReplacer(
	`{told}`, first(`j.conv_id AS id`, `j.fingerprint AS fingerprint`, `CASE WHEN t.journey IS DISTINCT FROM j.journey THEN substr(sha256(convert_to(array_to_string(j.sessions, E'\x1f'), 'UTF8')), 1, 8) END AS hash`,
		`t.journey AS told`, `t.run AS told_run`, `t.fingerprint AS told_fingerprint`, `t.sessions AS told_sessions`, `t.revenue AS told_revenue`, `t.credit AS told_credit`),
	`{told by}`, ` LEFT JOIN pipeline_told t ON t.conv_id = j.conv_id`,
	`{told of}`, `, u.id, u.fingerprint, u.hash, u.told, u.told_run, u.told_fingerprint, u.told_sessions, u.told_revenue, u.told_credit`,
), strings.NewReplacer(`{told}`, ``, `{told by}`, ``, `{told of}`, ``)

// first has columns be NULL but on the first row of a conversion.
func first(columns ...string) (terms string) {
	for _, c := range columns {
		at := strings.LastIndex(c, " AS ")
		terms += `, CASE WHEN coalesce(u.place, 1) = 1 THEN ` + c[:at] + ` END` + c[at:]
	}
	return terms
}

// journeyRow is a row of [journeysQuery].
type journeyRow struct {
	journey, run, units int64
	sold                string // date
	place               *int64 // nil where the journal has no session
	known               bool   // the session is there
	channel             *string
	date                string
	share               journeysum.Shares
	phased              bool
	now, was            toldRow
}

// toldRow is what is told of a conversion.
type toldRow struct {
	id                   *string
	fingerprint, hash    []byte
	journey              *int64
	run, sessions, units *int64
	credit               []byte
}

// into returns where the columns go.
func (r *journeyRow) into(history bool) []any {
	all := []any{&r.journey, &r.run, &r.sold, &r.units, &r.place, &r.known, &r.channel, &r.date,
		&r.share.IHC, &r.share.Initializer, &r.share.Holder, &r.share.Closer, &r.phased}
	if history {
		all = append(all, &r.now.id, &r.now.fingerprint, &r.now.hash, &r.was.journey, &r.was.run, &r.was.fingerprint, &r.was.sessions, &r.was.units, &r.was.credit)
	}
	return all
}

// told returns what was told of the conversion before, nil for nothing, and what
// is told now, but for its credit.
func (r *journeyRow) told() (was, now *history.Told) {
	now = &history.Told{Journey: r.journey, Conv: *r.now.id, Run: r.run, Fingerprint: r.now.fingerprint, Revenue: unit.Money(r.units)}
	if len(r.now.hash) > 0 {
		now.Sessions = int64(binary.BigEndian.Uint64(r.now.hash))
	}
	if r.was.journey == nil {
		return nil, now
	}
	return &history.Told{Journey: *r.was.journey, Conv: now.Conv, Run: *r.was.run, Fingerprint: r.was.fingerprint, Sessions: *r.was.sessions,
		Revenue: unit.Money(*r.was.units), Credit: r.was.credit}, now
}

// journeySums adds up the journal's journeys from its rows.
type journeySums struct {
	*journeysum.Sums
	history  *comparing // nil where none is kept
	groups   map[key]uint32
	row      journeyRow
	journey  journeysum.Journey // at hand
	at       int64              // its row of the journal; 0 for none
	was, now *history.Told      // of it
}

// readJourneys adds up the journal.
func (s *summing) readJourneys(ctx context.Context) error {
	there, err := hasTables(ctx, s.tx, "pipeline_journeys", "pipeline_latest", "pipeline_runs")
	if err != nil || !there {
		return err
	}
	if err := checkJournal(ctx, s.tx, s.in(`pipeline_latest l JOIN pipeline_journeys j ON j.journey = l.journey AND j.conv_id = l.conv_id JOIN {conversions} v ON v.conv_id = j.conv_id WHERE true`)); err != nil {
		return err
	}
	all := &journeySums{Sums: journeysum.New(s.req, 0), history: s.history, groups: map[key]uint32{}}
	if s.history == nil {
		err = s.each(ctx, withoutHistory.Replace(journeysQuery), nil, all.row.into(false), all.add)
	} else {
		err = fetched(ctx, s.tx, s.in(withHistory.Replace(journeysQuery)), all.row.into(true), all.add, func() error { return s.history.write(ctx) })
	}
	if err == nil {
		err = all.finish()
	}
	if err == nil && s.history != nil {
		err = s.history.write(ctx)
	}
	if err != nil {
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

// add adds a row.
func (a *journeySums) add() error {
	r := &a.row
	if r.journey != a.at {
		if err := a.finish(); err != nil {
			return err
		}
		day, ok := civil.ParseDate(r.sold)
		if !ok {
			return nil // a date that validation would have refused
		}
		a.at = r.journey
		a.journey = journeysum.Journey{Run: r.run, Date: r.sold, Day: day, Revenue: unit.Money(r.units), Groups: a.journey.Groups[:0], Shares: a.journey.Shares[:0], Phased: r.phased}
		if a.history != nil {
			a.was, a.now = r.told()
		}
	}
	if r.place == nil {
		return nil
	}
	a.journey.Groups, a.journey.Shares = append(a.journey.Groups, a.group()), append(a.journey.Shares, r.share)
	return nil
}

// group returns the number of the group that the row's session is in.
func (a *journeySums) group() uint32 {
	r := &a.row
	if !r.known {
		return journeysum.NoGroup
	}
	k := key{elsewhere, r.date}
	if r.channel != nil {
		k.channel = *r.channel
	}
	n, met := a.groups[k]
	if !met {
		n = a.Group(k.channel, k.date)
		a.groups[k] = n
	}
	return n
}

// finish adds the journey at hand.
func (a *journeySums) finish() error {
	if a.at == 0 {
		return nil
	}
	a.at = 0
	a.Add(&a.journey)
	if a.history == nil {
		return nil
	}
	a.now.Credit = a.history.channels.Credit(a.Sums, &a.journey)
	return a.history.tell(a.was, a.now)
}
