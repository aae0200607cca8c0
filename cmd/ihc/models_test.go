package main

import (
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/attribution"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/store/open"
	"github.com/ihc-pipeline/ihc/store/report"
)

func TestModelsSideBySide(t *testing.T) {
	t.Parallel()
	db := journeysDB(t, 40, 4)
	out, _, err := called(t, newModelsCmd(), "", "--db", db)
	require.NoError(t, err)
	for _, says := range []string{"40 conversions by 11 models, 400.0 revenue", "Conversions\n", "Revenue\n", "CPO\n", "ROAS\n", "Where they disagree most",
		"sampling, not cause", "no channel is named as direct", "coverage, not attribution", "* too few to rank"} {
		require.Contains(t, out, says)
	}
	for line := range strings.Lines(out) {
		require.LessOrEqual(t, human.Width(strings.TrimRight(line, "\n")), pageWidth, line)
	}
	again, _, err := called(t, newModelsCmd(), "", "--db", db)
	require.NoError(t, err)
	require.Equal(t, out, again)
}

func TestModelsFitTheWindow(t *testing.T) {
	t.Parallel()
	f := modelsFlags{db: journeysDB(t, 40, 4), by: "channel", single: "joined", position: "u", nulls: true}
	f.o.Order, f.o.HalfLife = 1, attribution.DefaultHalfLife
	names, by, err := f.complete(nil)
	require.NoError(t, err)
	db := open.Database(f.db)
	t.Cleanup(func() { _ = db.Close() })
	compared, err := f.compare(t.Context(), db, names, by)
	require.NoError(t, err)
	blocks := map[int]int{}
	for _, width := range []int{59, 79, 200} {
		var b strings.Builder
		printer{&b, compared, width}.all()
		for line := range strings.Lines(b.String()) {
			require.LessOrEqual(t, human.Width(strings.TrimRight(line, "\n")), width, line)
		}
		blocks[width] = strings.Count(b.String(), "\n\n")
	}
	require.Greater(t, blocks[59], blocks[200], "models that have no room stand below the others")
}

func TestModelsAsJSON(t *testing.T) {
	t.Parallel()
	out, _, err := called(t, newModelsCmd(), "", "--db", journeysDB(t, 40, 4), "--json", "--by", "month")
	require.NoError(t, err)
	var j jsonModels
	require.NoError(t, json.Unmarshal([]byte(out), &j))
	require.Len(t, j.Models, len(attribution.Names()))
	require.InDelta(t, 40, j.Models["first"].Channels["A"].Conversions, 1e-12)
	require.InDelta(t, 400, j.Models["last"].Channels["D"].Revenue, 1e-12)
	require.InDelta(t, 10, j.Models["linear"].Channels["B"].Conversions, 1e-12)
	require.InDelta(t, 1, *j.Models["markov"].Channels["A"].Removal, 1e-12)
	require.Equal(t, report.NotCause, j.Intervals)
	require.Len(t, j.Periods, 1)
	require.Equal(t, "2023-09", j.Periods[0].Period)
	require.Equal(t, j.Models["linear"].Channels["B"].Conversions, j.Periods[0].Models["linear"].Channels["B"].Conversions)
	require.InDelta(t, 1, j.Moved["first"]["last"], 1e-12)
}

func TestModelsAsCSV(t *testing.T) {
	t.Parallel()
	out, _, err := called(t, newModelsCmd(), "", "--db", journeysDB(t, 2, 2), "--csv", "--models", "first,last")
	require.NoError(t, err)
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 1+2*3)
	require.Equal(t, []string{"first", "A", "2"}, rows[1][:3])
}

func TestModelsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	db := journeysDB(t, 1, 1)
	for says, args := range map[string][]string{
		"name a database": {},
		`model "best" is not known; the models are`: {"--models", "first,best"},
		"--markov-order 5":                          {"--markov-order", "5"},
		"--half-life -1":                            {"--half-life", "-1"},
		"must be more than 0":                       {"--half-life", "0"},
		"sum to 90, not to 100":                     {"--position", "40/20/30"},
		"use three numbers":                         {"--position", "40/60"},
		"use channel, week or month":                {"--by", "year"},
		"use joined or apart":                       {"--single-channel", "both"},
		"use exposure or first":                     {"--collapse", "last"},
		"one or the other":                          {"--json", "--csv"},
		"--start-date":                              {"--start-date", "2023-13-01"},
		"--lookback-days 40000":                     {"--lookback-days", "40000"},
	} {
		if len(args) > 0 {
			args = append(args, "--db", db)
		}
		_, _, err := called(t, newModelsCmd(), "", args...)
		requireFault(t, errkind.Input, says, err)
	}
}

func TestChangesHaveTheirSignAndCommas(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{1661.694: "+1,661.69", -5261.57: "-5,261.57", -0.001: "0.00", 0.001: "0.00", 0: "0.00"} {
		require.Equal(t, want, signed(v))
	}
}
