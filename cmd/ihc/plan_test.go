package main

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/sandbox"
	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// typedIn runs a command and returns what it printed.
func typedIn(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	root, _ := newRootCmd()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&bytes.Buffer{})
	require.NoError(t, root.ExecuteContext(t.Context()), args)
	return out.String()
}

type planned struct {
	Conversions    map[string]uint64
	Touchpoints    uint64
	Requests       int
	Journeys       uint64
	ToSend         uint64 `json:"to_send"`
	Seconds        *float64
	Approximations []run.ResultShortened
}

// asPlanned is what a plan and a run's JSON both have. A plan does not know the
// parameters of the model.
func (p planned) asPlanned() planned {
	for i, a := range p.Approximations {
		p.Approximations[i].Model, _, _ = strings.Cut(a.Model, " ")
	}
	return planned{Conversions: p.Conversions, Touchpoints: p.Touchpoints, Requests: p.Requests, Approximations: p.Approximations}
}

// A plan says what the run then does, and leaves no trace.
func TestPlanIsWhatTheRunDoes(t *testing.T) {
	api, err := sandbox.New(sandbox.Config{Key: "key"})
	require.NoError(t, err)
	server := httptest.NewServer(api)
	defer server.Close()
	t.Setenv("IHC_API_KEY", "key")
	t.Setenv("IHC_CONV_TYPE_ID", "any")
	t.Setenv("IHC_API_URL", server.URL+"/v1")
	for _, strategy := range run.LongJourneys() {
		dir := t.TempDir()
		db := filepath.Join(dir, "shop.db")
		_, err := sqlite.GenerateShop(t.Context(), db, shop.Config{Sessions: 2000}, false)
		require.NoError(t, err)
		before, err := os.ReadFile(db)
		require.NoError(t, err)
		api.ResetStats()
		flags := []string{"--db", db, "--json", "--max-sessions", "50", "--max-journeys", "20", "--long-journeys", strategy, "--start-date", "2023-06-20"}

		read := func(args ...string) (p planned) {
			require.NoError(t, json.Unmarshal([]byte(typedIn(t, append(args, flags...)...)), &p))
			return p
		}
		plan := read("plan")
		require.Nil(t, plan.Seconds, "nothing was measured yet")
		require.Equal(t, plan, read("run", "--dry-run"))
		require.Zero(t, api.Stats().Requests)
		after, err := os.ReadFile(db)
		require.NoError(t, err)
		require.True(t, bytes.Equal(before, after))
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, entries, 1)

		did := read("run", "--out", filepath.Join(dir, "out"))
		require.Equal(t, api.Stats().Requests, plan.Requests)
		require.Equal(t, did.Requests, plan.Requests)
		require.Equal(t, did.Conversions, plan.Conversions)
		require.Equal(t, did.Touchpoints, plan.Touchpoints)
		require.Equal(t, plan.Journeys, plan.ToSend)
		require.Len(t, plan.Approximations, len(did.Approximations))
		for i, a := range plan.Approximations {
			require.Equal(t, did.Approximations[i].Conversions, a.Conversions)
			require.Equal(t, did.Approximations[i].LeftOut, a.LeftOut)
		}
		require.Positive(t, *read("plan", "--full").Seconds, "measured in the run")
		again := read("plan")
		require.Zero(t, again.Requests)
		require.Zero(t, again.ToSend, "all are as they were")
		require.Equal(t, plan.Journeys, again.Journeys)
		require.Equal(t, again.Journeys, again.Conversions["reused"])
		require.Equal(t, read("run", "--out", filepath.Join(dir, "out")).asPlanned(), again.asPlanned())
	}
}

func TestPlanReckonsTheTimeByLatencyRateConcurrencyAndQuota(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pace ops.Pace
		says string
	}{
		{ops.Pace{Latency: 400 * time.Millisecond, Concurrency: 4}, "about 10s at 400ms a request (given), 4 at once"},
		{ops.Pace{Latency: 400 * time.Millisecond, Concurrency: 4, Rate: 2}, "about 49.9s at 400ms a request (given), 4 at once, 2 a second at the most"},
		{ops.Pace{Latency: 3 * time.Millisecond, Concurrency: 4}, "time: about 75ms at 3ms a request (given), 4 at once"},
		{ops.Pace{Latency: 9 * time.Microsecond, Concurrency: 1}, "time: under 1ms at under 1ms a request (given), 1 at once"},
		{ops.Pace{Concurrency: 1}, "time: not known"},
		{ops.Pace{Latency: time.Second, Concurrency: 1, DailyQuota: 30}, "quota: 100 requests of 30 a day, so 4 days"},
	} {
		p := &ops.Plan{Requests: 100, Latency: c.pace.Latency}
		p.Time, p.Days = c.pace.Of(100, c.pace.Latency)
		var out bytes.Buffer
		printTime(&out, p, c.pace)
		require.Contains(t, out.String(), c.says)
	}
}
