package store

import (
	"context"
	"slices"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// EndedAs returns what a ledger calls a run that ended with the event before its
// time, "" for any other event.
func EndedAs(e *ihcv1.RunEvent) Status {
	switch {
	case e.GetCancelled() != nil:
		return Cancelled
	case e.GetFailed().GetSupersededBy() != "":
		return Superseded
	case e.GetFailed() != nil:
		return Failed
	default:
		return ""
	}
}

// EndEntered ends, as End of [Ledger] does, a run that was asked for then and there
// (see [run.Asked]) if the database calls it running. It is for runs of whose
// beginning nobody may have heard: a database that they never came to is only read.
func EndEntered(ctx context.Context, db Database, id, asked string, status Status) error {
	known, err := db.Runs(ctx)
	if err != nil {
		return err
	}
	isIt := func(r KnownRun) bool { return r.Status == Running && r.ID == id && r.Asked == asked }
	if !slices.ContainsFunc(known, isIt) {
		return nil
	}
	return db.End(ctx, id, status)
}
