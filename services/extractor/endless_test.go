package extractor

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/internal/stream/streamtest"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/open"
)

// endless is a database whose first check takes for ever, as that of a view
// without end does.
type endless struct {
	store.Database
	asked atomic.Bool
}

func (e *endless) Validate(ctx context.Context, o findings.Options) (*findings.Findings, error) {
	if e.asked.Swap(true) {
		return e.Database.Validate(ctx, o)
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestRunThatIsEndedIsNotReadAnyMore(t *testing.T) {
	t.Parallel()
	b := streamtest.New(t)
	db := &endless{Database: open.Database(newShop(t, 600))}
	defer db.Close()
	b.Service(stream.StageExtractor, func(ctx context.Context, d service.Deps) error { return runOn(ctx, db, Config{}, d) })
	require.NoError(t, b.PublishRequest(b.Ctx, &ihcv1.RunRequest{RunId: "endless"}))
	require.Eventually(t, func() bool {
		p, err := b.Progress(b.Ctx, "endless")
		return err == nil && p[stream.StageExtractor].GetWaiting() == "the source tables are being checked"
	}, time.Minute, 10*time.Millisecond)
	b.Event("endless", &ihcv1.RunEvent{Event: &ihcv1.RunEvent_Cancelled{Cancelled: &ihcv1.RunCancelled{}}})
	require.NoError(t, b.PublishRequest(b.Ctx, &ihcv1.RunRequest{RunId: "next"}))
	b.Await("next", isExtracted)
	_, err := b.Failed(b.Ctx, "endless")
	require.ErrorIs(t, err, stream.ErrNotFound)
}
