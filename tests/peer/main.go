// Command peer does with DuckDB what a pipeline without a model, checks and
// restarts would do, on the same data, for `make bench` to compare with:
//
//	peer fill WAY CSVDIR DATABASE   reads the shop's three tables and writes the results; WAY is window or counted
//	peer totals DATABASE            prints what the results add up to, as JSON
//
// It is a module outside of go.work, so that nobody else has to fetch DuckDB.
package main

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	_ "github.com/duckdb/duckdb-go/v2" // registers the driver
)

//go:embed *.sql
var statements embed.FS

// totals of the results, as the bench compares them with ours.
type totals struct {
	Journeys    int     `json:"journeys"` // conversions with sessions before them
	Touchpoints int     `json:"touchpoints"`
	Revenue     float64 `json:"revenue"` // attributed, in the shop's currency
	Cost        float64 `json:"cost"`
}

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "peer: "+err.Error())
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 4 && args[0] == "fill":
		return fill(ctx, args[1], args[2], args[3])
	case len(args) == 2 && args[0] == "totals":
		return printTotals(ctx, args[1])
	}
	return errors.New("usage: peer fill window|counted CSVDIR DATABASE, or peer totals DATABASE")
}

// open opens a database for two threads, and never the network.
func open(path string) (*sql.DB, error) {
	return sql.Open("duckdb", path+"?threads=2&preserve_insertion_order=false&autoinstall_known_extensions=false&autoload_known_extensions=false")
}

// fill writes the results into a new database, from the files in a directory.
// Closing the database brings all of it into its file.
func fill(ctx context.Context, way, dir, path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if err := os.Chdir(dir); err != nil {
		return err
	}
	db, err := open(path)
	if err != nil {
		return err
	}
	for _, name := range []string{"tables.sql", way + ".sql", "report.sql"} {
		var text []byte
		if text, err = statements.ReadFile(name); err == nil {
			_, err = db.ExecContext(ctx, string(text))
		}
		if err != nil {
			break
		}
	}
	return errors.Join(err, db.Close())
}

func printTotals(ctx context.Context, path string) error {
	db, err := open(path)
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // only read
	var t totals
	err = db.QueryRowContext(ctx, `SELECT count(DISTINCT conv_id), count(*), (SELECT sum(ihc_revenue) FROM channel_reporting), (SELECT sum(cost) FROM channel_reporting)
		FROM attribution_customer_journey`).Scan(&t.Journeys, &t.Touchpoints, &t.Revenue, &t.Cost)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(t)
}
