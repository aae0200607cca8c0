package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
)

type diffed struct {
	From, To struct {
		RunID        string `json:"run_id"`
		Model        string
		Program      string
		SourceDigest string `json:"source_digest"`
		Request      json.RawMessage
	}
	Channels []struct {
		Channel       string
		Before, After map[string]decimal.Decimal
		Causes        map[string]map[string]decimal.Decimal
	}
}

// The demonstration's run, one after a price has changed, and one over dates
// that nothing changed in.
func TestDiffSaysWhatChangedBetweenRuns(t *testing.T) {
	t.Parallel()
	db, out := attributedShop(t)
	diff := func(args ...string) string {
		text, err := command(t, newDiffCmd(), append([]string{"--db", db}, args...)...)
		require.NoError(t, err, args)
		return text
	}
	_, err := command(t, newDiffCmd(), "--db", db)
	require.ErrorContains(t, err, "the database keeps 1 report")
	require.Equal(t, errkind.Input, errkind.KindOf(err))

	change(t, db, `UPDATE conversions SET revenue = revenue + 1`)
	for _, id := range []string{"dearer", "same"} {
		_, err := command(t, newRunCmd(), "--db", db, "--out", out, "--data-dir", t.TempDir(), "--run-id", id, "--model", "builtin", "--start-date", "2023-08-01")
		require.NoError(t, err)
	}
	require.Contains(t, diff(), "nothing changed")
	text := diff("dear")
	require.Contains(t, text, "to run    dearer\n")
	require.Contains(t, text, "changed revenue")
	for line := range strings.Lines(text) {
		require.LessOrEqual(t, human.Width(strings.TrimSuffix(line, "\n")), 60)
	}

	d := decoded[diffed](t, diff("dearer", "--json"))
	require.Equal(t, "dearer", d.To.RunID)
	require.NotEmpty(t, d.To.Program)
	require.NotEqual(t, d.From.SourceDigest, d.To.SourceDigest)
	require.Contains(t, string(d.To.Request), "2023-08-01")
	more := decimal.Zero
	for _, c := range d.Channels {
		sum := c.Before["ihc_revenue"]
		for cause, by := range c.Causes {
			require.Equal(t, "changed_revenue", cause, "all dates are in the table, whatever the run's")
			sum, more = sum.Add(by["ihc_revenue"]), more.Add(by["ihc_revenue"])
		}
		require.True(t, sum.Equal(c.After["ihc_revenue"]), c)
	}
	ihc := decimal.Zero
	for _, c := range d.Channels {
		ihc = ihc.Add(c.After["ihc"])
	}
	require.True(t, more.Equal(ihc), "a unit of the currency more for each of %s conversions, and not %s", ihc, more)
	rows := strings.Split(strings.TrimSpace(diff("dearer", "--csv")), "\n")
	require.Len(t, rows, 1+3*len(d.Channels))
	require.True(t, strings.HasPrefix(rows[1], d.From.RunID+",dearer,"))

	for args, says := range map[string]string{"a b c": "compares two runs", "--json --csv": "choose one", "nobody": "knows no run"} {
		_, err := command(t, newDiffCmd(), append([]string{"--db", db}, strings.Fields(args)...)...)
		require.ErrorContains(t, err, says)
		require.Equal(t, errkind.Input, errkind.KindOf(err))
	}
}

func TestKeepRunsDropsRecordsOfRunsBefore(t *testing.T) {
	t.Parallel()
	db, out := attributedShop(t)
	run := func(args ...string) error {
		_, err := command(t, newRunCmd(), append([]string{"--db", db, "--out", out, "--data-dir", t.TempDir(), "--model", "builtin"}, args...)...)
		return err
	}
	err := run("--keep-runs", "1")
	require.ErrorContains(t, err, "--keep-runs")
	require.Equal(t, errkind.Input, errkind.KindOf(err))
	require.NoError(t, run("--run-id", "one", "--keep-runs", "2"))
	require.NoError(t, run("--run-id", "two", "--keep-runs", "2"))
	_, err = command(t, newDiffCmd(), "--db", db, "2", "two")
	require.ErrorContains(t, err, "were dropped, since only those of the latest runs are kept (--keep-runs)")
	_, err = command(t, newDiffCmd(), "--db", db, "one", "two")
	require.NoError(t, err)
}
