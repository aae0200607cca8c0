package embedded

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// ends follows a run to its report or failure.
func (u *up) ends(id string) *ihcv1.RunEvent {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.t.Context(), patience)
	defer cancel()
	var end *ihcv1.RunEvent
	require.NoError(u.t, u.Client.Follow(ctx, id, func(e stream.StoredEvent) bool {
		if e.Event.GetReported() != nil || e.Event.GetFailed() != nil {
			end = e.Event
		}
		return end == nil
	}), id)
	return end
}

func (u *up) shown() (rows []string) {
	u.t.Helper()
	db, err := sql.Open("sqlite3", u.db)
	require.NoError(u.t, err)
	defer db.Close()
	found, err := db.Query(`SELECT conv_id || ' ' || session_id || ' ' || ihc FROM attribution_customer_journey ORDER BY 1`)
	require.NoError(u.t, err)
	defer found.Close()
	for found.Next() {
		var row string
		require.NoError(u.t, found.Scan(&row))
		rows = append(rows, row)
	}
	require.NoError(u.t, found.Err())
	return rows
}

// at is a change that puts a pipeline on a database and kept streams.
func at(db, dir string, more func(*Config)) func(*Config) {
	return func(c *Config) {
		if err := c.At(db, dir); err != nil {
			panic(err)
		}
		c.Dir, c.Keep = dir, true
		if more != nil {
			more(c)
		}
	}
}

// A copy of the database from before the run holds the same data and nothing of
// what was scored: another run takes it, and comes to its end.
func TestInterruptedRunDoesNotGoOnOverACopy(t *testing.T) {
	api := newGated(t, 3)
	scored := func(c *Config) {
		c.Attributor.APIKey, c.Attributor.APIURL, c.Attributor.ConvTypeID = "key", api.URL+"/v1", "type"
	}
	dir := t.TempDir()
	u := start(t, func(c *Config) { scored(c); c.Dir, c.Keep = dir, true })
	u.shop()
	before, err := os.ReadFile(u.db)
	require.NoError(t, err)
	u.request(&ihcv1.RunRequest{MaxJourneys: 3})
	require.Eventually(t, func() bool {
		p, err := u.Client.Progress(t.Context(), "run")
		return err == nil && p[stream.StageWriter].GetConversions() >= 3
	}, patience, 10*time.Millisecond)
	u.Stop()
	require.NoError(t, os.WriteFile(u.db, before, 0o600))
	api.open()
	again := start(t, at(u.db, dir, scored))
	again.db = u.db
	failed := again.ends("run").GetFailed()
	require.Contains(t, failed.GetReason(), "the database was replaced by another while the run was interrupted")
	require.Equal(t, "run-v2", failed.GetSupersededBy())
	report := again.ends("run-v2").GetReported().GetReport()
	require.Equal(t, run.StatusCompleted, run.Conclusion(report))
	require.Equal(t, run.ModelAPI, report.GetModel())
	again.Stop()
	require.Equal(t, 1, count(t, u.db, `SELECT count(*) FROM pipeline_runs`))
}

// A run is its name and its request's place in time: after the streams are gone
// the same name is another run, which says so, and takes nothing of the first
// one's for its own.
// The same under services that remember the first run.
func TestNameIsUsedAgainAfterTheStreamsWereEmptiedUnderTheServices(t *testing.T) {
	u := start(t, func(c *Config) { c.Listen = "127.0.0.1:0" })
	u.shop()
	u.request(&ihcv1.RunRequest{})
	u.reported()
	first := u.shown()
	db, err := sql.Open("sqlite3", u.db)
	require.NoError(t, err)
	_, err = db.Exec(`PRAGMA busy_timeout = 10000; DELETE FROM session_sources WHERE rowid % 3 = 0`)
	require.NoError(t, errors.Join(err, db.Close()))
	nc, err := nats.Connect(u.URL())
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	for _, name := range []string{stream.Runs, stream.Journeys, stream.Results} {
		s, err := js.Stream(t.Context(), name)
		require.NoError(t, err)
		require.NoError(t, s.Purge(t.Context()))
	}
	u.request(&ihcv1.RunRequest{})
	report := u.ends("run").GetReported().GetReport()
	require.Equal(t, run.StatusCompleted, run.Conclusion(report))
	require.NotEqual(t, first, u.shown())
}

func TestNameIsUsedAgainAfterTheStreamsWereEmptied(t *testing.T) {
	u := start(t, func(c *Config) { c.Keep = true })
	u.shop()
	u.request(&ihcv1.RunRequest{})
	u.reported()
	first := u.shown()
	u.Stop()
	db, err := sql.Open("sqlite3", u.db)
	require.NoError(t, err)
	_, err = db.Exec(`DELETE FROM session_sources WHERE rowid % 3 = 0; UPDATE session_sources SET channel_name = 'SEO'`)
	require.NoError(t, err)
	require.NoError(t, db.Close())

	again := start(t, at(u.db, t.TempDir(), nil))
	again.db = u.db
	again.request(&ihcv1.RunRequest{})
	report := again.ends("run").GetReported().GetReport()
	require.Equal(t, run.StatusCompleted, run.Conclusion(report))
	accepted, err := again.Client.Accepted(t.Context(), "run")
	require.NoError(t, err)
	require.Contains(t, strings.Join(accepted.GetWarnings(), "\n"), "run run was asked for before, in streams that are gone; it begins anew")
	shown := again.shown()
	require.NotEqual(t, first, shown)
	require.NoError(t, again.Client.PublishRequest(t.Context(), &ihcv1.RunRequest{RunId: "reference"}))
	require.NotNil(t, again.ends("reference").GetReported())
	require.Equal(t, again.shown(), shown)
	again.Stop()

	other := start(t, at(u.db, t.TempDir(), nil))
	other.request(&ihcv1.RunRequest{EndDate: "2030-01-01"})
	failed := other.ends("run").GetFailed()
	require.Contains(t, failed.GetReason(), "run id run was used on this database for another request")
	require.Equal(t, ihcv1.Cause_CAUSE_INPUT, failed.GetCause())
}

// The same name for something else, while the first run is there: it changes
// nothing.
func TestSecondRequestOfANameChangesNothing(t *testing.T) {
	u := start(t, nil)
	u.shop()
	u.request(&ihcv1.RunRequest{})
	u.reported()
	was := u.shown()
	nc, err := u.server.Connect("test")
	require.NoError(t, err)
	defer nc.Close()
	require.NoError(t, nc.Publish(stream.SubjectRunRequested, []byte(`{"run_id":"run","end_date":"1999-01-01"}`)))
	require.NoError(t, u.Client.PublishRequest(t.Context(), &ihcv1.RunRequest{RunId: "after"}))
	require.NotNil(t, u.ends("after").GetReported())
	events, err := u.Client.Events(t.Context(), "run")
	require.NoError(t, err)
	require.Len(t, events, 4)
	require.Equal(t, was, u.shown())
}
