package ops

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

func TestARunThatWaitsSaysWhenItTriesAgain(t *testing.T) {
	t.Parallel()
	at := time.Date(2023, 9, 1, 12, 0, 5, 0, time.UTC)
	waits := &ihcv1.Progress{Waiting: "HTTP 503", NextTry: at.UnixMilli()}
	v := ViewWhole(&run.State{ID: "r", Started: at, Progress: run.Progress{Attributor: waits}})
	require.Equal(t, "HTTP 503", v.Waiting)
	require.Equal(t, &at, v.NextTry)
	require.Equal(t, &at, v.Stages["attributor"].NextTry)
	require.Equal(t, "HTTP 503 (next try at 12:00:05 UTC)", Waits(waits))

	// A time without anything to wait for is of the past.
	works := &ihcv1.Progress{NextTry: at.UnixMilli()}
	v = ViewWhole(&run.State{ID: "r", Started: at, Progress: run.Progress{Attributor: works}})
	require.Nil(t, v.NextTry)
	require.Nil(t, v.Stages["attributor"].NextTry)
	require.Empty(t, Waits(works))
	require.Equal(t, "a lock", Waits(&ihcv1.Progress{Waiting: "a lock"}))
}
