package main

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/tables"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

func TestWhatTakesLongIsLeftOutUnlessAskedFor(t *testing.T) {
	t.Parallel()
	choose := func(only string, long bool) *bench {
		b := &bench{config: sized(1000), runs: 1}
		require.NoError(t, b.want(only, long))
		return b
	}
	require.False(t, choose("", false).wants("far"))
	require.True(t, choose("", false).wants("pipeline"))
	require.True(t, choose("", true).wants("far"))
	require.Equal(t, []string{"peer", "far"}, choose("peer,far", false).wanted)

	err := (&bench{config: sized(1000), runs: 1}).want("pear", false)
	require.ErrorContains(t, err, `there is no section "pear"; there are requests, `)
}

func TestTotalsDifferButForTheRoundingOfSums(t *testing.T) {
	t.Parallel()
	ours := totals{Journeys: 2, Touchpoints: 7, Revenue: 1208579.92, Cost: 63450.644}
	rounded := ours
	rounded.Revenue, rounded.Cost = 1208579.9200000004, 63450.64399999997
	require.NoError(t, ours.differs(rounded))
	for _, change := range []func(*totals){
		func(t *totals) { t.Journeys++ },
		func(t *totals) { t.Touchpoints-- },
		func(t *totals) { t.Revenue += 0.01 },
		func(t *totals) { t.Cost -= 0.01 },
	} {
		other := ours
		change(&other)
		require.Error(t, ours.differs(other))
	}
}

func TestTheTablesThatAreReadAreExportedAsTheyAre(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "shop.db")
	db, err := sql.Open("sqlite3", path)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), sqlite.Schema+`
		INSERT INTO session_sources VALUES ('s1', 'u', '2024-01-01', '10:00:00', 'Paid "Search", brand', 1, 0, 1);
		INSERT INTO conversions VALUES ('c1', 'u', '2024-01-02', '00:00:00', 0.1);
		INSERT INTO session_costs VALUES ('s1', 2.5), ('s2', NULL);`)
	require.NoError(t, err)
	require.NoError(t, db.Close())

	require.NoError(t, exportCSV(t.Context(), path))
	for table, want := range map[string]string{
		tables.SessionSources: "session_id,user_id,event_date,event_time,channel_name,holder_engagement,closer_engagement,impression_interaction\n" +
			"s1,u,2024-01-01,10:00:00,\"Paid \"\"Search\"\", brand\",1,0,1\n",
		tables.Conversions:  "conv_id,user_id,conv_date,conv_time,revenue\nc1,u,2024-01-02,00:00:00,0.1\n",
		tables.SessionCosts: "session_id,cost\ns1,2.5\ns2,\n",
	} {
		got, err := os.ReadFile(filepath.Join(csvDir(path), table+".csv"))
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
}

func TestAnAbsentFigureIsShownAsADashAndExceedsNothing(t *testing.T) {
	t.Parallel()
	b := &bench{}
	b.absent("journal ÷ results", 0.5, "there is none")
	b.add("pipeline ÷ floor", 1.26, "ratio", 0.7, "")
	require.Equal(t, "-", b.figures[0].value())
	require.True(t, b.figures[0].holds())
	require.Equal(t, "1.26", b.figures[1].value())
	require.False(t, b.figures[1].holds())
}
