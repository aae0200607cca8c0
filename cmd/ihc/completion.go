package main

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/run"
)

// complete makes the shell offer values of flags and arguments, in all
// commands below root.
func complete(root *cobra.Command) {
	values := map[string][]string{
		"model":    {run.ModelAPI, run.ModelBuiltin},
		"from":     {run.FromJourneys, run.FromResults},
		"plan":     {"free", "paid"},
		"timezone": {"UTC", "Europe/Berlin", "Europe/London", "America/New_York", "America/Los_Angeles", "Asia/Tokyo"},
		"state":    statuses(),
	}
	dates := []string{"today", "yesterday", "-7d", "-4w", "-1m", "-1y"}
	values["start-date"], values["end-date"], values["since"] = dates, dates, dates
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for name, words := range values {
			if c.Flags().Lookup(name) != nil {
				_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
			}
		}
		if slices.Contains([]string{"status", "cancel", "resume", "replay"}, c.Name()) {
			c.ValidArgsFunction = completeRuns
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

// completeRuns offers the runs of the stack or the data directory that the
// command line names, the last first, and none where that takes long.
func completeRuns(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	const nothing = cobra.ShellCompDirectiveNoFileComp
	if len(args) > 0 {
		return nil, nothing
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
	defer cancel()
	f := &stackFlags{}
	bare := &cobra.Command{}
	f.add(bare)
	if err := passOn(cmd, bare, "nats", "nats-user", "nats-creds", "data-dir"); err != nil {
		return nil, nothing
	}
	client, done, err := f.open(ctx)
	if err != nil {
		return nil, nothing
	}
	defer done()
	all, err := f.runs(client).List(ctx)
	if err != nil {
		return nil, nothing
	}
	words := []string{ops.Last + "\tthe last run"}
	slices.Reverse(all)
	for _, s := range all {
		words = append(words, s.ID+"\t"+string(s.Status())+", "+what(s))
	}
	return words, nothing | cobra.ShellCompDirectiveKeepOrder
}

// statuses returns the words of all states that a run can be in.
func statuses() []string {
	var words []string
	for _, s := range run.Statuses() {
		words = append(words, string(s))
	}
	return words
}
