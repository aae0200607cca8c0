package main

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/atomicfile"
	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/sheet"
	"github.com/ihc-pipeline/ihc/internal/version"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/open"
	"github.com/ihc-pipeline/ihc/store/report"
)

// reportRequest is what `ihc report` is asked for.
type reportRequest struct {
	db, by, channel, start, end string
	compare, format, out        string
	currency                    string
	phases, unattributed, paths bool
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

--compare sets the same sums of other dates beside them: "previous" those just
before, "year" those a year before, or FIRST..LAST any others.

--format html writes the page that a run writes as report.html: with --out into
a file, otherwise to standard output.`,
		Example: `  ihc report --db shop.db
  ihc report --db shop.db --by day --start-date 2023-09-01 --end-date 2023-09-30
  ihc report --db shop.db --start-date 2023-09-01 --end-date 2023-09-30 --compare previous
  ihc report --db shop.db --phases --unattributed --format md
  ihc report --db shop.db --format html --out report.html`,
		Args: databaseArgument(),
		RunE: func(cmd *cobra.Command, _ []string) error {
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
	fs.StringVar(&q.db, "db", "", "SQLite database `file`")
	fs.StringVar(&q.by, "by", report.ByChannel, "channel, day, week, month, or another `column` of session_sources")
	fs.StringVar(&q.channel, "channel", "", "only the sessions of this `channel`")
	fs.StringVar(&q.start, "start-date", "", "first UTC `date` (YYYY-MM-DD) of the sessions")
	fs.StringVar(&q.end, "end-date", "", "last UTC `date` (YYYY-MM-DD) of the sessions")
	fs.StringVar(&q.compare, "compare", "", "previous, year or FIRST..LAST: a `range` of dates to compare with")
	fs.BoolVar(&q.phases, "phases", false, "who starts, holds and closes, too")
	fs.BoolVar(&q.paths, "paths", false, "the most frequent paths, their length and how long they take, too")
	fs.BoolVar(&q.unattributed, "unattributed", false, "what was not attributed, and why, too")
	fs.StringVar(&q.format, "format", "table", "table, csv, json, md or html")
	fs.StringVar(&q.currency, "currency", "", "what amounts are in, as it is shown on the page")
	fs.StringVar(&q.out, "out", "", "`file` to write to, in place of standard output")
	return cmd
}

// write writes the report in its format.
func (q *reportRequest) write(cmd *cobra.Command, w io.Writer) error {
	r, err := q.read(cmd)
	if err != nil {
		return err
	}
	if q.format == "html" {
		return r.Page().Write(w)
	}
	sheets := q.sheets(r)
	switch q.format {
	case "csv":
		if len(sheets) > 1 {
			return errkind.Inputf("--format csv is one table: leave out --phases, --paths and --unattributed, or use json")
		}
		return sheets[0].CSV(w)
	case "json":
		return printJSON(w, r.JSON(sheets))
	}
	for i, s := range sheets {
		if i > 0 {
			_, _ = io.WriteString(w, "\n")
		}
		write := s.Text
		if q.format == "md" {
			write = s.Markdown
		}
		if err := write(w); err != nil {
			return err
		}
	}
	return nil
}

var errNoDatabase = errkind.Inputf("name the database: --db FILE")

// sheets are the tables asked for.
func (q *reportRequest) sheets(r *report.Report) []*sheet.Sheet {
	sheets := []*sheet.Sheet{r.By(q.by)}
	if q.phases {
		sheets = append(sheets, r.Phases(), r.Pairs())
	}
	if q.paths {
		sheets = append(sheets, r.Paths(), r.Lengths(), r.Waits())
	}
	if q.unattributed {
		sheets = append(sheets, r.Unattributed())
	}
	return slices.DeleteFunc(sheets, func(s *sheet.Sheet) bool { return s == nil })
}

// read reads what the report is of.
func (q *reportRequest) read(cmd *cobra.Command) (*report.Report, error) {
	if q.db == "" {
		return nil, errNoDatabase
	}
	if err := civil.CheckRange("--start-date", q.start, "--end-date", q.end); err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"table", "csv", "json", "md", "html"}, q.format) {
		return nil, errkind.Inputf("--format %.40q: use table, csv, json, md or html", q.format)
	}
	column := q.by
	if slices.Contains([]string{report.ByChannel, report.ByDay, report.ByWeek, report.ByMonth}, q.by) {
		column = ""
	}
	db := open.Database(q.db)
	defer db.Close() //nolint:errcheck // only read
	if q.channel != "" {
		unknown, err := db.UnknownChannels(cmd.Context(), []string{q.channel})
		if err != nil {
			return nil, err
		}
		if len(unknown) > 0 {
			return nil, errkind.Inputf("--channel %.80q: no session has it", q.channel)
		}
	}
	totals, err := db.Survey(cmd.Context(), &ihcv1.RunRequest{StartDate: q.start, EndDate: q.end}, column, q.channel)
	if err != nil {
		return nil, err
	}
	o := report.Options{Start: q.start, End: q.end, Channel: q.channel, Dimension: column, Currency: q.currency, Version: version.This().Version}
	if o.Compare, err = q.comparison(totals); err != nil {
		return nil, err
	}
	return report.New(totals, o), nil
}

// comparison returns the dates to compare with.
func (q *reportRequest) comparison(t *store.Totals) (p report.Period, err error) {
	of := report.Period{Start: q.start, End: q.end}
	if n := len(t.Covered); n > 0 {
		if of.Start == "" {
			of.Start = t.Covered[0].Date
		}
		if of.End == "" {
			of.End = t.Covered[n-1].Date
		}
	}
	ok := true
	switch first, last, isRange := strings.Cut(q.compare, ".."); {
	case q.compare == "":
	case q.compare == "previous":
		p, ok = report.Previous(of)
	case q.compare == "year":
		p, ok = report.YearBefore(of)
	case !isRange || first == "" || last == "":
		err = errkind.Inputf("--compare %.40q: use previous, year, or two dates as in 2023-08-01..2023-08-31", q.compare)
	default:
		p = report.Period{Start: first, End: last}
		err = civil.CheckRange("--compare", first, "--compare", last)
	}
	if err == nil && !ok {
		err = errkind.Inputf("--compare %s: there is no date to go back from; name --start-date and --end-date", q.compare)
	}
	return p, err
}
