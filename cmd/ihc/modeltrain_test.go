package main

import (
	"archive/zip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
)

// sharedShop unpacks the shop that independent reference values are known of.
func sharedShop(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("IHC_SHARED_DATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	z, err := zip.OpenReader(filepath.Join(dir, "shop.zip"))
	if err != nil {
		t.Skipf("the shop is not at hand: %v; IHC_SHARED_DATA may name its folder", err)
	}
	defer z.Close()
	path := filepath.Join(t.TempDir(), "shop.db")
	for _, f := range z.File {
		if !strings.HasSuffix(f.Name, ".db") {
			continue
		}
		from, err := f.Open()
		require.NoError(t, err)
		to, err := os.Create(path)
		require.NoError(t, err)
		_, err = io.Copy(to, from)
		require.NoError(t, err)
		require.NoError(t, to.Close())
		require.NoError(t, from.Close())
	}
	return path
}

// What an independent implementation of the rules learned from the same shop.
func TestTrainingGivesTheReferenceValues(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "params.json")
	_, _, err := called(t, newModelCmd(), "", "train", "--db", sharedShop(t), "--out", out, "--include-simultaneous")
	require.NoError(t, err)
	data, err := os.ReadFile(out)
	require.NoError(t, err)
	p, err := ihcmodel.ParseParams(data)
	require.NoError(t, err)
	f, g := p.InitializerCurve, p.CloserCurve
	require.Len(t, f, 51)
	for _, k := range []ihcmodel.Knot{{Hours: 18.6080, Value: 0}, {Hours: 31.0190, Value: 0}, {Hours: 54.4459, Value: 0.12447}, {Hours: 98.9255, Value: 0.45124},
		{Hours: 151.1, Value: 0.87597}, {Hours: 165.8253, Value: 1}} {
		require.Contains(t, f, k)
	}
	for _, k := range []ihcmodel.Knot{{Hours: 0.1, Value: 1}, {Hours: 0.1, Value: 0.875}, {Hours: 185.1, Value: 0.025}, {Hours: 218.355, Value: 0.0125}, {Hours: 240.53, Value: 0}} {
		require.Contains(t, g, k)
	}
}

func TestModelTrainChoices(t *testing.T) {
	t.Parallel()
	db, dir := journeysDB(t, 30, 3), t.TempDir()
	out, scores := filepath.Join(dir, "params.json"), filepath.Join(dir, "scores.json")
	require.NoError(t, os.WriteFile(scores, []byte(`{"A": {"initializer": 0.5, "holder": 1, "closer": 1}}`), 0o600))
	report, _, err := called(t, newModelCmd(), "", "train", "--db", db, "--out", out, "--channel-scores", scores, "--initializer", "ramp")
	require.NoError(t, err)
	require.Contains(t, report, "Channel scores: your own, of 1 channels.")
	report, _, err = called(t, newModelCmd(), "", "train", "--db", db, "--out", out, "--include-simultaneous")
	require.NoError(t, err)
	require.Contains(t, report, "(120 sessions)", "the session at the time of the conversion counts")
	for says, args := range map[string][]string{
		"use gaps or ramp": {"--initializer", "curve"},
		"one or the other": {"--channel-scores", scores, "--guess-scores"},
		"no such file":     {"--channel-scores", scores + "-not"},
		"is not within":    {"--channel-scores", "-"},
		"--lookback-days":  {"--lookback-days", "99999"},
	} {
		_, _, err := called(t, newModelCmd(), `{"A": {"initializer": -1, "holder": 1, "closer": 1}}`, append([]string{"train", "--db", db, "--out", out}, args...)...)
		requireFault(t, errkind.Input, says, err)
	}
}
