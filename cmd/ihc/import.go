package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/store/importer"
	"github.com/ihc-pipeline/ihc/store/open"
)

func newImportCmd() *cobra.Command {
	opts := importer.Options{}
	var maxGiB int64
	var asJSON bool
	var of intakeFlags
	cmd := &cobra.Command{
		Use:   "import {FILE.zip | --sessions FILE --conversions FILE --db FILE}",
		Short: "Make or update a database from CSV, JSON lines, Parquet, SQLite; or unpack one",
		Long: `import with --sessions, --conversions, --costs or --daily-costs reads tables into the
database --db, a file that is made if it is not there, or postgres://…: CSV, TSV, JSON lines and Parquet,
plain, .gz, .zst or inside a .zip, - for standard input. How they are written is
found out and told. A mapping (--map, or mapping in ihc.yaml) says which column
is which; --guess proposes one. Rows are told by their ids: the same file twice
changes nothing. All is written in one transaction, or nothing is.

import with a file unpacks a zipped database. It takes the one SQLite database (*.db, *.sqlite, *.sqlite3) out of a zip, in
whatever folder of it, puts it in the data directory, and checks it as
"ihc validate" does. A database that is not zipped is copied.

Archives that are damaged, encrypted, larger than allowed, or in which a name
leads out of the directory are refused. The database appears whole or not at
all. One that has errors is kept, so that it can be mended.

Exit codes: 0 imported and sound; 2 it was refused, or has errors;
3 there is no such file, or the directory cannot be written.`,
		Example: `  ihc import --guess --sessions visits.csv --conversions orders.csv
  ihc import --sessions visits.csv --conversions orders.csv --db shop.db --map shop.yaml
  ihc import --from old.db --sessions my_view --conversions "SELECT …" --db shop.db
  ihc import --from postgres://shop@db.example/shop --sessions visits --conversions "SELECT …" --db shop.db
  ihc import challenge.zip
  ihc import challenge.zip --data /srv/ihc --name shop.db --force
  ihc run --db data/challenge.db`,
		Args: func(_ *cobra.Command, args []string) error {
			if of.asked() && len(args) > 0 {
				return errkind.Inputf("%q belongs to no table: say --sessions or the like before each file, or give a pattern in quotes", args[0])
			}
			if of.asked() {
				return nil
			}
			if len(args) != 1 {
				return errkind.Inputf("name one file to import, such as challenge.zip (%d given)", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if of.asked() {
				return of.run(cmd)
			}
			if maxGiB < 1 || maxGiB > 1<<20 {
				return errkind.Inputf("--max-gib %d: choose 1 to %d", maxGiB, 1<<20)
			}
			opts.MaxBytes = maxGiB << 30
			if opts.MaxRatio < 1 {
				return errkind.Inputf("--max-ratio %d: choose 1 or more", opts.MaxRatio)
			}
			imported, err := importer.Import(cmd.Context(), args[0], opts)
			if err != nil {
				return err
			}
			report, err := validateFile(cmd, imported.Path, findings.Options{})
			if err != nil {
				return fmt.Errorf("%w (it is kept as %s)", err, imported.Path)
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), jsonImport{imported, newJSONReport(report)})
			} else {
				printValidation(cmd.OutOrStdout(), "imported "+imported.Path, report, findings.Options{}, false)
			}
			return errors.Join(err, judge(report, false))
		},
	}
	of.add(cmd)
	fs := cmd.Flags()
	dir, name := "data", ""
	if db := os.Getenv("IHC_DB"); db != "" && !open.IsAddress(db) { // where the services of this stack look for it
		dir, name = filepath.Dir(db), filepath.Base(db)
	}
	fs.StringVar(&opts.Dir, "data", dir, "`directory` to put the database in")
	fs.StringVar(&opts.Name, "name", name, "`name` of the file there (default: that of IHC_DB, which also names --data, or the one it has in the zip)")
	fs.BoolVar(&opts.Replace, "force", false, "replace a file that is already there")
	fs.Int64Var(&maxGiB, "max-gib", 64, "refuse a database larger than this many `GiB`")
	fs.Int64Var(&opts.MaxRatio, "max-ratio", 200, "refuse a large database that unpacks to more than this many `times` its packed size")
	fs.BoolVar(&asJSON, "json", false, "print the result as one JSON object on standard output")
	return cmd
}

type jsonImport struct {
	importer.Result
	jsonReport
}
