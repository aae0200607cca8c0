package history

import (
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/store"
)

// Of a run that is dropped one row is left as long as something of it is shown:
// attributions that later runs reuse, or why a conversion has none.

// underWay is how many later reports it takes at least until a run that never
// ended is taken for dead: it may be paused, or stuck, for days.
const underWay = 30

// Aged is a run as it is looked at when records are dropped.
type Aged struct {
	Run, Report int64 // their numbers; no report is 0
	ID          string
	Status      store.Status
	Request     string // as JSON
	Dropped     bool
}

// whole says whether the run's range is all dates.
func (r *Aged) whole() bool {
	req, err := run.Decode([]byte(r.Request))
	return err == nil && req.GetStartDate() == "" && req.GetEndDate() == ""
}

// Drop calls drop with the runs, which come latest first, that are no more among
// so many latest ones that have a report, nor between them. settled says that a
// later run told of all conversions why they have no attribution.
func Drop(all []Aged, keep int, drop func(r Aged, settled bool) error) error {
	age := 0 // in reports that came after
	settled := false
	for _, r := range all {
		if age >= keep && !r.Dropped && (r.Status != store.Running || age >= underWay) {
			if err := drop(r, settled); err != nil {
				return err
			}
		}
		if r.Report > 0 {
			age++
		}
		settled = settled || r.Status == store.Written && r.whole()
	}
	return nil
}

// Looked is at every how many runs it is looked for rows of dropped ones that
// nothing refers to, which takes a reading of the journal.
const Looked = 32
