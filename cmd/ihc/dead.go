package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/stream"
)

func newDeadCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dead",
		Short: "Look after messages that could not be processed",
		Long: `A message that cannot be decoded, that fails whenever it is tried, or on which
service after service dies is moved to the dead letters, and its run waits.
See what it is with "dead ls" and "dead show"; once the cause is mended, put it
back with "dead requeue" and its run goes on, or remove it with "dead purge".`,
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newDeadLsCmd(), newDeadShowCmd(), newDeadRequeueCmd(), newDeadPurgeCmd())
	return cmd
}

// deadFlags say which dead letters a command is about.
type deadFlags struct {
	stackFlags
	run string
	all bool
}

func (f *deadFlags) add(cmd *cobra.Command, what string) {
	f.stackFlags.add(cmd)
	cmd.Flags().StringVar(&f.run, "run", "", what+" those of one `run`")
	if what != "list" {
		cmd.Flags().BoolVar(&f.all, "all", false, what+" all of them")
	}
}

// chosen returns the letters a command names by their numbers or by flags.
func (f *deadFlags) chosen(ctx context.Context, runs *ops.Runs, args []string) ([]stream.DeadLetter, error) {
	ways := 0
	for _, used := range []bool{len(args) > 0, f.run != "", f.all} {
		if used {
			ways++
		}
	}
	if ways != 1 {
		return nil, errkind.Inputf("name dead letters by their numbers, by --run or by --all; `ihc dead ls` lists them")
	}
	if len(args) == 0 {
		return runs.DeadLetters(ctx, f.run)
	}
	var letters []stream.DeadLetter
	for _, arg := range args {
		d, err := deadLetter(ctx, runs, arg)
		if err != nil {
			return nil, err
		}
		letters = append(letters, d)
	}
	return letters, nil
}

func deadLetter(ctx context.Context, runs *ops.Runs, arg string) (stream.DeadLetter, error) {
	n, err := strconv.ParseUint(arg, 10, 64)
	if err != nil || n == 0 {
		return stream.DeadLetter{}, errkind.Inputf("%q is no dead letter's number; `ihc dead ls` lists them", arg)
	}
	return runs.DeadLetter(ctx, n)
}

func newDeadLsCmd() *cobra.Command {
	f := &deadFlags{}
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "ls",
		Example: "  ihc dead ls --run 20231101-120000-42",
		Short:   "List the dead letters",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, done, err := f.open(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			letters, err := f.runs(client).DeadLetters(cmd.Context(), f.run)
			if err != nil {
				return err
			}
			if asJSON {
				all := make([]jsonDead, len(letters))
				for i, d := range letters {
					all[i] = deadJSON(d)
				}
				return printJSON(cmd.OutOrStdout(), all)
			}
			return printDead(cmd.OutOrStdout(), letters)
		},
	}
	f.add(cmd, "list")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array on standard output")
	return cmd
}

func printDead(w io.Writer, letters []stream.DeadLetter) error {
	if len(letters) == 0 {
		_, err := fmt.Fprintln(w, "no dead letters")
		return err
	}
	rows := [][]string{{"NUMBER", "SINCE", "STAGE", "RUN", "CHUNK", "TRIES", "REASON"}}
	for _, d := range letters {
		chunk := ""
		if d.Chunk > 0 {
			chunk = strconv.FormatUint(uint64(d.Chunk), 10)
		}
		rows = append(rows, []string{strconv.FormatUint(d.Sequence, 10), d.Time.Format(time.DateTime), human.Printable(d.Stage), human.Printable(d.Run), chunk, human.Printable(d.Tries), human.Printable(d.Reason)})
	}
	const since, chunk, tries = 1, 4, 5
	return human.Columns{Rows: rows, Drop: []int{since, tries, chunk}}.List(w, window(w))
}

// jsonDead is a dead letter in JSON.
type jsonDead struct {
	Number   uint64    `json:"number"`
	Since    time.Time `json:"since"`
	Stage    string    `json:"stage"`
	Run      string    `json:"run_id"`
	Chunk    uint32    `json:"chunk,omitempty"`
	Tries    int       `json:"tries"`
	Reason   string    `json:"reason"`
	Subject  string    `json:"origin_subject"`
	Stream   string    `json:"origin_stream"`
	Sequence uint64    `json:"origin_sequence"`
	Bytes    int       `json:"bytes"`

	// Of show alone: the message, or its bytes where it cannot be decoded.
	Message json.RawMessage `json:"message,omitempty"`
	Data    []byte          `json:"data,omitempty"`
}

