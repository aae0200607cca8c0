package main

import (
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// knownFile finds a file of known numbers, which are not part of this
// repository: beside it, or where IHC_SHARED_DATA says.
func knownFile(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("IHC_SHARED_DATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	path := filepath.Join(dir, "models", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("the known numbers are not at hand: %v; IHC_SHARED_DATA may name their folder", err)
	}
	return path
}

// knownShop makes a shop of paths: each journey a user's, its touches a day
// apart and the conversion a second after the last one.
func knownShop(t *testing.T) string {
	t.Helper()
	file, err := os.Open(knownFile(t, "pathdata.csv"))
	require.NoError(t, err)
	defer file.Close()
	lines, err := csv.NewReader(file).ReadAll()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "known.db")
	db, err := sql.Open("sqlite3", "file:"+path)
	require.NoError(t, err)
	_, err = db.Exec(sqlite.Schema)
	require.NoError(t, err)
	tx, err := db.Begin()
	require.NoError(t, err)
	visit, err := tx.Prepare(`INSERT INTO session_sources VALUES (?, ?, ?, '12:00:00', ?, 0, 0, 0)`)
	require.NoError(t, err)
	defer visit.Close()
	order, err := tx.Prepare(`INSERT INTO conversions VALUES (?, ?, ?, '12:00:01', ?)`)
	require.NoError(t, err)
	defer order.Close()
	start, users := time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC), 0
	for _, line := range lines[1:] {
		channels := strings.Split(line[0], " > ")
		var n [3]float64 // conversions, value, journeys without
		for i := range n {
			n[i], err = strconv.ParseFloat(line[i+1], 64)
			require.NoError(t, err)
		}
		for i := range int(n[0] + n[2]) {
			users++
			user := fmt.Sprint("u", users)
			date := ""
			for k, channel := range channels {
				date = start.AddDate(0, 0, k).Format(time.DateOnly)
				_, err = visit.Exec(fmt.Sprint(user, "-", k), user, date, channel)
				require.NoError(t, err)
			}
			if i < int(n[0]) {
				_, err = order.Exec(fmt.Sprint("c", users), user, date, n[1]/n[0])
				require.NoError(t, err)
			}
		}
	}
	require.NoError(t, tx.Commit())
	require.NoError(t, db.Close())
	return path
}

// From a database to JSON, as people use it.
func TestAShopOfKnownPathsGivesTheKnownNumbers(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(knownFile(t, "expected.json"))
	require.NoError(t, err)
	var expected struct {
		Datasets map[string]struct {
			Models map[string]struct {
				Tolerance          float64
				Conversions, Value map[string]float64
			}
		}
	}
	require.NoError(t, json.Unmarshal(data, &expected))
	db := knownShop(t)
	models := func(flags ...string) map[string]jsonModel {
		out, _, err := called(t, newModelsCmd(), "", append([]string{"--db", db, "--json"}, flags...)...)
		require.NoError(t, err)
		var j jsonModels
		require.NoError(t, json.Unmarshal([]byte(out), &j))
		return j.Models
	}
	all := models("--models", "first,last,linear,position,time-decay,markov,shapley")
	got := map[string]jsonModel{
		"first": all["first"], "last": all["last"], "linear": all["linear"], "position_40_20_40": all["position"],
		"time_decay_hl7_step1": all["time-decay"], "markov_order1": all["markov"], "shapley_additive": all["shapley"],
		"position_j_20_20_60":   models("--models", "position", "--position", "20/20/60")["position"],
		"markov_order1_no_null": models("--models", "markov", "--markov-nulls=false")["markov"],
	}
	for name, want := range expected.Datasets["pathdata"].Models {
		require.Contains(t, got, name)
		for channel, n := range want.Conversions {
			require.InDelta(t, n, got[name].Channels[channel].Conversions, want.Tolerance, "%s, %s", name, channel)
			require.InDelta(t, want.Value[channel], got[name].Channels[channel].Revenue, want.Tolerance, "%s, %s", name, channel)
		}
	}
}
