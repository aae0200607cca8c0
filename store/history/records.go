package history

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/store"
)

// NoTables says that a database, by the name it is shown by, keeps no history.
func NoTables(database string) error {
	return errkind.Inputf("database %s has no history of reports: run this release on it, twice, and there is one", database)
}

// Record is a run that the database knows.
type Record = store.KnownRun

// Records are all of them, the oldest first.
type Records []Record

// reported returns those that have a report, in the order of their reports.
func (all Records) reported() Records {
	some := slices.DeleteFunc(slices.Clone(all), func(r Record) bool { return r.Report == 0 || r.Dropped })
	slices.SortStableFunc(some, func(a, b Record) int { return cmp.Compare(a.Report, b.Report) })
	return some
}

// Choose returns the runs that are named, the one reported first first: see
// [store.Reports].
func (all Records) Choose(first, second string) (from, to Record, err error) {
	reported := all.reported()
	if len(reported) < 2 {
		return from, to, errkind.Inputf("there is nothing to compare: the database keeps %s", human.Count(len(reported), "report"))
	}
	if to, err = all.find(cmp.Or(second, "last")); err != nil {
		return from, to, err
	}
	if first == "" {
		at := slices.IndexFunc(reported, func(r Record) bool { return r.Report == to.Report })
		if at == 0 {
			return from, to, errkind.Inputf("run %s is the first of those that are kept: there is none before it to compare it with", to.ID)
		}
		return reported[at-1], to, nil
	}
	if from, err = all.find(first); err != nil {
		return from, to, err
	}
	if from.Report == to.Report {
		return from, to, errkind.Inputf("run %s cannot be compared with itself: name two", to.ID)
	}
	if from.Report > to.Report {
		from, to = to, from
	}
	return from, to, nil
}

// find returns the run of that id, the one whose id begins so, or the last.
func (all Records) find(name string) (Record, error) {
	if name == "last" {
		reported := all.reported()
		return reported[len(reported)-1], nil
	}
	var found Records
	for _, r := range all {
		if r.ID == name {
			found = Records{r}
			break
		}
		if strings.HasPrefix(r.ID, name) {
			found = append(found, r)
		}
	}
	switch {
	case len(found) == 0:
		return Record{}, errkind.Inputf("the database knows no run %s; it may have been dropped (see --keep-runs)", human.QuoteText(name))
	case len(found) > 1:
		return Record{}, errkind.Inputf("several runs begin with %s, %s and %s among them: name one with more of its id", name, found[0].ID, found[1].ID)
	case found[0].Dropped:
		return Record{}, errkind.Inputf("the records of run %s were dropped, since only those of the latest runs are kept (--keep-runs)", found[0].ID)
	case found[0].Report == 0:
		return Record{}, errkind.Inputf("run %s has no report to compare: it is %s", found[0].ID, found[0].Status)
	}
	return found[0], nil
}

// Difference returns what led from one report to a later one, by what both came to
// and why they differ.
func Difference(from, to Record, before, after Amounts, why Changes) *store.Difference {
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
	return d
}
