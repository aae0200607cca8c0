package cli

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// The drill of docs/operations-data.md: what is backed up is destroyed and
// restored, and a run that was paused goes on with it as if nothing had been.
func TestBackupIsRestoredAndGoesOn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	bin(t, h)
	h.must("demo", "--out", h.path("out", "demo"))
	reference := uninterrupted(h)
	api, root := startSandbox(h.with("IHC_SANDBOX_KEY=" + secret))
	on := h.with("IHC_API_KEY="+secret, "IHC_API_URL="+api, "IHC_CONV_TYPE_ID=any")
	ran := 0
	for _, block := range pastedOf(t, "../../docs/operations-data.md") {
		if strings.Contains(block.commands, "bin/ihc") {
			ran++
			requireShown(t, block.shows, paste(t, on, block.commands))
		}
	}
	require.Equal(t, 3, ran)
	require.Equal(t, reference, read(t, h.path("out", "report", "channel_reporting.csv")))
	var stats struct {
		Scored int `json:"conversions_scored"`
		Twice  int `json:"conversions_scored_twice"`
	}
	getJSON(t, root+"/stats", &stats)
	require.Equal(t, []int{672, 0}, []int{stats.Scored, stats.Twice}, "what was paid before the backup was not paid again")
}

// uninterrupted returns the report of a run on a copy of the demonstration's
// shop, scored by an API of its own.
func uninterrupted(h *house) string {
	db, out := h.path("copy.db"), h.path("out", "uninterrupted")
	require.NoError(h.t, os.WriteFile(db, []byte(read(h.t, h.path("out", "demo", "shop.db"))), 0o600))
	api, _ := startSandbox(h.with("IHC_SANDBOX_KEY=" + secret))
	h.with("IHC_API_KEY="+secret, "IHC_API_URL="+api, "IHC_CONV_TYPE_ID=any").must("run", db, "--out", out)
	return read(h.t, filepath.Join(out, "channel_reporting.csv"))
}

// A stack that is kept up loses its database, and gets the results back from
// the streams without a request.
func TestResultsAfterTheBackupComeFromTheStreams(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	db := smallShop(h)
	up := func() (*server, *house) {
		s := h.serve("up", db, "--out", h.path("out"), "--data-dir", h.path("streams"), "--listen", "127.0.0.1:0")
		return s, h.with("NATS_URL=" + natsURL(t, s))
	}
	s, on := up()
	on.must("run", "--start-date", "2023-09-02", "--end-date", "2023-09-02")
	require.Zero(t, s.stop(syscall.SIGTERM))
	bytes, err := os.ReadFile(db) // the backup, of before the run that is lost
	require.NoError(t, err)

	s, on = up()
	on.must("run", "--run-id", "lost")
	want := tables(t, db).Only(results)
	require.Zero(t, s.stop(syscall.SIGTERM))

	require.NoError(t, os.WriteFile(db, bytes, 0o600))
	require.NotEmpty(t, want.Diff(tables(t, db).Only(results)))
	s, on = up()
	r := on.must("replay", "lost", "--from", "results", "--json")
	require.Zero(t, endingIn(t, r.stdout).Requests)
	require.Empty(t, want.Diff(tables(t, db).Only(results)))
	require.Zero(t, s.stop(syscall.SIGTERM))
}
