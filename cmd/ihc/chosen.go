package main

import (
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
)

// chosenRuns are the flags that say which runs to list.
type chosenRuns struct {
	limit  int
	states []string
	since  string

	from time.Time
}

func (c *chosenRuns) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.IntVar(&c.limit, "limit", 0, "list the last `N` only (0: all)")
	fs.StringSliceVar(&c.states, "state", nil, "list runs in these `states` only, such as failed,stuck")
	fs.StringVar(&c.since, "since", "", "list runs that were asked for since this UTC `date`: 2023-09-01, yesterday, -7d and so on")
}

// begin reads the flags as they are at this time; states are those there are.
func (c *chosenRuns) begin(now time.Time, states []string) error {
	if c.limit < 0 {
		return errkind.Inputf("--limit %d: it cannot be negative", c.limit)
	}
	for _, s := range c.states {
		if !slices.Contains(states, s) {
			return errkind.Inputf("--state %q is no state%s: use %s", s, didYouMean(s, states), strings.Join(states, ", "))
		}
	}
	date, _, err := civil.ResolveRange("--since", c.since, "", "", civil.Today(now.UTC()))
	if d, ok := civil.ParseDate(date); err == nil && ok {
		c.from = time.UnixMicro(d.Micros())
	}
	return err
}

// of returns those of the runs that are to be listed.
func (c *chosenRuns) of(runs []*run.State) []*run.State {
	runs = slices.DeleteFunc(runs, func(s *run.State) bool {
		return s.Started.Before(c.from) || len(c.states) > 0 && !slices.Contains(c.states, string(s.Status()))
	})
	if c.limit > 0 && len(runs) > c.limit {
		runs = runs[len(runs)-c.limit:]
	}
	return runs
}
