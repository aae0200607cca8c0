package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/attribution"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/store/open"
	"github.com/ihc-pipeline/ihc/store/report"
)

// newModelCompareCmd is "ihc model compare": two sets of parameters.
func newModelCompareCmd() *cobra.Command {
	var db, plots string
	var of journeyFlags
	cmd := &cobra.Command{
		Use:   "compare A.json B.json --db FILE",
		Short: "See how two parameter files differ, in curves and in credit by channel",
		Long: `Shows two parameter files beside each other: where their curves end and are
furthest apart, and, with --db, what each gives to the channels of a database.
"published-shop" stands for the built-in parameters.

Two trainings compare only where the initializer curves end alike: journeys are
cut there, which moves whole shares.`,
		Example: `  ihc model compare params.json new.json --db shop.db --plots plots
  ihc model compare published-shop params.json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return errkind.Inputf("%s takes two arguments, parameter files; %d given", cmd.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var two [2]*ihcmodel.Params
			for i, path := range args {
				p, err := namedParams(cmd.InOrStdin(), path)
				if err != nil {
					return err
				}
				two[i] = p
			}
			var b strings.Builder
			compareCurves(&b, two[0], two[1])
			if err := plotCurves(cmd.ErrOrStderr(), plots, two[0], two[1]); err != nil {
				return err
			}
			if db != "" {
				options, err := of.options()
				if err != nil {
					return err
				}
				if err := compareCredit(cmd.Context(), &b, db, options, two[0], two[1]); err != nil {
					return err
				}
			}
			_, err := io.WriteString(cmd.OutOrStdout(), b.String())
			return err
		},
	}
	cmd.Flags().StringVar(&db, "db", "", "SQLite database `file`, or postgres://…, whose journeys are scored with both")
	cmd.Flags().StringVar(&plots, "plots", "", "also draw the curves of both as SVG into this `DIR`")
	of.add(cmd)
	return cmd
}

func namedParams(in io.Reader, path string) (*ihcmodel.Params, error) {
	if p := ihcmodel.DefaultParams(); path == p.Name {
		return p, nil
	}
	return readParams(in, path)
}

func compareCurves(b *strings.Builder, p, q *ihcmodel.Params) {
	fmt.Fprintf(b, "A  %s\nB  %s\n", human.Printable(p.Name), human.Printable(q.Name))
	for _, c := range []struct {
		name, of string
		a, b     ihcmodel.Curve
	}{
		{"initializer curve", "hours since the session before", p.InitializerCurve, q.InitializerCurve},
		{"closer curve", "hours to the last session", p.CloserCurve, q.CloserCurve},
	} {
		apart, at := 0.0, 0.0
		for _, k := range append(slices.Clone(c.a), c.b...) {
			if d := math.Abs(c.a.At(k.Hours) - c.b.At(k.Hours)); d > apart {
				apart, at = d, k.Hours
			}
		}
		fmt.Fprintf(b, "\n%s, over the %s: furthest apart %.3f, at %.2f h\n", c.name, c.of, apart, at)
		table := [][]string{{"", "knots", "ends at"}}
		ends := []float64{c.a[len(c.a)-1].Hours, c.b[len(c.b)-1].Hours}
		var hours []float64
		for i := range 6 {
			hours = append(hours, max(ends[0], ends[1])*float64(i)/5)
			table[0] = append(table[0], fmt.Sprintf("%.1f h", hours[i]))
		}
		for i, curve := range []ihcmodel.Curve{c.a, c.b} {
			row := []string{string(rune('A' + i)), fmt.Sprint(len(curve)), fmt.Sprintf("%.2f h", ends[i])}
			for _, h := range hours {
				row = append(row, fmt.Sprintf("%.3f", curve.At(h)))
			}
			table = append(table, row)
		}
		_ = human.Table(b, table) // a strings.Builder takes it all
	}
	if p.PhaseWeights != q.PhaseWeights {
		fmt.Fprintf(b, "\nphase weights: A %v, B %v\n", p.PhaseWeights, q.PhaseWeights)
	}
	if !maps.Equal(p.ChannelScores, q.ChannelScores) {
		fmt.Fprintf(b, "\nchannel scores differ: A has %s, B %s\n", human.Count(len(p.ChannelScores), "channel"), human.Count(len(q.ChannelScores), "channel"))
	}
}

// compareCredit scores all journeys with both.
func compareCredit(ctx context.Context, b *strings.Builder, path string, options journey.Options, p, q *ihcmodel.Params) error {
	db := open.Database(path)
	defer db.Close() //nolint:errcheck // only read
	found, err := db.Validate(ctx, findings.Options{})
	if err != nil {
		return err
	}
	if err := found.Err(); err != nil {
		return err
	}
	var results [2]attribution.Result
	var conversions int64
	for i, params := range []*ihcmodel.Params{p, q} {
		model, err := ihcmodel.New(params)
		if err != nil {
			return err
		}
		c, err := attribution.Compare(ctx, []string{attribution.IHC}, attribution.Options{IHC: model}, attribution.ByNothing,
			func(ctx context.Context, yield func(*journey.History) error) error {
				return db.Histories(ctx, options, yield)
			})
		if err != nil {
			return err
		}
		results[i], conversions = c.Models[0], c.Conversions
	}
	fmt.Fprintf(b, "\ncredit by channel, of %s\n", human.Count(conversions, "conversion"))
	table := [][]string{{"channel", "A", "B", "B - A", "revenue B - A"}}
	channels := make([]string, len(results[0].Credits))
	for k, a := range results[0].Credits {
		channels[k] = a.Channel
	}
	for k, name := range human.Names(channels, nameWidth) {
		a := results[0].Credits[k]
		other := results[1].Credits[k] // the same channels, by name
		table = append(table, []string{name, amount(a.Conversions.Value), amount(other.Conversions.Value),
			signed(other.Conversions.Value - a.Conversions.Value), signed(other.Revenue.Value - a.Revenue.Value)})
	}
	_ = human.Table(b, table) // a strings.Builder takes it all
	fmt.Fprintf(b, "\nThey give %.2f %% of all conversions to different channels.\n", 100*report.Moved(results[0], results[1], conversions))
	return nil
}
