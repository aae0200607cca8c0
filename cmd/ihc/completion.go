package main

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/attribution"
	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/run"
)

// complete makes the shell offer values of flags and arguments, in all
// commands below root.
func complete(root *cobra.Command) {
	values := map[string][]string{
		"model":    append([]string{run.ModelAPI, run.ModelBuiltin}, attribution.RuleNames()...),
		"from":     {run.FromJourneys, run.FromResults},
		"plan":     {"free", "paid"},
		"timezone": {"UTC", "Europe/Berlin", "Europe/London", "America/New_York", "America/Los_Angeles", "Asia/Tokyo"},
		"state":    statuses(),

		"long-journeys": run.LongJourneys(),
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
		switch c.Name() {
		case "status", "cancel", "resume", "replay":
			c.ValidArgsFunction = completeRuns
		case "diff":
			c.ValidArgsFunction = completeKnown
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
	if db := cmd.Flag("db"); cmd.Name() == "status" && db.Changed {
		return completeKnown(cmd, args, "")
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

// completeKnown offers the runs that the database of the command line knows, as
// completeRuns does.
func completeKnown(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
	defer cancel()
	all, err := (&databaseFlag{db: cmd.Flag("db").Value.String()}).known(ctx)
	if err != nil || len(all) == 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	words := []string{ops.Last + "\tthe last run"}
	slices.Reverse(all)
	for _, k := range all {
		words = append(words, k.RunID+"\t"+string(k.Status)+", "+k.about)
	}
	return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

// statuses returns the words of all states that a run can be in.
func statuses() []string {
	var words []string
	for _, s := range run.Statuses() {
		words = append(words, string(s))
	}
	return words
}
