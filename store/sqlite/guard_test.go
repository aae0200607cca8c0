package sqlite

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/internal/unit"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

func TestEveryConnectionIsGuarded(t *testing.T) {
	t.Parallel()
	path := build(t, Schema+soundRows)
	for _, mode := range []Mode{Read, Write} {
		db, err := Open(t.Context(), path, mode)
		require.NoError(t, err)
		var trusted, checked int
		require.NoError(t, db.QueryRow(`SELECT trusted_schema, cell_size_check FROM pragma_trusted_schema, pragma_cell_size_check`).Scan(&trusted, &checked))
		require.Equal(t, []int{0, 1}, []int{trusted, checked})
		require.NoError(t, db.Close())
	}
}

// One of these emptied conversions while the report was made.
func TestTriggerOnWhatIsWrittenIsRefusedAndDoesNotRun(t *testing.T) {
	t.Parallel()
	for _, on := range []string{"INSERT ON channel_reporting", "DELETE ON channel_reporting", "INSERT ON Attribution_Customer_Journey", "UPDATE ON attribution_customer_journey"} {
		t.Run(on, func(t *testing.T) {
			t.Parallel()
			path := build(t, Schema+soundRows+`CREATE TRIGGER "a trap" BEFORE `+on+` BEGIN DELETE FROM conversions; END`)
			found := validated(t, path)
			require.Len(t, codes(found), 1)
			require.Contains(t, strings.Join(found.Lines(), ""), `DROP TRIGGER "a trap"`)
			d := opened(t, path)
			_, err := d.Rebuild(t.Context(), &ihcv1.RunRequest{})
			for _, err := range []error{found.Err(), err, d.Rehearse(t.Context()), d.Accept(t.Context(), &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "r"}})} {
				require.Equal(t, errkind.Input, errkind.KindOf(err), err)
			}
			require.ErrorContains(t, err, `DROP TRIGGER "a trap"`)
			require.Len(t, tableRows(t, path, `SELECT conv_id FROM conversions`), 2)
		})
	}
}

func TestTriggerOnThePipelinesOwnTablesIsRefused(t *testing.T) {
	t.Parallel()
	path := build(t, Schema+soundRows)
	d := opened(t, path)
	require.NoError(t, d.Accept(t.Context(), &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "one"}}))
	execute(t, path, "", `CREATE TRIGGER trap AFTER INSERT ON pipeline_runs BEGIN DELETE FROM conversions; END`)
	err := d.Accept(t.Context(), &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "two"}})
	require.Equal(t, errkind.Input, errkind.KindOf(err), err)
	require.Len(t, tableRows(t, path, `SELECT conv_id FROM conversions`), 2)
}

func TestViewInPlaceOfATableOfResultsIsRefused(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"channel_reporting", "attribution_customer_journey", "pipeline_runs"} {
		d := opened(t, build(t, InputSchema+soundRows+`CREATE VIEW `+name+` AS SELECT 1`))
		err := d.Rehearse(t.Context())
		require.Equal(t, errkind.Input, errkind.KindOf(err), err)
		require.ErrorContains(t, err, "view")
	}
}

// The shop's own triggers are nobody's business.
func TestTriggerOnSourceTablesIsLeftAlone(t *testing.T) {
	t.Parallel()
	path := build(t, Schema+soundRows+`CREATE TRIGGER own AFTER INSERT ON conversions BEGIN DELETE FROM session_costs; END`)
	require.Empty(t, codes(validated(t, path)))
	require.NoError(t, opened(t, path).Rehearse(t.Context()))
}

// endless is a shop whose visits have no end and no row.
const endless = `;ALTER TABLE session_sources RENAME TO visits;
	CREATE VIEW session_sources AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT v.* FROM n, visits v WHERE n.i < 0`

func TestStatementWithoutEndEndsWithItsContext(t *testing.T) {
	t.Parallel()
	d := opened(t, build(t, Schema+soundRows+endless))
	for name, do := range map[string]func(context.Context) error{
		"journeys": func(ctx context.Context) error {
			return d.Journeys(ctx, everything, func(journey.Journey) error { return nil })
		},
		"report": func(ctx context.Context) error {
			_, err := d.Rebuild(ctx, &ihcv1.RunRequest{})
			return err
		},
		"validation": func(ctx context.Context) error {
			_, err := d.Validate(ctx, findings.Options{})
			return err
		},
		"channels": func(ctx context.Context) error {
			_, err := d.UnknownChannels(ctx, []string{"SEO"})
			return err
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		require.ErrorIs(t, do(ctx), context.DeadlineExceeded, name)
		cancel()
	}
}

func TestValueThatIsTooLongToBeHeldIsTold(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"stored":    `UPDATE session_sources SET channel_name = CAST(zeroblob(70000000) AS text) WHERE session_id = 's1'`,
		"generated": `ALTER TABLE session_sources DROP COLUMN channel_name; ALTER TABLE session_sources ADD COLUMN channel_name text AS (hex(zeroblob(60000000)))`,
	} {
		d := New(build(t, Schema+soundRows+script))
		_, err := d.Validate(t.Context(), findings.Options{})
		require.Equal(t, errkind.Input, errkind.KindOf(err), "%s: %v", name, err)
		require.ErrorContains(t, err, "more than 64 MiB")
	}
}

// Expressions of a schema are computed as long as they do nothing else.
func TestGeneratedColumnsOfSourceTablesAreRead(t *testing.T) {
	t.Parallel()
	path := build(t, strings.Replace(Schema, "revenue real NOT NULL", "price real NOT NULL, revenue real AS (round(price * 1.19, 2)) STORED", 1)+soundRows)
	require.Empty(t, codes(validated(t, path)))
	totals, err := opened(t, path).Rebuild(t.Context(), &ihcv1.RunRequest{})
	require.NoError(t, err)
	require.Equal(t, unit.SumOf(1_336_800), totals.Range.All)
}
