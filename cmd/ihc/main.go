// Command ihc runs the attribution pipeline: as a whole on an embedded NATS
// server, or as a client of a running stack.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/memory"
	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/version"
	"github.com/ihc-pipeline/ihc/store/open"
)

func main() { os.Exit(execute(os.Args[1:])) }

// execute runs one command and returns its exit code: see exitCodes.
func execute(args []string) int {
	memory.Limit(160 << 20)
	ctx, cancel := service.Signals(context.Background(), sayLast)
	defer cancel()
	root, begun := newRootCmd()
	root.SetArgs(args)
	out := &output{file: os.Stdout}
	root.SetOut(out)
	refuseOthers(root)
	cmd, err := root.ExecuteContextC(ctx)
	switch {
	case out.err != nil && (err == nil || errors.Is(err, out.err)):
		err = out.failure()
	case err == nil:
		return 0
	case !*begun: // cobra's own errors come before a command begins
		err = errkind.As(errkind.Input, err)
	}
	interrupt, stop := service.Interrupted(ctx), (*ops.StateError)(nil)
	if interrupt != nil && errors.Is(err, context.Canceled) && !errors.As(err, &stop) { // a run's says more
		err = errors.New("interrupted before it was done")
	}
	out.tell(cmd, err)
	_, _ = fmt.Fprintln(os.Stderr, "ihc: "+human.PrintableLines(open.Hide(advice(cmd, err.Error()))))
	if interrupt != nil {
		return interrupt.ExitCode()
	}
	return errkind.ExitCode(err)
}

// exitCodes explains them; docs/runs.md has the same table, and a test holds
// the two together.
const exitCodes = `Exit codes:
  0    every conversion in range has an outcome, and none failed
  1    the run failed, or some conversions did, or its proof does not hold
  2    bad usage or bad input: a flag, a file, a row
  3    the environment: no database, no NATS, no API, a refused key, a full disk
  4    the run is paused: its budget of requests is used up, and it can go on
  130  interrupted by Ctrl-C (SIGINT)
  143  interrupted by SIGTERM`

func newRootCmd() (root *cobra.Command, begun *bool) {
	begun = new(bool)
	root = &cobra.Command{
		Use:   "ihc",
		Short: "Marketing attribution with the IHC model: from visits and orders to channel reporting",
		Long: `ihc builds the customer journey of every conversion in a SQLite database, has it
scored by the IHC (Initializer-Holder-Closer) model, and reports what each
channel cost and earned: CPO and ROAS by channel and day.

Start with "ihc demo", then "ihc run --db FILE" on data of your own.

` + exitCodes,
		Version: version.This().String(), SilenceUsage: true, SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			*begun = true
			sayWaiting(cmd)
			if cmd.Name() == "config" { // shows what others would do
				return nil
			}
			return configure(cmd)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Args: noSuchCommand,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return errkind.Inputf("%w; see %q", flagError(err), cmd.CommandPath()+" --help")
	})
	root.PersistentFlags().String("config", "", "`file` with settings (IHC_CONFIG; default: "+configName+" beside the database)")
	root.AddGroup(&cobra.Group{ID: "run", Title: "Running:"}, &cobra.Group{ID: "ops", Title: "Runs of a stack:"}, &cobra.Group{ID: "data", Title: "Data:"}, &cobra.Group{ID: "model", Title: "Model:"})
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("run", newDemoCmd(), newRunCmd(), newPlanCmd(), newUpCmd(), newServeCmd())
	add("ops", newRunsCmd(), newStatusCmd(), newCancelCmd(), newResumeCmd(), newReplayCmd(), newForgetCmd(), newDeadCmd())
	add("data", newImportCmd(), newExportCmd(), newSchemaCmd(), newValidateCmd(), newReportCmd(), newDiffCmd(), newExplainCmd())
	add("model", newModelsCmd(), newModelCmd(), newScoreCmd(), newSandboxCmd())
	root.AddCommand(newConfigCmd(), newDoctorCmd(), newVersionCmd())
	complete(root)
	sayTyped(root)
	return root, begun
}
