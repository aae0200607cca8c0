//go:build postgres

package postgres

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/internal/pgtest"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// id returns an id that is a number, a UUID and a text alike.
func id(n int) string { return fmt.Sprintf("%08d-0000-4000-8000-%012d", n, n) }

// usual is a shop whose ids may be of any type.
func usual() string {
	script := InputSchema
	for n := 1; n <= 6; n++ {
		script += fmt.Sprintf(`INSERT INTO session_sources VALUES ('%s', '%s', '2023-03-%02d', '%02d:30:15%s', '%s', %d, %d, %d);
			INSERT INTO session_costs VALUES ('%s', %v);`, id(n), id(n%2+100), n, n*3, []string{"", ".25"}[n%2], []string{"SEO", "SEA"}[n%2], n%2, n/2%2, n/4, id(n), float64(n)*0.51)
	}
	for n := 1; n <= 2; n++ {
		script += fmt.Sprintf(`INSERT INTO conversions VALUES ('%s', '%s', '2023-03-07', '23:59:59', %v);`, id(n+200), id(n%2+100), 17.1*float64(n))
	}
	return script
}

// Each column of whatever type docs/postgres.md names is read as the same texts and
// numbers, from a table and by the same name from a view.
func TestColumnsOfTheUsualTypesAreReadAsTheSame(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Options{ICU: "en-US", TimeZone: "Asia/Kolkata"})
	read := func(script string) (all []string) {
		dsn, db := schema(t, server, usual())
		_, err := db.Exec(script)
		require.NoError(t, err, script)
		d := New(dsn)
		t.Cleanup(func() { require.NoError(t, d.Close()) })
		found, err := d.Validate(t.Context(), findings.Options{})
		require.NoError(t, err, script)
		require.Empty(t, found.List, script)
		require.NoError(t, d.Journeys(t.Context(), journey.Options{Start: "2023-03-01", End: "2023-03-07", MaxSessions: 10}, func(j journey.Journey) error {
			all = append(all, fmt.Sprint(j.ConvID, j.Sessions))
			return nil
		}))
		require.Len(t, all, 2)
		require.NoError(t, d.Accept(t.Context(), &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "run"}}))
		for _, v := range []store.View{{}, {Zone: "Pacific/Auckland"}} {
			totals, err := d.Survey(t.Context(), &ihcv1.RunRequest{}, v)
			require.NoError(t, err, script)
			all = append(all, fmt.Sprintf("%+v", *totals))
		}
		c, err := d.Conversion(t.Context(), id(201))
		require.NoError(t, err)
		return append(all, fmt.Sprintf("%+v", *c), found.Digest)
	}
	want := read("")
	all := `ALTER TABLE session_sources ALTER %[1]s TYPE %[2]s USING %[1]s::%[2]s;`
	for _, script := range []string{
		`ALTER TABLE session_sources ALTER session_id TYPE uuid USING session_id::uuid, ALTER user_id TYPE uuid USING user_id::uuid;
			ALTER TABLE session_costs ALTER session_id TYPE uuid USING session_id::uuid;
			ALTER TABLE conversions ALTER conv_id TYPE uuid USING conv_id::uuid, ALTER user_id TYPE uuid USING user_id::uuid;`,
		`ALTER TABLE session_sources ALTER session_id TYPE varchar(36); ALTER TABLE session_costs ALTER session_id TYPE char(36); ALTER TABLE conversions ALTER user_id TYPE text COLLATE "en-x-icu"`,
		fmt.Sprintf(all, "event_date", "date"), fmt.Sprintf(all, "event_time", "time"), fmt.Sprintf(all, "event_time", "interval"),
		`SET timezone = 'UTC'; ALTER TABLE session_sources ALTER event_time TYPE timetz USING (event_time||'+00')::timetz`,
		`SET timezone = 'UTC'; ALTER TABLE session_sources ADD began timestamptz; UPDATE session_sources SET began = (event_date||' '||event_time||'+00')::timestamptz; ALTER TABLE session_sources RENAME TO visits;
			CREATE VIEW session_sources AS SELECT session_id, user_id, began AS event_date, began AS event_time, channel_name, holder_engagement, closer_engagement, impression_interaction FROM visits`,
		`ALTER TABLE session_sources ALTER event_date TYPE timestamp USING (event_date||' '||event_time)::timestamp, ALTER event_time TYPE timestamp USING (event_date||' '||event_time)::timestamp`,
		`CREATE TYPE channel AS ENUM ('SEA', 'SEO'); CREATE DOMAIN day AS date; ALTER TABLE session_sources ALTER channel_name TYPE channel USING channel_name::channel, ALTER event_date TYPE day USING event_date::day`,
		fmt.Sprintf(all, "holder_engagement", "boolean") + fmt.Sprintf(all, "closer_engagement", "smallint") + fmt.Sprintf(all, "impression_interaction", "numeric"),
		`ALTER TABLE conversions ALTER revenue TYPE numeric(12,2); ALTER TABLE session_costs ALTER cost TYPE numeric`,
		`ALTER TABLE conversions ALTER revenue TYPE real; ALTER TABLE session_costs ALTER cost TYPE real`,
		`ALTER TABLE conversions ALTER revenue TYPE money USING revenue::numeric::money; ALTER TABLE session_costs ALTER cost TYPE money USING cost::numeric::money`,
		`ALTER TABLE conversions RENAME TO orders; CREATE MATERIALIZED VIEW conversions AS SELECT * FROM orders`,
		`ALTER TABLE session_sources RENAME TO visits; CREATE TABLE session_sources (LIKE visits) PARTITION BY LIST (channel_name); CREATE TABLE seo PARTITION OF session_sources FOR VALUES IN ('SEO');
			CREATE TABLE sea PARTITION OF session_sources DEFAULT; INSERT INTO session_sources SELECT * FROM visits`,
	} {
		got := read(script)
		require.Equal(t, want[:len(want)-1], got[:len(want)-1], script)
	}
}
