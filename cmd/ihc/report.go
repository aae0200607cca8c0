package main

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/atomicfile"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/sheet/columnar"
	"github.com/ihc-pipeline/ihc/internal/sheet/xlsx"
	"github.com/ihc-pipeline/ihc/store/open"
	"github.com/ihc-pipeline/ihc/store/report"
)

// reportRequest is what `ihc report` is asked for.
type reportRequest struct {
	report.Query
	dialectFlags
	db, format, out string
}

func newReportCmd() *cobra.Command {
	var q reportRequest
	cmd := &cobra.Command{
		Use:   "report --db FILE",
		Short: "Print what the database says of channels and days, without a run",
		Long: `report sums the tables up as they are now, as a run does at its end, and prints
the result: what channels, days, weeks or months cost and earned, by the date of
the session. It writes nothing into the database.

With more columns in session_sources than its own, as of campaigns, --by takes
their names as well.

Sessions are stored in UTC. With --timezone all dates are those of that zone: the
days and dates of the report, the range, and what "yesterday" is. channel_reporting
and what a run writes keep UTC.

--compare sets the same sums of other dates beside them: "previous" those just
before, "year" those a year before, or FIRST..LAST any others.

--format html writes the page that a run writes as report.html: with --out into
a file, otherwise to standard output. --format xlsx writes a workbook for
spreadsheets, with pages for channels, days, the proof and what was not
attributed; --format parquet one table, with types. For spreadsheets that write
numbers with a comma there is --format csv --decimal , --bom.`,
		Example: `  ihc report --db shop.db
  ihc report --db shop.db --by day --start-date 2023-09-01 --end-date 2023-09-30
  ihc report --db shop.db --start-date 2023-09-01 --end-date 2023-09-30 --compare previous
  ihc report --db shop.db --by day --timezone Europe/Berlin
  ihc report --db shop.db --phases --unattributed --format md
  ihc report --db shop.db --format html --out report.html
  ihc report --db shop.db --format xlsx --out report.xlsx
  ihc report --db shop.db --by day --format csv --decimal , --bom --out days.csv`,
		Args: databaseArgument(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if q.out == "-" {
				q.out = "" // standard output, as elsewhere
			}
			var text bytes.Buffer
			if err := q.write(cmd, &text); err != nil {
				return err
			}
			if q.out != "" {
				return atomicfile.Write(q.out, 0o644, func(w io.Writer) error {
					_, err := w.Write(text.Bytes())
					return err
				})
			}
			_, err := cmd.OutOrStdout().Write(text.Bytes())
			return err
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&q.db, "db", "", "SQLite database `file`, or postgres://… (IHC_DB)")
	fs.StringVar(&q.By, "by", report.ByChannel, "channel, day, week, month, channel-day, or another `column` of session_sources")
	fs.StringVar(&q.Channel, "channel", "", "only the sessions of this `channel`")
	fs.StringVar(&q.Start, "start-date", "", "first `date` of the sessions, in --timezone: 2023-09-01, a month 2023-09, a week 2023-W36, today, yesterday, -7d, -4w, -1m or -1y")
	fs.StringVar(&q.End, "end-date", "", "last `date`, included, written likewise; of a month or week its last day")
	fs.StringVar(&q.Zone, "timezone", "UTC", "`zone` that all dates are of, such as Europe/Berlin")
	fs.StringVar(&q.Compare, "compare", "", "previous, year or FIRST..LAST: a `range` of dates to compare with")
	fs.StringVar(&q.Refunds, "refunds", "", "how ihc and CPO have a conversion with negative revenue: count (one more) or subtract (one less) (default count)")
	fs.BoolVar(&q.Phases, "phases", false, "who starts, holds and closes, too")
	fs.BoolVar(&q.Paths, "paths", false, "the most frequent paths, their length and how long they take, too")
	fs.BoolVar(&q.Unattributed, "unattributed", false, "what was not attributed, and why, and costs without sessions, too")
	fs.StringVar(&q.format, "format", "table", strings.Join(reportFormats[:len(reportFormats)-1], ", ")+" or "+reportFormats[len(reportFormats)-1])
	q.add(cmd)
	fs.StringVar(&q.Currency, "currency", "", "what amounts are in, as it is shown on the page")
	fs.StringVar(&q.out, "out", "", "`file` to write to, in place of standard output")
	return cmd
}

// reportFormats are what a report can be written as.
var reportFormats = []string{"table", "csv", "json", "md", "html", "xlsx", "parquet"}

// write writes the report in its format.
func (q *reportRequest) write(cmd *cobra.Command, w io.Writer) error {
	dialect, err := q.dialect(cmd, q.format == "csv")
	if err != nil {
		return err
	}
	r, err := q.read(cmd)
	if err != nil {
		return err
	}
	sheets := q.Tables(r)
	if len(sheets) > 1 && (q.format == "csv" || q.format == "parquet") {
		return errkind.Inputf("--format %s is one table: leave out --phases, --paths and --unattributed, or use json or xlsx", q.format)
	}
	switch q.format {
	case "html":
		return r.Page().Write(w)
	case "xlsx":
		return xlsx.Write(w, r.About(), q.Workbook(r)...)
	case "parquet":
		return columnar.Write(w, sheets[0])
	case "csv":
		return sheets[0].CSVAs(w, dialect)
	case "json":
		return printJSON(w, r.JSON(sheets))
	}
	cells := 0
	if q.out == "" {
		cells = window(cmd.OutOrStdout())
	}
	for i, s := range sheets {
		if i > 0 {
			_, _ = io.WriteString(w, "\n")
		}
		if q.format == "md" {
			err = s.Markdown(w)
		} else {
			err = s.TextIn(w, cells)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var errNoDatabase = errkind.Inputf("name the database: --db FILE")

// read reads what the report is of.
func (q *reportRequest) read(cmd *cobra.Command) (*report.Report, error) {
	if q.db == "" {
		return nil, errNoDatabase
	}
	if !slices.Contains(reportFormats, q.format) {
		return nil, errkind.Inputf("--format %.40q: use table, csv, json, md or html, or xlsx or parquet for a file", q.format)
	}
	if (q.format == "xlsx" || q.format == "parquet") && q.out == "" && isTerminal(cmd.OutOrStdout()) {
		return nil, errkind.Inputf("--format %s is nothing to read on a terminal: name a file, as in --out report.%[1]s", q.format)
	}
	var err error
	dates := dateFlags{q.Start, q.End, q.Zone}
	if q.Start, q.End, err = dates.resolve(time.Now()); err != nil {
		return nil, err
	}
	db := open.Database(q.db)
	defer db.Close() //nolint:errcheck // only read
	r, err := q.Read(cmd.Context(), db, func(name string) string { return "--" + strings.ReplaceAll(name, "_", "-") })
	if err == nil && q.format == "html" && !r.Narrow() && !r.Elsewhere() {
		r.Models, err = report.CompareModels(cmd.Context(), db, report.ModelsQuery{Start: q.Start, End: q.End})
	}
	return r, err
}
