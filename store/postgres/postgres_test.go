//go:build postgres

package postgres

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/internal/pgtest"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/storetest"
)

// A role with nothing but what docs/postgres.md grants: its own schema, and the
// right to read the three tables in another.
func TestRoleThatMayReadTheSourceAloneIsEnough(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Options{ICU: "en-US"})
	execute(t, server.DSN("postgres"), InputSchema+`
		INSERT INTO conversions VALUES ('c', 'u', '2023-01-02', '12:00:00', 1);
		INSERT INTO session_sources VALUES ('s', 'u', '2023-01-01', '12:00:00', 'SEO', 0, 0, 0);
		CREATE ROLE pipeline LOGIN;
		CREATE SCHEMA ihc AUTHORIZATION pipeline;
		GRANT USAGE ON SCHEMA public TO pipeline;
		GRANT SELECT ON session_sources, conversions, session_costs TO pipeline;
		ALTER ROLE pipeline SET search_path = ihc, public;`)
	d := New(strings.Replace(server.DSN("postgres"), pgtest.User+"@", "pipeline@", 1))
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	ctx := t.Context()
	require.NoError(t, d.Check(ctx))
	require.NoError(t, d.Rehearse(ctx))
	found, err := d.Validate(ctx, findings.Options{})
	require.NoError(t, err)
	require.NoError(t, found.Err())
	_, _, err = d.Enter(ctx, &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "run"}})
	require.NoError(t, err)
	require.NoError(t, d.Expect(ctx, "run", &ihcv1.RunExtracted{Chunks: 1, Counts: &ihcv1.Counts{InRange: 1}}))
	require.NoError(t, d.Store(ctx, []*ihcv1.AttributionResult{{RunId: "run", Chunk: 1, Attributions: []*ihcv1.Attribution{{ConvId: "c", SessionIds: []string{"s"}, Ihc: []uint32{10_000}}}}}))
	s, err := d.Finish(ctx, "run")
	require.NoError(t, err)
	require.True(t, s.Complete)
	totals, err := d.Rebuild(ctx, &ihcv1.RunRequest{RunId: "run"})
	require.NoError(t, err)
	require.Len(t, totals.Rows, 1)

	execute(t, server.DSN("postgres"), `REVOKE SELECT ON conversions FROM pipeline`)
	_, err = d.Survey(ctx, &ihcv1.RunRequest{}, store.View{})
	require.Equal(t, errkind.Environment, errkind.KindOf(err))
	require.ErrorContains(t, err, "grant what docs/postgres.md names")
}

// A report tells how far it is until most of it is done, whether the shop is held or
// the server adds it up.
func TestReportTellsHowFarItIs(t *testing.T) {
	t.Parallel()
	dsn, _ := schema(t, pgtest.Start(t, pgtest.Options{}), InputSchema)
	execute(t, dsn, `INSERT INTO conversions VALUES ('c', 'u', '2023-01-02', '12:00:00', 1), ('d', 'u', '2023-01-02', '13:00:00', 1);
		INSERT INTO session_sources VALUES ('s', 'u', '2023-01-01', '12:00:00', 'SEO', 0, 0, 0)`)
	d := New(dsn)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	for _, room := range []int{mostSessions, 1} {
		d.sessions = room
		ctx, told := storetest.Listen(t.Context())
		_, err := d.Rebuild(ctx, &ihcv1.RunRequest{})
		require.NoError(t, err)
		storetest.RequireMostTold(t, told())
	}
}

// execute runs a script at an address.
func execute(t *testing.T, dsn, script string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	_, err = conn.PgConn().Exec(t.Context(), script).ReadAll()
	require.NoError(t, errors.Join(err, conn.Close(t.Context())))
}

func TestRehearsalLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	dsn, db := schema(t, pgtest.Start(t, pgtest.Options{}), InputSchema)
	d := New(dsn)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	require.NoError(t, d.Rehearse(t.Context()))
	var tables int
	require.NoError(t, db.QueryRow(`SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()`).Scan(&tables))
	require.Equal(t, 3, tables)

	_, err := db.Exec(strings.Replace(createCustomerJourney, "ihc double precision", "ihc double precision CHECK (ihc < 0.9)", 1))
	require.NoError(t, err)
	err = d.Rehearse(t.Context())
	require.Equal(t, errkind.Input, errkind.KindOf(err))
	require.ErrorContains(t, err, "table attribution_customer_journey of database")
}

