package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/attribution"
	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/sheet"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/open"
	"github.com/ihc-pipeline/ihc/store/report"
)

// modelsFlags are the flags of `ihc models`.
type modelsFlags struct {
	dialectFlags
	db, models, start, end, by string
	lookback                   uint32
	simultaneous               bool
	position, single           string
	nulls                      bool
	params                     string
	o                          attribution.Options
	json, csv                  bool
}

func newModelsCmd() *cobra.Command {
	f := &modelsFlags{}
	cmd := &cobra.Command{
		Use:   "models --db FILE",
		Short: "See what each attribution model says of the channels, side by side",
		Long: `models divides the conversions of a database among the channels by every known
model: conversions, revenue, CPO and ROAS side by side, with 95 % intervals, and
where the models disagree most. It changes nothing, and needs no run.

The models: ` + strings.Join(attribution.Names()[:6], ", ") + `,
` + strings.Join(attribution.Names()[6:], ", ") + `. All are defined in docs/models.md.

Intervals cover sampling, not cause: that other users might have come, and not
whether a channel made them buy.`,
		Example: `  ihc models --db shop.db
  ihc models --db shop.db --models last-non-direct,ihc --direct "Direct Traffic"
  ihc models --db shop.db --models markov --markov-order 2 --json
  ihc models --db shop.db --by month --csv > models.csv`,
		Args: databaseArgument(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if fs := cmd.Flags(); fs.Changed("half-life") && f.o.HalfLife == 0 || fs.Changed("markov-order") && f.o.Order == 0 {
				return errkind.Inputf("--half-life and --markov-order must be more than 0")
			}
			dialect, err := f.dialect(cmd, f.csv)
			if err != nil {
				return err
			}
			return f.run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), dialect)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.db, "db", "", "SQLite database `file`, or postgres://… (IHC_DB)")
	fs.StringVar(&f.models, "models", "", "`names` of the models, with commas between them (default: all)")
	fs.StringVar(&f.start, "start-date", "", "first `date` of the conversions, YYYY-MM-DD, UTC")
	fs.StringVar(&f.end, "end-date", "", "last `date` of the conversions, included")
	fs.StringVar(&f.by, "by", "channel", "`what` to divide by: channel, or also by the week or month of the conversion")
	fs.Uint32Var(&f.lookback, "lookback-days", 0, "how many `days` before the conversion a session still counts (0: any)")
	fs.BoolVar(&f.simultaneous, "include-simultaneous", false, "let sessions at the very second of the conversion count")
	fs.IntVar(&f.o.Order, "markov-order", 1, "how many channels a state of the Markov chain remembers, 1 to 4")
	fs.BoolVar(&f.nulls, "markov-nulls", true, "let journeys without conversion count in the Markov chain")
	fs.StringVar(&f.single, "single-channel", "joined", "`how` the Markov chain takes journeys of one channel: joined with the others, or apart")
	fs.StringSliceVar(&f.o.Direct, "direct", nil, "`channels` that last-non-direct passes over")
	fs.Float64Var(&f.o.HalfLife, "half-life", attribution.DefaultHalfLife, "half-life of time-decay in `days`")
	fs.StringVar(&f.position, "position", "40/20/40", "`weights` of first/middle/last in per cent, or u, j, inverse-j")
	fs.StringVar(&f.o.Collapse, "collapse", "", "how to collapse repeated `sessions` of a channel: exposure (in a row) or first (all); default: not")
	fs.StringVar(&f.params, "model-params", "", "parameter `file` of ihc (default: the built-in published-shop)")
	fs.BoolVar(&f.json, "json", false, "print the result as one JSON object")
	fs.BoolVar(&f.csv, "csv", false, "print the result as CSV, a row for each model and channel")
	f.dialectFlags.add(cmd)
	return cmd
}

func (f *modelsFlags) run(ctx context.Context, in io.Reader, out io.Writer, dialect sheet.Dialect) error {
	names, by, err := f.complete(in)
	if err != nil {
		return err
	}
	db := open.Database(f.db)
	defer db.Close() //nolint:errcheck // only read
	found, err := db.Validate(ctx, findings.Options{StartDate: f.start, EndDate: f.end})
	if err != nil {
		return err
	}
	if err := found.Err(); err != nil {
		return err
	}
	t, err := f.compare(ctx, db, names, by)
	if err != nil {
		return err
	}
	switch {
	case f.json:
		return printJSON(out, t.json())
	case f.csv:
		return t.Sheet().CSVAs(out, dialect)
	default:
		return t.print(out)
	}
}

// complete checks the flags and fills in what follows from them.
func (f *modelsFlags) complete(in io.Reader) (names []string, by attribution.Period, err error) {
	if f.db = cmp.Or(f.db, os.Getenv("IHC_DB")); f.db == "" {
		return nil, "", errkind.Inputf("name a database with --db FILE")
	}
	if f.json && f.csv {
		return nil, "", errkind.Inputf("--json and --csv are one or the other")
	}
	if err := civil.CheckRange("--start-date", f.start, "--end-date", f.end); err != nil {
		return nil, "", err
	}
	if names, err = attribution.Select(f.models); err != nil {
		return nil, "", errkind.Inputf("--models: %w", err)
	}
	if by, err = attribution.ParsePeriod(f.by); err != nil {
		return nil, "", errkind.Inputf("--%w", err)
	}
	if f.o.Position, err = attribution.ParseWeights(f.position); err != nil {
		return nil, "", errkind.Inputf("--%w", err)
	}
	switch f.single {
	case "joined", "apart":
		f.o.SingleApart = f.single == "apart"
	default:
		return nil, "", errkind.Inputf("--single-channel %q: use joined or apart", f.single)
	}
	f.o.WithoutNulls = !f.nulls
	if f.lookback > run.MostLookback {
		return nil, "", errkind.Inputf("--lookback-days %d: the most is %d", f.lookback, run.MostLookback)
	}
	if f.o.IHC, err = loadModel(in, f.params); err != nil {
		return nil, "", err
	}
	if f.o, err = f.o.Complete(); err != nil {
		return nil, "", errkind.Inputf("--%w", err)
	}
	return names, by, nil
}

// compare reads the journeys and the costs side by side.
func (f *modelsFlags) compare(ctx context.Context, db store.Database, names []string, by attribution.Period) (*modelsTable, error) {
	models, err := report.CompareModels(ctx, db, report.ModelsQuery{Names: names, Options: f.o, By: by, Start: f.start, End: f.end,
		LookbackDays: f.lookback, IncludeSimultaneous: f.simultaneous})
	if err != nil {
		return nil, err
	}
	t := &modelsTable{Models: models, flags: f, by: by}
	unknown, err := db.UnknownChannels(ctx, f.o.Direct)
	if err != nil {
		return nil, err
	}
	for _, name := range unknown {
		note := "--direct " + name + ": no session has this channel"
		if likely := attribution.LikelyDirect(models.Channels()); likely != "" {
			note += fmt.Sprintf("; is it %q?", likely)
		}
		t.notes = append(t.notes, note)
	}
	return t, nil
}
