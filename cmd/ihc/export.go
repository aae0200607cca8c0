package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/parquet-go/parquet-go"
	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/atomicfile"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/tables"
	"github.com/ihc-pipeline/ihc/internal/tabular"
	"github.com/ihc-pipeline/ihc/store/open"
)

func newExportCmd() *cobra.Command {
	var db, out, format string
	cmd := &cobra.Command{
		Use:   "export [FILE]",
		Short: "Write the tables of a database as CSV or Parquet",
		Long: `export writes each of the five tables to a file of its own, which "ihc import" reads
back to equal tables. Values are as they are stored, text in UTF-8.`,
		Example: "  ihc export --db shop.db --out tables\n  ihc export --db shop.db --out tables --format parquet",
		Args:    databaseArgument(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "csv" && format != "parquet" {
				return errkind.Inputf("--format %q: choose csv or parquet", format)
			}
			if err := open.Database(db).Check(cmd.Context()); err != nil {
				return err
			}
			for _, table := range tables.All {
				rows, err := open.Table(cmd.Context(), db, table)
				if err != nil {
					if table == tables.CustomerJourney || table == tables.ChannelReporting {
						continue // there before the first run
					}
					return err
				}
				path := filepath.Join(out, table+"."+format)
				n, err := exportTable(path, format, rows)
				if err = errors.Join(err, rows.Close()); err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
				_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", human.Printable(path), human.Count(n, "row"))
			}
			return nil
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&db, "db", "", "SQLite database `file`, or postgres://… (IHC_DB)")
	fs.StringVar(&out, "out", "export", "`directory` for the files")
	fs.StringVar(&format, "format", "csv", "csv or parquet")
	return cmd
}

func exportTable(path, format string, rows tabular.Rows) (n int64, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return 0, errkind.As(errkind.Environment, err)
	}
	err = atomicfile.Write(path, 0o644, func(w io.Writer) error {
		sink := csvSink
		if format == "parquet" {
			sink = parquetSink
		}
		put, end := sink(w, rows.Columns())
		for {
			row, err := rows.Next()
			if errors.Is(err, io.EOF) {
				return end()
			}
			if err == nil {
				err = put(row)
			}
			if err != nil {
				return err
			}
			n++
		}
	})
	return n, err
}

func csvSink(w io.Writer, columns []string) (put func([]string) error, end func() error) {
	out := csv.NewWriter(w)
	first := out.Write(columns)
	return out.Write, func() error { out.Flush(); return errors.Join(first, out.Error()) }
}

// parquetSink writes texts, as they are in the CSV: what is a number is for the
// reader to say, and no digit is lost.
func parquetSink(w io.Writer, columns []string) (put func([]string) error, end func() error) {
	group := parquet.Group{}
	for _, c := range columns {
		group[c] = parquet.Encoded(parquet.String(), &parquet.RLEDictionary)
	}
	schema := parquet.NewSchema("table", group)
	at := make([]int, len(columns)) // the library sorts its columns
	for i, c := range columns {
		leaf, _ := schema.Lookup(c)
		at[i] = leaf.ColumnIndex
	}
	out := parquet.NewWriter(w, schema, parquet.Compression(&parquet.Zstd), parquet.MaxRowsPerRowGroup(128<<10))
	put = func(values []string) error {
		row := make(parquet.Row, len(values))
		for i, v := range values {
			row[at[i]] = parquet.ByteArrayValue([]byte(v)).Level(0, 0, at[i])
		}
		_, err := out.WriteRows([]parquet.Row{row})
		return err
	}
	return put, out.Close
}

func newSchemaCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the tables as SQL",
		Long: `schema prints the five tables that the pipeline and its users share as SQL: the three
that are read, and the two that runs write.`,
		Example: "  ihc schema | sqlite3 shop.db",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := io.WriteString(cmd.OutOrStdout(), open.Schema())
			return err
		},
	}
}
