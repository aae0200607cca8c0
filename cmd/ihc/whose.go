package main

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/open"
)

// ask asks for the run and returns its id. Where one of that id is over, it is
// the run, but only on the database that it was of: to another it says nothing
// (invariant 12). One whose streams go with the process is noted in their directory
// before anybody hears of it.
func (l localRun) ask(ctx context.Context, runs *ops.Runs, client *stream.Client, dir string) (string, error) {
	req := l.request
	if l.dataDir == "" {
		req = proto.CloneOf(req)
		req.RunId = ops.NewID()
		note(dir, req.GetRunId())
	}
	id, err := runs.Start(ctx, req)
	if err != nil || l.dataDir == "" {
		return id, err
	}
	s, err := runs.Latest(ctx, id)
	if errors.Is(err, ops.ErrUnknown) || err == nil && !s.Status().Ended() {
		return id, nil
	}
	if err != nil {
		return id, err
	}
	accepted, err := client.Accepted(ctx, s.ID)
	if errors.Is(err, stream.ErrNotFound) {
		return id, nil // it came to no database
	}
	if err != nil {
		return id, err
	}
	db := open.Database(l.db)
	defer db.Close() //nolint:errcheck // only read
	if err = db.Confirm(ctx, accepted); errors.Is(err, store.ErrRefused) {
		err = errkind.Inputf("run %s, which data directory %s holds, is over and is not of this database (it was of another, or of this one before it was replaced): choose another --run-id, or another --data-dir", id, l.dataDir)
		return id, errkind.WithCode(errkind.CodeRunExists, err)
	}
	return id, err
}