// An extractor that reads a slice has what is stored of it at hand, and nothing of
// other users; of more conversions than are held, the server is asked of each.
func TestWhatIsStoredOfASliceIsAtHand(t *testing.T) {
	t.Parallel()
	dsn, db := schema(t, pgtest.Start(t, pgtest.Options{}), InputSchema)
	d := New(dsn)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	ctx := t.Context()
	require.NoError(t, d.Accept(ctx, &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "run"}}))
	change := func(script string) {
		t.Helper()
		_, err := db.ExecContext(ctx, script)
		require.NoError(t, err)
	}
	change(`INSERT INTO conversions VALUES ('a', 'u1', '2023-01-02', '12:00:00', 1), ('b', 'u2', '2023-01-02', '12:00:00', 1), ('c', 'u1', '2023-01-02', '12:00:00', 1), ('d', 'u1', '2023-02-02', '12:00:00', 1);
		INSERT INTO pipeline_adopted (run, conv_id, fingerprint, journey) VALUES (7, 'a', 'A', 1), (7, 'b', 'B', 2), (7, 'c', NULL, 3), (7, 'd', 'D', 4), (8, 'c', 'C', 5)`)
	stored := &found{d: d, rows: `SELECT conv_id, fingerprint FROM pipeline_adopted WHERE run = {arg}`, arg: 7}
	has := func(s store.Stored, conv, fingerprint string) bool {
		t.Helper()
		there, err := s.Has(ctx, conv, []byte(fingerprint))
		require.NoError(t, err)
		return there
	}
	january := journey.Options{Start: "2023-01-01", End: "2023-01-31", Slice: journey.Slice{Before: "u2"}}
	read, err := stored.For(ctx, january)
	require.NoError(t, err)
	require.True(t, has(stored, "a", "A"))
	change(`DELETE FROM pipeline_adopted`)
	require.False(t, has(stored, "a", "A"))
	require.True(t, has(read, "a", "A"))
	for conv, fingerprint := range map[string]string{"a": "B", "b": "B", "c": "C", "d": "D", "": ""} {
		require.False(t, has(read, conv, fingerprint), conv)
	}
	require.False(t, has(read, "c", ""))

	january.Slice.Snapshot = "00000003-0000001B-1"
	_, err = stored.For(ctx, january)
	require.ErrorIs(t, err, store.ErrGone)

	january.Slice.Snapshot = ""
	change(`INSERT INTO conversions SELECT 'n' || n, 'u1', '2023-01-02', '12:00:00', 1 FROM generate_series(0, ` + strconv.Itoa(mostAtHand) + `) n;
		INSERT INTO pipeline_adopted (run, conv_id, fingerprint, journey) SELECT 7, 'n' || n, 'N', n FROM generate_series(0, ` + strconv.Itoa(mostAtHand) + `) n`)
	read, err = stored.For(ctx, january)
	require.NoError(t, err)
	require.Same(t, stored, read)
}

// Many begin at once on a database that has no table yet, and after somebody
// dropped them all.
func TestTablesAreMadeOnceWhoeverBegins(t *testing.T) {
	t.Parallel()
	dsn, db := schema(t, pgtest.Start(t, pgtest.Options{}), InputSchema)
	var all []*Database
	for range 5 {
		d := New(dsn)
		t.Cleanup(func() { require.NoError(t, d.Close()) })
		all = append(all, d)
	}
	begin := func() {
		var group errgroup.Group
		for _, d := range all {
			group.Go(func() error {
				return d.Accept(context.WithoutCancel(t.Context()), &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "run"}})
			})
		}
		require.NoError(t, group.Wait())
	}
	begin()
	_, err := db.Exec(`DROP TABLE pipeline_schema, pipeline_database, pipeline_runs, pipeline_chunks, pipeline_counts, pipeline_outcomes, pipeline_journeys, pipeline_latest,
		pipeline_adopted, pipeline_reusable, pipeline_reused, pipeline_replaced, pipeline_totals, pipeline_changes, pipeline_told, pipeline_channels,
		pipeline_daily_costs, pipeline_spread_costs, pipeline_currency`)
	require.NoError(t, err)
	begin()
	_, err = db.Exec(`UPDATE pipeline_schema SET version = 99`)
	require.NoError(t, err)
	d := New(dsn)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	err = d.Accept(t.Context(), &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "run"}})
	require.Equal(t, errkind.Input, errkind.KindOf(err))
	require.ErrorContains(t, err, "by a later release")
}

