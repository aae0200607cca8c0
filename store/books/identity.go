package books

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// Entered is what a ledger has of who a run is: what the other tables call it,
// when it was asked for, and its request as JSON.
type Entered struct {
	Number         int64
	Asked, Request string
}

// Replaced says that a database, by the name it is shown by, is not the one that a
// run began on. The error wraps [store.ErrRefused].
func Replaced(database, id string) error {
	return Refuse("the database at %s is not the one that run %s began on: it was replaced; ask for the run again", database, id)
}

// Record returns what a ledger writes of a run that was accepted, as JSON: its
// request and what scores it, which is empty where that was not settled.
func Record(a *ihcv1.RunAccepted) (request, scoredBy []byte, err error) {
	if request, err = run.JSON(a.GetRequest(), ""); err != nil {
		return nil, nil, err
	}
	if a.GetScoring() == nil {
		return request, []byte{}, nil
	}
	scoredBy, err = protojson.MarshalOptions{UseProtoNames: true}.Marshal(a.GetScoring())
	return request, scoredBy, err
}

// TakesName says whether a run that is accepted takes its name from the one that
// the ledger has under it, nil for none. The error wraps [store.ErrRefused] where
// that was another request.
func TakesName(was *Entered, a *ihcv1.RunAccepted) (bool, error) {
	if was == nil || was.Asked == a.GetAsked() {
		return false, nil
	}
	if before, err := run.Decode([]byte(was.Request)); err != nil || !run.Same(before, a.GetRequest()) {
		return false, Refuse("run id %s was used on this database for another request (%s): choose another run_id, or leave it empty", a.GetRequest().GetRunId(), run.Describe(before))
	}
	return true, nil
}

// RetiredName is the name, which no run can be asked for under, of one whose own
// another run has taken.
func RetiredName(id string, number int64) string { return fmt.Sprintf("%s@%d", id, number) }

// Admit says whether a run that was accepted for a database of an identity has to
// be entered in the one that has this name and identity, whose ledger has there of
// the run, nil for nothing. The error wraps [store.ErrRefused] where the run is not
// that database's.
func Admit(a *ihcv1.RunAccepted, name, identity string, there *Entered) (enter bool, err error) {
	id, other := a.GetRequest().GetRunId(), identity != a.GetDatabase()
	late := there != nil && there.Asked != a.GetAsked()
	switch replay := a.GetRequest().GetReplayOf() != ""; {
	case replay && other:
		return false, Refuse("the database at %s is not the one that run %s began on, which run %s replays: replay it there, or ask for a new run", name, a.GetRequest().GetReplayOf(), id)
	case other, there == nil && !replay:
		return false, Replaced(name, id)
	case late && !replay:
		return false, Refuse("run %s of database %s was asked for at another time (%s, not %s)", id, name, there.Asked, a.GetAsked())
	default:
		return late, nil
	}
}
