package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/sheet"
	"github.com/ihc-pipeline/ihc/store/open"
	"github.com/ihc-pipeline/ihc/store/report"
)

func newDiffCmd() *cobra.Command {
	var db string
	var asJSON, asCSV bool
	cmd := &cobra.Command{
		Use:   "diff --db FILE [RUN [RUN]]",
		Short: "Say what changed between two runs of a database, by channel and cause",
		Long: `diff sets the reports of two runs of a database beside each other, all dates of
channel_reporting together, and says for each channel why its conversions,
revenue and cost are others: new conversions, changed journeys, removed
conversions, changed revenue, changed cost, other settings. The causes add up to
the difference, to the last digit.

Without a RUN it takes the last two runs; with one, that run and the one before
it. A run is named by its id, by the beginning of it, or as "last". Runs that
did not end with a report cannot be compared, nor those whose records were
dropped (see --keep-runs of "ihc run"). It writes nothing.`,
		Example: `  ihc diff --db shop.db
  ihc diff --db shop.db last
  ihc diff --db shop.db night-2023-09-01 night-2023-09-30
  ihc diff --db shop.db --json | jq '.channels[] | {channel, causes}'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 2 {
				return errkind.Inputf("diff compares two runs (%d given)", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case db == "":
				return errNoDatabase
			case asJSON && asCSV:
				return errkind.Inputf("--json and --csv: choose one")
			}
			var first, second string
			switch len(args) {
			case 1:
				second = args[0]
			case 2:
				first, second = args[0], args[1]
			}
			return printDifference(cmd, db, first, second, asJSON, asCSV)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&db, "db", "", "SQLite database `file`, or postgres://… (IHC_DB)")
	fs.BoolVar(&asJSON, "json", false, "print one JSON object on standard output")
	fs.BoolVar(&asCSV, "csv", false, "print CSV on standard output: a row for each channel and cause")
	return cmd
}

func printDifference(cmd *cobra.Command, db, first, second string, asJSON, asCSV bool) error {
	out := cmd.OutOrStdout()
	store := open.Database(db)
	defer store.Close() //nolint:errcheck // only read
	d, err := store.Difference(cmd.Context(), first, second)
	switch {
	case err != nil:
		return err
	case asJSON:
		return printJSON(out, report.DifferenceOf(d))
	case asCSV:
		return report.DifferenceSheet(d).CSV(out)
	}
	_, _ = fmt.Fprintf(out, "from run  %s\nto run    %s\n", human.Printable(d.From.ID), human.Printable(d.To.ID))
	if d.From.Model != d.To.Model {
		_, _ = fmt.Fprintf(out, "model     %s, before %s\n", human.Printable(d.To.Model), human.Printable(d.From.Model))
	}
	for _, s := range report.DifferenceTables(d) {
		_, _ = fmt.Fprintf(out, "\n%s\n\n", s.Title)
		if err := human.TableIn(out, narrow(s), 2); err != nil {
			return err
		}
		for _, note := range s.Notes {
			_, _ = fmt.Fprintf(out, "\n%s\n", note)
		}
	}
	return nil
}

// mostNamed is how many cells a channel's name may take in a line of sixty.
const mostNamed = 22

// narrow returns a sheet's rows, the titles first, with names that begin below
// one another.
func narrow(s *sheet.Sheet) [][]string {
	rows := [][]string{nil}
	for _, c := range s.Columns {
		rows[0] = append(rows[0], c.Title)
	}
	for range s.Rows {
		rows = append(rows, make([]string, len(s.Columns)))
	}
	for column, c := range s.Columns {
		var all []string
		for _, row := range s.Rows {
			all = append(all, c.Kind.People(row[column]))
		}
		shown := human.Named(all, mostNamed)
		for i, text := range all {
			if rows[i+1][column] = human.Printable(text); c.Kind == sheet.Text && text != "" {
				rows[i+1][column] = shown(text)
			}
		}
	}
	width := 0
	for _, row := range rows {
		width = max(width, human.Width(row[0]))
	}
	for _, row := range rows {
		row[0] = human.Pad(row[0], width)
	}
	return rows
}