// What an earlier release made is brought to this one's, with what is in it.
func TestTablesOfAnEarlierReleaseAreBroughtUpToDate(t *testing.T) {
	t.Parallel()
	first, err := migrations.ReadFile("migrations/1.sql")
	require.NoError(t, err)
	dsn, db := schema(t, pgtest.Start(t, pgtest.Options{}), InputSchema+createCustomerJourney+";\n"+createChannelReporting+";\n"+string(first)+`
		CREATE TABLE pipeline_schema (version integer NOT NULL);
		INSERT INTO pipeline_schema VALUES (1);
		INSERT INTO pipeline_runs (run_id, status) VALUES ('earlier', 'written');
		INSERT INTO conversions VALUES ('c', 'u', '2023-01-02', '12:00:00', 1), ('d', 'u', '2023-01-02', '12:00:00', 1);
		INSERT INTO session_sources VALUES ('s', 'u', '2023-01-01', '12:00:00', 'SEO', 0, 0, 0), ('t', 'u', '2023-01-01', '13:00:00', 'SEA', 0, 0, 0);
		INSERT INTO pipeline_journeys (run, chunk, conv_id, sessions, ihc, initializer, holder, closer, left_out, scored, seal)
			SELECT 1, 1, conv_id, '{s,t}', '{4000,6000}', initializer, holder, closer, 0, 0,
				substr(sha256(convert_to(concat_ws(E'\x1f', conv_id, 2, E's\x1ft', '{4000,6000}', coalesce(initializer::text, ''), coalesce(holder::text, ''), coalesce(closer::text, '')), 'UTF8')), 1, 8)
			FROM (VALUES ('c', '{10000,0}'::integer[], '{2000,8000}'::integer[], '{0,10000}'::integer[]), ('d', NULL, NULL, NULL)) AS v(conv_id, initializer, holder, closer);
		INSERT INTO pipeline_latest SELECT conv_id, journey FROM pipeline_journeys;
		INSERT INTO attribution_customer_journey SELECT conv_id, unnest(sessions), unnest('{0.4,0.6}'::double precision[]) FROM pipeline_journeys;`)
	d := New(dsn)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	_, err = d.Difference(t.Context(), "", "")
	require.ErrorContains(t, err, "has no history of reports")
	_, err = d.Survey(t.Context(), &ihcv1.RunRequest{}, store.View{})
	require.ErrorContains(t, err, "the next `ihc run` brings them up to date")
	_, err = d.Rebuild(t.Context(), &ihcv1.RunRequest{RunId: "earlier"})
	require.NoError(t, err)
	for conv, phased := range map[string]bool{"c": true, "d": false} {
		c, err := d.Conversion(t.Context(), conv)
		require.NoError(t, err)
		require.NotNil(t, c.Run)
		want := store.Touchpoint{Session: "t", Scored: true, Phased: phased, Share: 6000}
		if phased {
			want.Holder, want.Closer = 8000, 10000
		}
		got := c.Sessions[1]
		require.Equal(t, want, store.Touchpoint{Session: got.Session, Scored: got.Scored, Phased: got.Phased, Share: got.Share, Initializer: got.Initializer, Holder: got.Holder, Closer: got.Closer})
	}
	_, err = d.Difference(t.Context(), "", "")
	require.ErrorContains(t, err, "the database keeps 1 report")
	var version, runs int
	require.NoError(t, db.QueryRow(`SELECT version, (SELECT count(*) FROM pipeline_runs) FROM pipeline_schema`).Scan(&version, &runs))
	require.Equal(t, schemaVersion, version)
	require.Equal(t, 1, runs)
}

