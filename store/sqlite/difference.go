package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"maps"
	"slices"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/store"
)

// Difference implements [store.Reports].
func (d *Database) Difference(ctx context.Context, first, second string) (*store.Difference, error) {
	var diff *store.Difference
	err := d.inSnapshot(ctx, noSource, func(conn *sql.Conn) error {
		there, err := hasTables(ctx, conn, "pipeline_totals", "pipeline_changes")
		if err != nil {
			return err
		}
		if !there {
			return errkind.Inputf("database %q has no history of reports: run this release on it, twice, and there is one", d.path)
		}
		all, err := readRecords(ctx, conn)
		if err != nil {
			return err
		}
		from, to, err := all.choose(first, second)
		if err == nil {
			diff, err = difference(ctx, conn, from, to)
		}
		return err
	})
	return diff, err
}

// runRecord is a run that is over, or was dropped.
type runRecord struct {
	store.RunRecord
	status  store.Status
	report  int64 // 0: it has none
	dropped bool
}

// runRecords are all of them, the oldest first.
type runRecords []runRecord

func readRecords(ctx context.Context, conn *sql.Conn) (all runRecords, err error) {
	found, err := conn.QueryContext(ctx, `SELECT run_id, status, request, scored_by, model, program, source, coalesce(report, 0), dropped FROM pipeline_runs ORDER BY run`)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	for found.Next() {
		var r runRecord
		if err := found.Scan(&r.ID, &r.status, &r.Request, &r.ScoredBy, &r.Model, &r.Program, &r.Source, &r.report, &r.dropped); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, found.Err()
}

// reported returns those that have a report, in the order of their reports.
func (all runRecords) reported() runRecords {
	some := slices.DeleteFunc(slices.Clone(all), func(r runRecord) bool { return r.report == 0 || r.dropped })
	slices.SortStableFunc(some, func(a, b runRecord) int { return cmp.Compare(a.report, b.report) })
	return some
}

// choose returns the runs that are named, the one reported first first.
func (all runRecords) choose(first, second string) (from, to runRecord, err error) {
	reported := all.reported()
	if len(reported) < 2 {
		return from, to, errkind.Inputf("there is nothing to compare: the database keeps %s", human.Count(len(reported), "report"))
	}
	if to, err = all.find(cmp.Or(second, "last")); err != nil {
		return from, to, err
	}
	if first == "" {
		at := slices.IndexFunc(reported, func(r runRecord) bool { return r.report == to.report })
		if at == 0 {
			return from, to, errkind.Inputf("run %s is the first of those that are kept: there is none before it to compare it with", to.ID)
		}
		return reported[at-1], to, nil
	}
	if from, err = all.find(first); err != nil {
		return from, to, err
	}
	if from.report == to.report {
		return from, to, errkind.Inputf("run %s cannot be compared with itself: name two", to.ID)
	}
	if from.report > to.report {
		from, to = to, from
	}
	return from, to, nil
}

// find returns the run of that id, the one whose id begins so, or the last.
func (all runRecords) find(name string) (runRecord, error) {
	if name == "last" {
		reported := all.reported()
		return reported[len(reported)-1], nil
	}
	var found runRecords
	for _, r := range all {
		if r.ID == name {
			found = runRecords{r}
			break
		}
		if strings.HasPrefix(r.ID, name) {
			found = append(found, r)
		}
	}
	switch {
	case len(found) == 0:
		return runRecord{}, errkind.Inputf("the database knows no run %s; it may have been dropped (see --keep-runs)", human.QuoteText(name))
	case len(found) > 1:
		return runRecord{}, errkind.Inputf("several runs begin with %s, %s and %s among them: name one with more of its id", name, found[0].ID, found[1].ID)
	case found[0].dropped:
		return runRecord{}, errkind.Inputf("the records of run %s were dropped, since only those of the latest runs are kept (--keep-runs)", found[0].ID)
	case found[0].report == 0:
		return runRecord{}, errkind.Inputf("run %s has no report to compare: it is %s", found[0].ID, found[0].status)
	}
	return found[0], nil
}

func difference(ctx context.Context, conn *sql.Conn, from, to runRecord) (*store.Difference, error) {
	before, err := readTotals(ctx, conn, from.report)
	if err != nil {
		return nil, err
	}
	after, err := readTotals(ctx, conn, to.report)
	if err != nil {
		return nil, err
	}
	why, err := readChanges(ctx, conn, from.report, to.report)
	if err != nil {
		return nil, err
	}
	channels := maps.Clone(before)
	maps.Copy(channels, after)
	for _, of := range why { // one that came and went between the two
		maps.Copy(channels, of)
	}
	d := &store.Difference{From: from.RunRecord, To: to.RunRecord}
	for _, channel := range slices.Sorted(maps.Keys(channels)) {
		c := store.ChannelDifference{Channel: channel, Before: before[channel], After: after[channel], Causes: map[store.Cause]store.Amounts{}}
		for cause, of := range why {
			if a, there := of[channel]; there && !a.IsZero() {
				c.Causes[cause] = a
			}
		}
		d.Channels = append(d.Channels, c)
	}
	return d, nil
}
