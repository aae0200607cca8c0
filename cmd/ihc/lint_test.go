package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
)

const lintRules = `{"initializer": {"direction": "any_session", "receive_threshold": 0, "redistribution_channel_labels": ["A", "Nobody"]},
	"holder": {"direction": "any_session", "receive_threshold": 0, "redistribution_channel_labels": ["Later"]},
	"closer": {"direction": "earlier_sessions_only", "receive_threshold": 1, "redistribution_channel_labels": ["B"]}}`

func TestARedistributionIsLookedAtBeforeItIsUsed(t *testing.T) {
	t.Parallel()
	db, rules := journeysDB(t, 10, 3), filepath.Join(t.TempDir(), "rules.json")
	require.NoError(t, os.WriteFile(rules, []byte(lintRules), 0o600))
	out, _, err := called(t, newModelCmd(), "", "lint", "--redistribution", rules, "--db", db)
	require.NoError(t, err)
	for _, says := range []string{"the redistribution changes 10", "initializer: fires in 10 journeys and moves", "the rule of closer never fires",
		"the rule of holder never fires", `the label "Nobody" matches no channel`} {
		require.Contains(t, out, says)
	}
	dry, _, err := called(t, newRunCmd(), "", "--redistribution", rules, "--db", db, "--dry-run")
	require.NoError(t, err)
	require.Contains(t, dry, out)

	out, _, err = called(t, newModelCmd(), "", "lint", "--redistribution", rules, "--db", db, "--json")
	require.NoError(t, err)
	var j jsonLint
	require.NoError(t, json.Unmarshal([]byte(out), &j))
	require.Equal(t, []string{"Nobody"}, j.Unknown)
	require.Equal(t, []string{"holder", "closer"}, j.Never)
	var before, after float64
	for _, c := range j.Channels {
		before += c.Before
		after += c.After
		if c.Channel == "A" {
			require.Less(t, c.After, c.Before, "A gives")
		}
	}
	require.InDelta(t, 10, before, 1e-9)
	require.InDelta(t, 10, after, 1e-9)

	_, _, err = called(t, newModelCmd(), "", "lint", "--db", db)
	requireFault(t, errkind.Input, "--redistribution FILE", err)
	_, _, err = called(t, newModelCmd(), "", "lint", "--redistribution", rules)
	requireFault(t, errkind.Input, "--db FILE", err)
}

func TestTwoParameterFilesAreCompared(t *testing.T) {
	t.Parallel()
	db, dir := journeysDB(t, 10, 3), t.TempDir()
	p := ihcmodel.DefaultParams()
	p.Name, p.InitializerCurve = "ours", ihcmodel.Curve{{Hours: 0.5, Value: 0}, {Hours: 1.5, Value: 1}}
	file := filepath.Join(dir, "ours.json")
	require.NoError(t, os.WriteFile(file, p.JSON(), 0o600))
	out, _, err := called(t, newModelCmd(), "", "compare", "published-shop", file, "--db", db, "--plots", filepath.Join(dir, "plots"))
	require.NoError(t, err)
	for _, says := range []string{"A  published-shop\nB  ours", "initializer curve, over the hours since the session before: furthest apart 1.000, at 1.72 h",
		"closer curve, over the hours to the last session: furthest apart 0.000", "credit by channel, of 10 conversions", "to different channels"} {
		require.Contains(t, out, says)
	}
	svg, err := os.ReadFile(filepath.Join(dir, "plots", "initializer-curve.svg"))
	require.NoError(t, err)
	require.Contains(t, string(svg), "ours")

	out, _, err = called(t, newModelCmd(), "", "compare", file, file, "--db", db)
	require.NoError(t, err)
	require.Contains(t, out, "They give 0.00 % of all conversions")
	_, _, err = called(t, newModelCmd(), "", "compare", file)
	requireFault(t, errkind.Input, "two arguments", err)
	_, _, err = called(t, newModelCmd(), "", "compare", file, file+"-not")
	requireFault(t, errkind.Input, "no such file", err)
}
