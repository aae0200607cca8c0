package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/store/open"
)

func newValidateCmd() *cobra.Command {
	var db string
	var opts findings.Options
	var dates dateFlags
	var asJSON, strict bool
	cmd := &cobra.Command{
		Use:   "validate [FILE]",
		Short: "Check whether a database can give a true result",
		Long: `validate reads the tables session_sources, conversions and session_costs whole
and says what is odd about them: each finding in one line, with how many rows
it concerns, the first of them, and what to do about it.

  error    makes a true result impossible; no run starts
  warning  makes a result that may not be what was meant
  note     worth knowing, and harmless

It changes nothing, and can be used beside a run. Every run makes the same
checks before it sends anything.

Exit codes: 0 sound; 2 there are errors (with --strict: or warnings);
3 there is no database, or it cannot be read.`,
		Example: `  ihc validate --db shop.db
  ihc validate --db shop.db --start-date 2023-09-01 --end-date 2023-09-30
  ihc validate --db shop.db --strict --json | jq '.findings[] | select(.severity != "note")'`,
		Args: databaseArgument(),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if opts.StartDate, opts.EndDate, err = dates.resolve(time.Now()); err != nil {
				return err
			}
			report, err := validateFile(cmd, db, opts)
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), jsonValidation{Database: open.Shown(db), jsonReport: newJSONReport(report)})
			} else {
				printValidation(cmd.OutOrStdout(), open.Shown(db), report, opts, strict)
			}
			return errors.Join(err, judge(report, strict))
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&db, "db", "", "SQLite database `file`, or postgres://… (IHC_DB)")
	dates.add(cmd, "the conversions to count")
	fs.BoolVar(&asJSON, "json", false, "print the findings as one JSON object on standard output")
	fs.BoolVar(&strict, "strict", false, "take warnings for errors")
	return cmd
}

func validateFile(cmd *cobra.Command, path string, opts findings.Options) (*findings.Findings, error) {
	db := open.Database(path)
	defer db.Close() //nolint:errcheck // only read
	return db.Validate(cmd.Context(), opts)
}

// judge returns nil for sound data.
func judge(r *findings.Findings, strict bool) error {
	if err := r.Err(); err != nil {
		return err
	}
	if n := r.Count(findings.Warning); strict && n > 0 {
		return errkind.Inputf("source data: %s, which --strict takes for errors", human.Count(n, "warning"))
	}
	return nil
}

type jsonValidation struct {
	Database string `json:"database"`
	jsonReport
}

// jsonReport is a report with its verdict.
type jsonReport struct {
	Sound    bool `json:"sound"`
	Errors   int  `json:"errors"`
	Warnings int  `json:"warnings"`
	Notes    int  `json:"notes"`
	*findings.Findings
}

func newJSONReport(r *findings.Findings) jsonReport {
	return jsonReport{r.Count(findings.Error) == 0, r.Count(findings.Error), r.Count(findings.Warning), r.Count(findings.Note), r}
}

func printJSON(w io.Writer, v any) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	return out.Encode(v)
}

// printValidation prints a report for people: a title, what is there, and the
// findings.
func printValidation(w io.Writer, title string, r *findings.Findings, opts findings.Options, strict bool) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(n int64, format string, args ...any) {
		_, _ = fmt.Fprintf(t, "%s\t %s\n", human.Thousands(max(n, 0)), fmt.Sprintf(format, args...))
	}
	_, _ = fmt.Fprintln(w, human.Printable(title))
	row(r.Sessions, "%s%s, %s", human.Plural(max(r.Sessions, 0), "session"), between(r.FirstSession, r.LastSession), human.Count(r.Channels, "channel"))
	if opts.StartDate == "" && opts.EndDate == "" {
		row(r.Conversions, "%s%s", human.Plural(max(r.Conversions, 0), "conversion"), between(r.FirstConversion, r.LastConversion))
	} else {
		row(r.Conversions, "%s%s, %s of them in range", human.Plural(max(r.Conversions, 0), "conversion"), between(r.FirstConversion, r.LastConversion), human.Thousands(max(r.ConversionsInRange, 0)))
	}
	row(r.Costs, "%s", human.Plural(max(r.Costs, 0), "cost"))
	_ = t.Flush()
	_, _ = fmt.Fprintln(w)
	for _, line := range r.Lines() {
		wrapped(w, "%s", human.Printable(line))
	}
	verdict := "sound"
	if judge(r, strict) != nil {
		verdict = "not sound"
	}
	_, _ = fmt.Fprintf(w, "%s: %s, %s, %s\n", verdict, human.Count(r.Count(findings.Error), "error"), human.Count(r.Count(findings.Warning), "warning"), human.Count(r.Count(findings.Note), "note"))
}

func between(first, last string) string {
	if first == "" {
		return ""
	}
	return " from " + first + " to " + last
}
