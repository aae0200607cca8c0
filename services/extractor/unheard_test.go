package extractor

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/internal/stream/streamtest"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/open"
)

// entering is a database where something happens when a run was entered, before
// its extractor hears of that.
type entering struct {
	store.Database
	then func(context.Context) error
}

func (d *entering) Enter(ctx context.Context, a *ihcv1.RunAccepted) (database string, again bool, err error) {
	if database, again, err = d.Database.Enter(ctx, a); err == nil {
		err = d.then(ctx)
	}
	return database, again, err
}

// A run that ends between its entry in the database and its event accepted ends
// in both as what it is, however it ends there and whoever is left to say so.
func TestRunThatEndsWhenItIsEnteredEndsInTheDatabaseToo(t *testing.T) {
	t.Parallel()
	late := run.Failed("run", "ihc", errors.New("not done within 1s (--timeout)"))
	cancelled := &ihcv1.RunEvent{RunId: "run", Event: &ihcv1.RunEvent_Cancelled{Cancelled: &ihcv1.RunCancelled{}}}
	for name, c := range map[string]struct {
		end         *ihcv1.RunEvent
		fault       error
		heard, dies bool
		want        store.Status
	}{
		"its time is over": {end: late, want: store.Failed},
		"its time is over, of which is heard at once": {end: late, heard: true, want: store.Failed},
		"it is cancelled": {end: cancelled, want: store.Cancelled},
		"it is cancelled, of which is heard at once": {end: cancelled, heard: true, want: store.Cancelled},
		"it cannot go on":                        {fault: errors.New("the disk is gone"), want: store.Failed},
		"its process dies, and its time is over": {end: late, dies: true, want: store.Failed},
		"its process dies, and it is cancelled":  {end: cancelled, dies: true, want: store.Cancelled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := streamtest.New(t)
			db := open.Database(newShop(t, 600))
			t.Cleanup(func() { require.NoError(t, db.Close()) })
			d := &entering{db, func(ctx context.Context) error {
				if c.end != nil && !c.dies {
					if err := b.PublishEvent(b.Ctx, c.end); err != nil {
						return err
					}
				}
				if c.heard || c.dies {
					<-ctx.Done()
				}
				return c.fault
			}}
			stop := b.Service(stream.StageExtractor, func(ctx context.Context, deps service.Deps) error { return runOn(ctx, d, Config{}, deps) })
			require.NoError(t, b.PublishRequest(b.Ctx, &ihcv1.RunRequest{RunId: "run"}))
			status := func() store.Status {
				known, err := db.Runs(b.Ctx)
				require.NoError(t, err)
				require.LessOrEqual(t, len(known), 1)
				if len(known) == 0 {
					return ""
				}
				return known[0].Status
			}
			if c.dies {
				require.Eventually(t, func() bool { return status() == store.Running }, deadline, tick)
				stop()
				require.NoError(t, b.PublishEvent(b.Ctx, c.end))
				b.Service(stream.StageExtractor, func(ctx context.Context, deps service.Deps) error { return runOn(ctx, db, Config{}, deps) })
			}
			end := b.Await("run", func(e *ihcv1.RunEvent) bool { return store.EndedAs(e) != "" })
			require.Equal(t, c.want, store.EndedAs(end))
			b.Idle(stream.Requests)
			require.Equal(t, c.want, status())
			_, err := b.Accepted(b.Ctx, "run")
			require.ErrorIs(t, err, stream.ErrNotFound)
		})
	}
}