func TestWhatIsWrongWithADatabaseIsTold(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Options{})
	for dsn, want := range map[string]struct {
		kind errkind.Kind
		says string
	}{
		server.DSN("nowhere"):                                                {errkind.Environment, "there is no database at"},
		"postgres://u:secret@127.0.0.1:1/shop":                               {errkind.Environment, `database "postgres://u@127.0.0.1:1/shop" cannot be reached`},
		"postgres://u:secret@h/shop?sslmode=whatever":                        {errkind.Input, `the address "postgres://u@h/shop?sslmode=whatever" cannot be used: failed to configure TLS (sslmode is invalid)`},
		"postgres://u:secret@127.0.0.1:1,127.0.0.1:2/shop":                   {errkind.Environment, `connection refused, 127.0.0.1:2 (127.0.0.1)`},
		"postgres://u:sec%zzret@h/shop":                                      {errkind.Input, `"postgres://…" is no address of a PostgreSQL database: write postgres://USER@HOST:5432/DATABASE`},
		server.DSN("postgres") + "&nonsense=x":                               {errkind.Environment, `refuses the connection: unrecognized configuration parameter "nonsense"; correct the address`},
		"postgres://u:secret@h/shop?sslmode=verify-ca&sslrootcert=/none.pem": {errkind.Input, `unable to read CA file: open /none.pem`},
		server.DSN("postgres") + "&search_path=nowhere":                      {errkind.Input, "has none of the schemas of its search path"},
	} {
		d := New(dsn)
		err := d.Check(t.Context())
		require.Equal(t, want.kind, errkind.KindOf(err), err)
		require.ErrorContains(t, err, want.says)
		require.NotContains(t, err.Error(), "secret")
		require.NotContains(t, err.Error(), "\n")
		require.NoError(t, d.Close())
	}
}

// A server that is killed, with work under way or none, is worth waiting for, and
// found again when it is back.
func TestAServerThatIsAwayIsWaitedFor(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Options{})
	d := New(server.DSN("postgres"))
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	away := func(err error) {
		require.Equal(t, errkind.Environment, errkind.KindOf(err), err)
		require.True(t, errkind.Passes(err), err)
	}
	away(d.reading(t.Context(), func(tx pgx.Tx) error {
		require.True(t, server.Kill())
		_, err := tx.Exec(t.Context(), `SELECT 1`)
		return err
	}))
	away(d.Check(t.Context()))
	require.NoError(t, server.Restart())
	require.NoError(t, d.Check(t.Context()))
	away(d.reading(t.Context(), func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `SELECT pg_terminate_backend(pg_backend_pid())`)
		return err
	}))
	require.NoError(t, d.Check(t.Context()))
	nowhere := New(server.DSN("nowhere"))
	require.False(t, errkind.Passes(nowhere.Check(t.Context())))
	require.NoError(t, nowhere.Close())
}

// Behind a pooler that knows no prepared statements, the way out is told.
func TestAPoolerWithoutPreparedStatementsIsTold(t *testing.T) {
	t.Parallel()
	dsn, _ := schema(t, pgtest.Start(t, pgtest.Options{}), InputSchema)
	d := New(dsn)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	for _, code := range []string{noSuchStatement, statementThere} {
		err := d.reading(t.Context(), func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), `DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '`+code+`'; END $$`)
			return err
		})
		require.Equal(t, errkind.Input, errkind.KindOf(err))
		require.ErrorContains(t, err, "add default_query_exec_mode=exec to the address")
	}
}

// Who waits for a lock says so after a while, and goes on where it is given back.
func TestALockThatIsHeldIsTold(t *testing.T) {
	t.Parallel()
	dsn, db := schema(t, pgtest.Start(t, pgtest.Options{}), InputSchema)
	d := New(dsn + "&lock_timeout=50ms")
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	run := func(id string) error {
		return d.Accept(t.Context(), &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: id}})
	}
	require.NoError(t, run("before"))
	holder, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = holder.ExecContext(t.Context(), `LOCK TABLE pipeline_latest`)
	require.NoError(t, err)
	err = run("meanwhile")
	require.ErrorContains(t, err, "is locked by another program")
	require.True(t, errkind.Passes(err))
	require.NoError(t, holder.Rollback())
	require.NoError(t, run("afterwards"))
}

