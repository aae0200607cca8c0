package sqlite_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/internal/shop"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/open"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// withShop calls do with a made-up shop's database.
func withShop(do func(context.Context, store.Database) error) {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	path := filepath.Join(dir, "shop.db")
	if _, err := sqlite.GenerateShop(ctx, path, shop.Config{Sessions: 600}, false); err != nil {
		fmt.Println(err)
		return
	}
	db := open.Database(path)
	if err := do(ctx, db); err != nil {
		fmt.Println(err)
	}
	if err := db.Close(); err != nil {
		fmt.Println(err)
	}
}

// The same seed and sizes give the same shop.
func ExampleGenerateShop() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	path := filepath.Join(dir, "shop.db")
	for range 2 {
		stats, err := sqlite.GenerateShop(context.Background(), path, shop.Config{Sessions: 600}, true)
		fmt.Println(stats.Sessions, "sessions,", stats.Conversions, "conversions,", stats.Touchpoints, "touchpoints", err)
	}
	// Output:
	// 600 sessions, 73 conversions, 1398 touchpoints <nil>
	// 600 sessions, 73 conversions, 1398 touchpoints <nil>
}

// What the data hold and what is odd about them, before anything is sent.
func ExampleDatabase_Validate() {
	withShop(func(ctx context.Context, db store.Database) error {
		found, err := db.Validate(ctx, findings.Options{StartDate: "2023-08-01", EndDate: "2023-08-31"})
		if err != nil {
			return err
		}
		fmt.Println(found.Conversions, "conversions,", found.ConversionsInRange, "in August; sound:", found.Err() == nil)
		for _, line := range found.Lines() {
			fmt.Println(line)
		}
		return nil
	})
	// Output:
	// 73 conversions, 24 in August; sound: true
	// warning: session_costs.session_id: 1 row: the cost's session is not in session_sources; the cost is left out of the report (first: "2023-08-04_0000003_3f94551e_gone")
	// note: session_sources.session_id: 115 rows: the session has no row in session_costs; its cost counts as 0 (first: "2023-06-01_0000001_2dd82c88")
	// note: conversions.conv_id: 2 rows: the conversion's user has no session at all; it cannot be attributed (first: "o_000000038_cd015e07")
}

// Every conversion in range comes with its journey, those without sessions too.
func ExampleDatabase_Journeys() {
	withShop(func(ctx context.Context, db store.Database) error {
		conversions, touchpoints, without := 0, 0, 0
		o := journey.Options{Start: "2023-06-01", End: "2023-08-31", MaxSessions: 200}
		err := db.Journeys(ctx, o, func(j journey.Journey) error {
			conversions++
			touchpoints += j.Count
			if j.Count == 0 {
				without++
			}
			return nil
		})
		fmt.Println(conversions, "conversions,", touchpoints, "touchpoints,", without, "without sessions")
		return err
	})
	// Output:
	// 73 conversions, 1398 touchpoints, 2 without sessions
}

// Results go to the journal as they arrive. The users' table changes once, when
// the run is complete: whole or not at all.
func ExampleDatabase_Finish() {
	withShop(func(ctx context.Context, db store.Database) error {
		var first journey.Journey
		err := db.Journeys(ctx, journey.Options{Start: "2023-06-01", End: "2023-08-31", MaxSessions: 200}, func(j journey.Journey) error {
			if first.Count == 0 && j.Count == 1 {
				first = j
			}
			return nil
		})
		if err != nil {
			return err
		}
		shown := func(when string) error {
			totals, err := db.Rebuild(ctx, &ihcv1.RunRequest{})
			if err == nil {
				fmt.Println(when, totals.Share.Decimal(store.ShareDecimals))
			}
			return err
		}
		result := &ihcv1.AttributionResult{RunId: "september", Chunk: 1, Attributions: []*ihcv1.Attribution{
			{ConvId: first.ConvID, SessionIds: []string{first.Sessions[0].ID}, Ihc: []uint32{10_000}}}}
		if err := db.Store(ctx, []*ihcv1.AttributionResult{result}); err != nil {
			return err
		}
		if err := shown("stored:"); err != nil {
			return err
		}
		if err := db.Expect(ctx, "september", &ihcv1.RunExtracted{Chunks: 1, Counts: &ihcv1.Counts{InRange: 1}}); err != nil {
			return err
		}
		state, err := db.Finish(ctx, "september")
		if err != nil {
			return err
		}
		fmt.Println("complete:", state.Complete)
		return shown("finished:")
	})
	// Output:
	// stored: 0
	// complete: true
	// finished: 1
}

// A run that was interrupted and whose source has changed leaves what was scored
// to the run that takes its place.
func ExampleDatabase_Adopt() {
	withShop(func(ctx context.Context, db store.Database) error {
		fingerprint := []byte("fingerprint of c")
		err := db.Store(ctx, []*ihcv1.AttributionResult{{RunId: "september", Chunk: 1, Attributions: []*ihcv1.Attribution{
			{ConvId: "c", SessionIds: []string{"s"}, Ihc: []uint32{10_000}, Fingerprint: fingerprint}}}})
		if err != nil {
			return err
		}
		stored, err := db.Adopt(ctx, "september", "september-v2")
		if err != nil {
			return err
		}
		same, err := stored.Has(ctx, "c", fingerprint)
		if err != nil {
			return err
		}
		changed, err := stored.Has(ctx, "c", []byte("fingerprint of another c"))
		fmt.Println("the same journey:", same)
		fmt.Println("one that changed:", changed)
		return err
	})
	// Output:
	// the same journey: true
	// one that changed: false
}
