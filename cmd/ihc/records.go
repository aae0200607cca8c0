package main

import (
	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/services/reporter"
)

// recordFlags say what of a run is kept, and what names it. Those that were not
// given leave the reporter's own settings.
type recordFlags struct {
	runs    int
	column  bool
	changed func(flag string) bool
}

const (
	keepRunsName  = "keep-runs"
	runColumnName = "run-column"
)

func (f *recordFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	f.changed = fs.Changed
	fs.IntVar(&f.runs, keepRunsName, 30, "keep the database's records of the latest `N` runs, 2 or more (IHC_KEEP_RUNS; 0: of all); results stay")
	fs.BoolVar(&f.column, runColumnName, false, "give channel_reporting.csv a last column run_id, which names the run in each row (IHC_RUN_COLUMN)")
}

// set puts them into the reporter's settings. An error is an input fault.
func (f *recordFlags) set(c *reporter.Config) error {
	if f.changed == nil {
		return nil
	}
	if f.changed(runColumnName) {
		c.RunColumn = f.column
	}
	if f.changed(keepRunsName) {
		c.KeepRuns = f.runs
	}
	return c.Validate()
}
