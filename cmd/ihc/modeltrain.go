package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/atomicfile"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/open"
)

// trainFlags are the flags of `ihc model train`.
type trainFlags struct {
	db, out, plots, name       string
	initializer, channelScores string
	guessScores                bool
	journeys                   journeyFlags
}

// journeyFlags say which sessions belong to a journey, as `ihc run` does.
type journeyFlags struct {
	lookback     uint32
	simultaneous bool
}

func (f *journeyFlags) add(cmd *cobra.Command) {
	cmd.Flags().Uint32Var(&f.lookback, "lookback-days", 0, "how many `days` before the conversion a session still counts (0: any)")
	cmd.Flags().BoolVar(&f.simultaneous, "include-simultaneous", false, "let sessions at the very second of the conversion count")
}

// options are those of all journeys there are.
func (f *journeyFlags) options() (journey.Options, error) {
	if f.lookback > run.MostLookback {
		return journey.Options{}, errkind.Inputf("--lookback-days %d: the most is %d", f.lookback, run.MostLookback)
	}
	start, end := run.Range(nil)
	return journey.Options{Start: start, End: end, LookbackDays: int(f.lookback), IncludeSimultaneous: f.simultaneous, MaxSessions: anyLength}, nil
}

func newModelTrainCmd() *cobra.Command {
	f := &trainFlags{}
	cmd := &cobra.Command{
		Use:   "train",
		Short: "Learn parameters from the journeys of a database",
		Long: `Learns both curves from your own journeys, which are those of a run: for each
conversion, all sessions of its user before it. Writes a parameter file and a
report of what was learned from how much, and how sure it is. Phase weights stay
the published shop's and channel scores 1, unless you give yours.

How the vendor trains is not published. docs/ihc-model.md says what could be
found of it, and how. With too few journeys a curve is a default one. The vendor
advises 10,000 to 100,000 journeys.`,
		Example: `  ihc model train --db shop.db --out params.json
  ihc model train --db shop.db --out params.json --plots plots --name "our shop, 2023"
  ihc model train --db shop.db --out params.json --channel-scores scores.json`,
		Args: databaseArgument(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := namesFile("out", f.out); err != nil {
				return err
			}
			if f.out == "" {
				return errkind.Inputf("say where the parameters go: --out FILE")
			}
			trained, err := f.train(cmd.Context(), cmd.InOrStdin())
			if err != nil {
				return err
			}
			if err := atomicfile.WriteBytes(f.out, 0o644, trained.Params.JSON()); err != nil {
				return err
			}
			if err := writePlots(cmd.ErrOrStderr(), f.plots, trained.Params); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\nwrote %s\n", trained.Report(), f.out)
			return err
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.db, "db", "", "SQLite `FILE`, or postgres://…, with session_sources and conversions (IHC_DB)")
	fs.StringVar(&f.out, "out", "", "parameter `FILE` to write")
	fs.StringVar(&f.plots, "plots", "", "also draw both curves as SVG into this `DIR`")
	fs.StringVar(&f.name, "name", "", "name of the parameters, shown with their numbers (default: \"trained on\" the file's name)")
	fs.StringVar(&f.initializer, "initializer", "gaps", "`shape` of the initializer curve: gaps, by how frequent they are, or ramp, a straight line")
	fs.StringVar(&f.channelScores, "channel-scores", "", "JSON `FILE` with your channel scores, as channel_scores of a parameter file (- for standard input)")
	fs.BoolVar(&f.guessScores, "guess-scores", false, "guess channel scores from the roles that channels take")
	f.journeys.add(cmd)
	return cmd
}

// options reads what the flags say about training.
func (f *trainFlags) options(in io.Reader) (o ihcmodel.TrainOptions, err error) {
	switch f.initializer {
	case "gaps", "ramp":
		o.Ramp = f.initializer == "ramp"
	default:
		return o, errkind.Inputf("--initializer %q: use gaps or ramp", f.initializer)
	}
	if o.GuessScores = f.guessScores; f.channelScores == "" {
		return o, nil
	}
	if f.guessScores {
		return o, errkind.Inputf("--channel-scores and --guess-scores are one or the other")
	}
	data, name, err := readInput(in, "--channel-scores", f.channelScores)
	if err != nil {
		return o, err
	}
	if o.Scores, err = ihcmodel.ParseScores(data); err != nil {
		return o, errkind.Inputf("--channel-scores %s: %w", name, err)
	}
	return o, nil
}

// train checks the database's data and learns from its journeys.
func (f *trainFlags) train(ctx context.Context, in io.Reader) (*ihcmodel.Trained, error) {
	o, err := f.options(in)
	if err != nil {
		return nil, err
	}
	of, err := f.journeys.options()
	if err != nil {
		return nil, err
	}
	db := open.Database(f.db)
	defer db.Close() //nolint:errcheck // only read
	found, err := db.Validate(ctx, findings.Options{})
	if err != nil {
		return nil, err
	}
	if err := found.Err(); err != nil {
		return nil, err
	}
	name := f.name
	if name == "" {
		name = "trained on " + open.Label(f.db)
	}
	scores := "channel scores 1"
	switch {
	case o.GuessScores:
		scores = "channel scores guessed"
	case o.Scores != nil:
		scores = "channel scores given"
	}
	provenance := fmt.Sprintf("%d conversions from %s to %s; curves learned as docs/ihc-model.md says, %s, phase weights of published-shop",
		found.Conversions, found.FirstConversion, found.LastConversion, scores)
	journeys := &journeyReader{ctx: ctx, db: db, options: of}
	trained, err := ihcmodel.Train(name, provenance, o, journeys.all())
	switch {
	case journeys.err != nil:
		return nil, journeys.err
	case errors.Is(err, ihcmodel.ErrNothingToLearn):
		return nil, errkind.Inputf("%s: %w", open.Shown(f.db), err)
	case err != nil:
		return nil, err
	}
	trained.Params.Provenance += fmt.Sprintf("; from %s and %s for the closer curve", human.Count(trained.Gaps, "gap"), human.Count(trained.Closers, "journey"))
	return trained, nil
}

// journeyReader reads journeys from the database, each time anew. err is what
// ended the last reading early.
type journeyReader struct {
	ctx     context.Context
	db      store.Source
	options journey.Options
	err     error
}

// anyLength is more sessions than a journey can have.
const anyLength = 1 << 30

var errEnough = errors.New("no more journeys are wanted")

func (r *journeyReader) all() iter.Seq[[]ihcmodel.Session] {
	return func(yield func([]ihcmodel.Session) bool) {
		if r.err != nil {
			return
		}
		var sessions []ihcmodel.Session
		err := r.db.Journeys(r.ctx, r.options, func(j journey.Journey) error {
			if j.Count == 0 {
				return nil
			}
			sessions = modelSessions(j.Sessions, sessions)
			if !yield(sessions) {
				return errEnough
			}
			return nil
		})
		if !errors.Is(err, errEnough) {
			r.err = err
		}
	}
}

// modelSessions writes a journey's sessions as the built-in model takes them,
// into room.
func modelSessions(of []journey.Session, room []ihcmodel.Session) []ihcmodel.Session {
	room = room[:0]
	for _, s := range of {
		engaged := unit.Engagement(s.Flags)
		room = append(room, ihcmodel.Session{TimeMicros: s.Time, Channel: s.Channel,
			Holder: engaged.Holder(), Closer: engaged.Closer(), Impression: engaged.Impression()})
	}
	return room
}
