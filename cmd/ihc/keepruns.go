package main

import (
	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/services/reporter"
)

// keepRunsFlag is the flag that says of how many runs the database keeps records.
// One that was not given leaves the reporter's own setting.
type keepRunsFlag struct {
	runs    int
	changed func(flag string) bool
}

const keepRunsName = "keep-runs"

func (f *keepRunsFlag) add(cmd *cobra.Command) {
	f.changed = cmd.Flags().Changed
	cmd.Flags().IntVar(&f.runs, keepRunsName, 30, "keep the database's records of the latest `N` runs, 2 or more (IHC_KEEP_RUNS; 0: of all); results stay")
}

// set puts it into the reporter's settings. An error is an input fault.
func (f *keepRunsFlag) set(c *reporter.Config) error {
	if f.changed == nil || !f.changed(keepRunsName) {
		return nil
	}
	c.KeepRuns = f.runs
	return typed(c.Validate(), f.changed)
}
