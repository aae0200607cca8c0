package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/atomicfile"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
)

// newModelCmd is "ihc model": the built-in model's parameters.
func newModelCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "model",
		Short: "Show, check and train the parameters of the built-in model",
		Long: `The built-in model computes IHC without the vendor's API. Its formulas are the
same for everyone; its parameters (two curves, three phase weights, a score for
each channel) are trained for each customer. Those built in are of one published
shop, called published-shop: your numbers will be nearer the truth with your own.`,
		Example: `  ihc model show
  ihc model train --db shop.db --out params.json --plots plots
  ihc model validate params.json
  ihc model compare params.json params2.json --db shop.db
  ihc model lint --redistribution rules.json --db shop.db
  ihc run --db shop.db --model builtin --model-params params.json`,
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newModelShowCmd(), newModelValidateCmd(), newModelTrainCmd(), newModelCompareCmd(), newModelLintCmd())
	return cmd
}

// oneArgument is cobra's check for one, in words that say what it is.
func oneArgument(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return errkind.Inputf("%s takes one argument, %s; %d given", cmd.CommandPath(), what, len(args))
		}
		return nil
	}
}

// readParams reads a parameter file, or in for "-". Errors name the file.
func readParams(in io.Reader, path string) (*ihcmodel.Params, error) {
	data, name, err := readInput(in, "model parameters", path)
	if err != nil {
		return nil, err
	}
	p, err := ihcmodel.ParseParams(data)
	if err != nil {
		return nil, errkind.Inputf("model parameters %s: %w", name, err)
	}
	return p, nil
}

// loadModel makes a model of a parameter file; without a path, of the built-in
// parameters.
func loadModel(in io.Reader, path string) (*ihcmodel.Model, error) {
	p := ihcmodel.DefaultParams()
	if path != "" {
		var err error
		if p, err = readParams(in, path); err != nil {
			return nil, err
		}
	}
	return ihcmodel.New(p)
}

func newModelShowCmd() *cobra.Command {
	var plots string
	var asJSON, asText bool
	cmd := &cobra.Command{
		Use:   "show [FILE]",
		Short: "Show the parameters the built-in model goes by, or those of a file",
		Long: `Shows parameters: the built-in published-shop, or those of a file (- is standard
input). On a terminal that is a page to read, elsewhere the parameter file itself.`,
		Example: `  ihc model show
  ihc model show > params.json     # a file to start your own from
  ihc model show params.json --plots plots`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if asJSON && asText {
				return errkind.Inputf("--json and --text are one or the other")
			}
			p := ihcmodel.DefaultParams()
			if len(args) == 1 {
				var err error
				if p, err = readParams(cmd.InOrStdin(), args[0]); err != nil {
					return err
				}
			}
			if err := writePlots(cmd.ErrOrStderr(), plots, p); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if asText || !asJSON && isTerminal(out) {
				return showParams(out, p)
			}
			_, err := out.Write(p.JSON())
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "the parameter file, also on a terminal")
	cmd.Flags().BoolVar(&asText, "text", false, "the page, also elsewhere")
	cmd.Flags().StringVar(&plots, "plots", "", "also draw both curves as SVG into this `DIR`")
	return cmd
}

// showParams prints the parameters for people.
func showParams(w io.Writer, p *ihcmodel.Params) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", human.Printable(p.Name))
	if p.Provenance != "" {
		fmt.Fprintf(&b, "  %s\n", human.Printable(p.Provenance))
	}
	fmt.Fprintf(&b, "\nphase weights  initializer %v, holder %v, closer %v\n", p.PhaseWeights.Initializer, p.PhaseWeights.Holder, p.PhaseWeights.Closer)
	for _, c := range []struct {
		name, of string
		curve    ihcmodel.Curve
		at       []float64
	}{
		{"initializer curve", "hours since the session before", p.InitializerCurve, []float64{1, 2, 6, 12, 24, 36, 48, 72}},
		{"closer curve", "hours to the last session", p.CloserCurve, []float64{0, 0.25, 1, 3, 6, 12, 24, 48}},
	} {
		fmt.Fprintf(&b, "\n%s, over the %s (%d knots)\n", c.name, c.of, len(c.curve))
		table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
		var hours, values strings.Builder
		for _, h := range c.at {
			fmt.Fprintf(&hours, "%v h\t", h)
			fmt.Fprintf(&values, "%.3f\t", c.curve.At(h))
		}
		_, _ = fmt.Fprintf(table, "\t%s\n\t%s\n", hours.String(), values.String()) // into a strings.Builder
		_ = table.Flush()
	}
	if len(p.ChannelScores) == 0 {
		b.WriteString("\nchannel scores: none; every channel's are 1\n")
	} else {
		b.WriteString("\nchannel scores (1 for every other channel)\n")
		table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(table, "  channel\tinitializer\tholder\tcloser")
		channels := p.Channels()
		for i, name := range human.Names(channels, maxName) {
			s := p.ChannelScores[channels[i]]
			_, _ = fmt.Fprintf(table, "  %s\t%.2f\t%.2f\t%.2f\n", name, s.Initializer, s.Holder, s.Closer)
		}
		_ = table.Flush()
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writePlots draws both curves into dir, which is made; no dir, no plots. The
// published shop's curves are drawn beside others, to compare with.
func writePlots(log io.Writer, dir string, p *ihcmodel.Params) error {
	var other *ihcmodel.Params
	if published := ihcmodel.DefaultParams(); p.Name != published.Name {
		other = published
	}
	return plotCurves(log, dir, p, other)
}

// plotCurves draws the curves of p into dir, which is made, beside those of other
// where that is not nil; no dir, no plots.
func plotCurves(log io.Writer, dir string, p, other *ihcmodel.Params) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return errkind.Environmentf("--plots: %w", err)
	}
	for name, plot := range map[string]ihcmodel.Plot{
		"initializer-curve.svg": p.InitializerPlot(other),
		"closer-curve.svg":      p.CloserPlot(other),
	} {
		var svg strings.Builder
		if err := plot.WriteSVG(&svg); err != nil {
			return err
		}
		if err := atomicfile.WriteBytes(filepath.Join(dir, name), 0o644, []byte(svg.String())); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(log, "wrote %s and %s\n", filepath.Join(dir, "initializer-curve.svg"), filepath.Join(dir, "closer-curve.svg"))
	return err
}

func newModelValidateCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE|-",
		Short: "Check a parameter file",
		Long: `Checks a parameter file as ihc run --model-params does: all fields there and no
others, curves monotone and within 0 to 1, weights that sum to 1, positive scores.`,
		Example: `  ihc model validate params.json`,
		Args:    oneArgument("a parameter file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := readParams(cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			name := args[0]
			if name == "-" {
				name = "standard input"
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: valid (%s: %d and %d knots, %s)\n",
				name, human.Printable(p.Name), len(p.InitializerCurve), len(p.CloserCurve), human.Count(len(p.ChannelScores), "channel"))
			return err
		},
	}
}
