package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/shop"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/services/attributor"
	"github.com/ihc-pipeline/ihc/services/reporter"
	"github.com/ihc-pipeline/ihc/store/open"
)

func newDemoCmd() *cobra.Command {
	var out string
	var seed uint64
	var verbose bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Make a believable shop, run everything on it, and print the report",
		Long: `demo makes the database of a shop: repeat buyers, sessions that lead nowhere,
conversions without sessions, a few journeys too long for one request. It then
runs the whole pipeline on it with the built-in model and prints the report.
The same seed makes the same shop.`,
		Example: "  ihc demo --out demo",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			start := time.Now()
			db := filepath.Join(out, "shop.db")
			stats, err := open.Example(cmd.Context(), db, shop.Config{Seed: seed})
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "made a shop: %s sessions, %s conversions\n", human.Thousands(stats.Sessions), human.Thousands(stats.Conversions))
			req, err := run.Complete(&ihcv1.RunRequest{Model: run.ModelBuiltin})
			if err != nil {
				return errkind.As(errkind.Run, err)
			}
			config := attributor.Config{Workers: 2}
			if err := chooseModel(cmd.Context(), cmd.ErrOrStderr(), &config, req); err != nil {
				return err
			}
			_, report, err := localRun{request: req, config: config, db: db, out: out,
				log: quietLog(verbose), say: cmd.ErrOrStderr(), progress: newProgress(cmd.ErrOrStderr())}.do(cmd.Context())
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintln(cmd.OutOrStdout())
			printReport(cmd.OutOrStdout(), report, time.Since(start))
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "proof:  %s\nshop:   %s\n", filepath.Join(filepath.Dir(report.GetCsv()), reporter.ReconciliationFile), db)
			return verdict(report)
		},
	}
	cmd.Flags().StringVar(&out, "out", "demo", "`directory` for the shop and the report")
	cmd.Flags().Uint64Var(&seed, "seed", 1, "which shop to make")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "log what the services do")
	return cmd
}