func deadJSON(d stream.DeadLetter) jsonDead {
	tries, _ := strconv.Atoi(d.Tries)
	sequence, _ := strconv.ParseUint(d.OriginSequence, 10, 64)
	return jsonDead{Number: d.Sequence, Since: d.Time, Stage: d.Stage, Run: d.Run, Chunk: d.Chunk, Tries: tries, Reason: d.Reason,
		Subject: d.Subject, Stream: d.Stream, Sequence: sequence, Bytes: len(d.Data)}
}

func newDeadShowCmd() *cobra.Command {
	f := &stackFlags{}
	cmd := &cobra.Command{
		Use:     "show NUMBER",
		Example: "  ihc dead show 17",
		Short:   "Print a dead letter as JSON: why it is one, and the message",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, done, err := f.open(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			d, err := deadLetter(cmd.Context(), f.runs(client), args[0])
			if err != nil {
				return err
			}
			j := deadJSON(d)
			if j.Message, err = ops.Message(d); err != nil {
				j.Data = d.Data
			}
			return printJSON(cmd.OutOrStdout(), j)
		},
	}
	f.add(cmd)
	return cmd
}

func newDeadRequeueCmd() *cobra.Command {
	f := &deadFlags{}
	cmd := &cobra.Command{
		Use:     "requeue NUMBER… | --run RUN | --all",
		Example: "  ihc dead requeue 17 18\n  ihc dead requeue --run 20231101-120000-42",
		Short:   "Put dead letters back where they came from",
		Args:    cobra.ArbitraryArgs,
		Long: `requeue publishes dead letters once more, as new messages, on the subjects they
came from, and then removes them. A chunk that was put back replaces whatever
is stored of it. Letters of runs that failed or were cancelled stay, since
nothing would be done about them: start a new run, or replay the old one.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			client, done, err := f.open(ctx)
			if err != nil {
				return err
			}
			defer done()
			runs := f.runs(client)
			letters, err := f.chosen(ctx, runs, args)
			if err != nil {
				return err
			}
			put, left, err := runs.Requeue(ctx, letters)
			if err != nil {
				return err
			}
			for _, d := range left {
				if len(args) > 0 {
					return errkind.Inputf("dead letter %d is of run %s, which has %s: nothing would be done about it; start or replay a run, and purge the letter", d.Sequence, d.Run, been(d.Status))
				}
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "left dead letter %d where it is: its run %s has %s\n", d.Sequence, human.Printable(d.Run), been(d.Status))
			}
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "put %d dead letters back\n", put)
			return nil
		},
	}
	f.add(cmd, "put back")
	return cmd
}

// been completes a sentence with "has" about a run that ended before its time.
func been(s run.Status) string {
	if s == run.StatusFailed {
		return string(s)
	}
	return "been " + string(s)
}

func newDeadPurgeCmd() *cobra.Command {
	f := &deadFlags{}
	var yes bool
	cmd := &cobra.Command{
		Use:     "purge NUMBER… | --run RUN | --all",
		Example: "  ihc dead purge --all --yes",
		Short:   "Remove dead letters for good",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			client, done, err := f.open(ctx)
			if err != nil {
				return err
			}
			defer done()
			runs := f.runs(client)
			letters, err := f.chosen(ctx, runs, args)
			if err != nil {
				return err
			}
			if !yes && len(letters) > 0 {
				numbers := make([]string, len(letters))
				for i, d := range letters {
					numbers[i] = strconv.FormatUint(d.Sequence, 10)
				}
				return errkind.Inputf("this would remove %d dead letters for good (%s): add --yes if you mean it", len(letters), ellipsis(numbers, 10))
			}
			if err := runs.Purge(ctx, letters); err != nil {
				return err
			}
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "removed %d dead letters\n", len(letters))
			return nil
		},
	}
	f.add(cmd, "remove")
	cmd.Flags().BoolVar(&yes, "yes", false, "really remove them")
	return cmd
}

// ellipsis joins at most n words.
func ellipsis(words []string, n int) string {
	if len(words) > n {
		words = append(words[:n:n], "…")
	}
	return strings.Join(words, ", ")
}