func TestOddSourceDataAreFound(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Options{ICU: "en-US"})
	for says, script := range map[string]string{
		"missing_table conversions":                    `DROP TABLE conversions`,
		"missing_column conversions.revenue":           `ALTER TABLE conversions DROP COLUMN revenue`,
		"extra_column session_sources.campaign":        `ALTER TABLE session_sources ADD COLUMN campaign text`,
		"null conversions.user_id":                     `ALTER TABLE conversions ALTER user_id DROP NOT NULL; UPDATE conversions SET user_id = NULL`,
		"wrong_type conversions.revenue":               `ALTER TABLE conversions ALTER revenue TYPE text`,
		"not_finite conversions.revenue":               `UPDATE conversions SET revenue = 'Infinity'`,
		"wrong_type session_sources.closer_engagement": `ALTER TABLE session_sources ALTER closer_engagement TYPE numeric; UPDATE session_sources SET closer_engagement = 0.4`,
		"unreadable_date conversions.conv_date":        `UPDATE conversions SET conv_date = '2023-02-30'`,
		"duplicate_id session_costs.session_id":        `ALTER TABLE session_costs DROP CONSTRAINT session_costs_pkey; INSERT INTO session_costs VALUES ('s', 1), ('s', 2)`,
		"unknown_session session_costs.session_id":     `INSERT INTO session_costs VALUES ('gone', 1)`,
		"without_sessions conversions.conv_id":         `UPDATE conversions SET user_id = 'v'`,
		"wrong_shape attribution_customer_journey.":    `CREATE TABLE attribution_customer_journey (conv_id text, session_id text, ihc double precision); INSERT INTO attribution_customer_journey VALUES ('c', 's', 1)`,
		"wrong_shape channel_reporting.cost":           `CREATE TABLE channel_reporting (channel_name text, date text, cost real, ihc double precision, ihc_revenue double precision, PRIMARY KEY (channel_name, date))`,
		"trigger attribution_customer_journey.":        createCustomerJourney + `; CREATE TRIGGER t BEFORE UPDATE ON attribution_customer_journey EXECUTE FUNCTION suppress_redundant_updates_trigger()`,
	} {
		dsn, db := schema(t, server, InputSchema+`INSERT INTO conversions VALUES ('c', 'u', '2023-01-02', '12:00:00', 1);
			INSERT INTO session_sources VALUES ('s', 'u', '2023-01-01', '12:00:00', 'SEO', 0, 0, 0);`)
		_, err := db.Exec(script)
		require.NoError(t, err, says)
		d := New(dsn)
		found, err := d.Validate(t.Context(), findings.Options{})
		require.NoError(t, err, says)
		var all []string
		for _, f := range found.List {
			all = append(all, f.Code+" "+f.Table+"."+f.Column)
		}
		require.Contains(t, strings.Join(all, "\n"), says)
		require.NoError(t, d.Close())
	}
}

// Not only where it may be reused: whatever shows the row tells of it.
func TestDamagedJournalIsToldAndNotShown(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Options{ICU: "en-US"})
	for _, damage := range []string{`ihc = '{8800,1200}'`, `sessions = '{a-s1,a-s0}'`, `sessions = '{}'`, `sessions = '{a-s0,NULL}'`, `conv_id = 'b'`, `phases = NULL`, `phases = substr(phases, 1, 4)`, `seal = ''`} {
		dsn, db := schema(t, server, InputSchema+`INSERT INTO conversions VALUES ('a', 'u', '2023-01-02', '12:00:00', 1), ('b', 'u', '2023-01-02', '12:00:00', 1);`)
		d := New(dsn)
		store := func(run string) {
			shares := []uint32{2500, 7500}
			require.NoError(t, d.Expect(t.Context(), run, &ihcv1.RunExtracted{Chunks: 1, Counts: &ihcv1.Counts{InRange: 1}}))
			require.NoError(t, d.Store(t.Context(), []*ihcv1.AttributionResult{{RunId: run, Chunk: 1, Attributions: []*ihcv1.Attribution{
				{ConvId: "a", SessionIds: []string{"a-s0", "a-s1"}, Ihc: shares, Initializer: shares, Holder: shares, Closer: shares}}}}))
		}
		store("whole")
		_, err := d.Finish(t.Context(), "whole")
		require.NoError(t, err)
		store("damaged")
		change := func(run string) {
			_, err := db.Exec(`UPDATE pipeline_journeys SET ` + damage + ` WHERE run = (SELECT run FROM pipeline_runs WHERE run_id = '` + run + `')`)
			require.NoError(t, err)
		}
		change("damaged")
		_, err = d.Finish(t.Context(), "damaged")
		require.ErrorIs(t, err, errJournal, damage)
		require.Equal(t, errkind.Input, errkind.KindOf(err))
		_, err = d.Conversion(t.Context(), "a")
		require.NoError(t, err)
		change("whole")
		if _, err = d.Conversion(t.Context(), "a"); damage != `conv_id = 'b'` {
			require.ErrorIs(t, err, errJournal, damage)
			_, err = d.Rebuild(t.Context(), &ihcv1.RunRequest{})
		}
		require.ErrorIs(t, err, errJournal, damage)
		require.NoError(t, d.Close())
	}
}

// The seal is the same in Go and in SQL, whatever it is of.
func TestSealIsTheSameInSQL(t *testing.T) {
	t.Parallel()
	dsn, db := schema(t, pgtest.Start(t, pgtest.Options{}), InputSchema)
	d := New(dsn)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	for i, sessions := range [][]string{{}, {""}, {"", "a"}, {"ü, \"{}\"", "NULL", `\x1f`, "\x1f"}} {
		a := &ihcv1.Attribution{ConvId: strings.Repeat("ä'", i), SessionIds: sessions, Ihc: make([]uint32, len(sessions))}
		if i == 2 {
			a.Initializer, a.Holder, a.Closer = []uint32{1, 1 << 30}, []uint32{0, 0}, []uint32{3, 4}
		}
		if len(sessions) > 0 {
			a.Ihc[0] = 10_000
		}
		require.NoError(t, d.Store(t.Context(), []*ihcv1.AttributionResult{{RunId: "run", Chunk: uint32(i + 1), Attributions: []*ihcv1.Attribution{a}}}))
	}
	var stored, sound int
	require.NoError(t, db.QueryRow(`SELECT count(*), count(*) FILTER (WHERE `+intact+`) FROM pipeline_journeys j`).Scan(&stored, &sound))
	require.Equal(t, 4, stored)
	require.Equal(t, stored, sound)
}

// Of whatever type dates and times are, and by whatever a report is.
func TestDatesOfAZoneAreThoseOfMomentsToo(t *testing.T) {
	t.Parallel()
	dsn, db := schema(t, pgtest.Start(t, pgtest.Options{ICU: "en-US", TimeZone: "Asia/Kolkata"}), InputSchema)
	_, err := db.Exec(`CREATE TABLE visits (id uuid DEFAULT gen_random_uuid(), began timestamptz, campaign varchar COLLATE "en-x-icu");
		INSERT INTO visits (began, campaign) VALUES ('2023-03-25 22:59:59.9+00', 'Spring'), ('2023-03-25 23:00+00', 'Spring'), ('2023-03-26 21:59:59+00', NULL), ('2023-03-26 22:00+00', 'Summer');
		DROP TABLE session_sources;
		CREATE VIEW session_sources AS SELECT id AS session_id, 'u' AS user_id, began AS event_date, began AS event_time, 'SEO'::text COLLATE "en-x-icu" AS channel_name,
			false AS holder_engagement, false AS closer_engagement, false AS impression_interaction, campaign FROM visits;
		ALTER TABLE session_costs ALTER session_id TYPE uuid USING session_id::uuid;
		INSERT INTO session_costs SELECT id, 1 FROM visits;
		INSERT INTO conversions VALUES ('c', 'u', '2023-03-26', '22:30:00', 5), ('odd', 'u', 'whenever', '', 1)`)
	require.NoError(t, err)
	d := New(dsn)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	require.NoError(t, d.Accept(t.Context(), &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "run"}}))
	got := map[string]float64{}
	for _, v := range []store.View{{Zone: "Europe/Berlin"}, {Zone: "Europe/Berlin", Column: "campaign"}, {Zone: "Europe/Berlin", Column: "campaign", Channel: "SEO"}} {
		totals, err := d.Survey(t.Context(), &ihcv1.RunRequest{StartDate: "2023-03-27", EndDate: "2023-03-27"}, v)
		require.NoError(t, err)
		require.Equal(t, int64(1), totals.Range.Conversions)
		for _, r := range totals.Rows {
			got[v.Column+v.Channel+" "+r.Channel+" "+r.Date] = r.Cost
		}
	}
	require.Equal(t, map[string]float64{" SEO 2023-03-25": 1, " SEO 2023-03-26": 2, " SEO 2023-03-27": 1,
		"campaign Spring 2023-03-25": 1, "campaign Spring 2023-03-26": 1, "campaign  2023-03-26": 1, "campaign Summer 2023-03-27": 1,
		"campaignSEO Spring 2023-03-25": 1, "campaignSEO Spring 2023-03-26": 1, "campaignSEO  2023-03-26": 1, "campaignSEO Summer 2023-03-27": 1}, got)
}
