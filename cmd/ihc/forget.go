package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/ops"
)

func newForgetCmd() *cobra.Command {
	f := &stackFlags{}
	var older string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "forget RUN… | --older-than AGE",
		Short: "Free what runs that are over left in the streams",
		Long: `forget frees the chunks and results of runs that are over, which the streams keep
for replays until IHC_KEEP_DAYS have passed: when a stream or its disk is full,
that is the way out. A run that is forgotten cannot be replayed any more; what
became of it stays in "ihc runs", and the database and the report as they are.
A run that is not over is refused: cancel it first.`,
		Example: "  ihc forget 20230901-120128-abc\n  ihc forget --older-than 3d",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if (older == "") == (len(args) == 0) {
				return errkind.Inputf("name runs by their ids or by --older-than; `ihc runs` lists them")
			}
			age, err := parseAge(older)
			if err != nil {
				return err
			}
			client, done, err := f.open(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			var freed []ops.Freed
			if older != "" {
				freed, err = ops.New(client).ForgetOlder(cmd.Context(), time.Now().Add(-age))
			} else {
				freed, err = ops.New(client).Forget(cmd.Context(), args...)
			}
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), freedJSON(freed))
			}
			return printFreed(cmd.OutOrStdout(), freed)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&older, "older-than", "", "free all runs that ended so long `ago`: 3d, 12h")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array on standard output")
	return cmd
}

// parseAge reads a duration that may be in days; "" is none.
func parseAge(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	age, err := time.ParseDuration(text)
	if err != nil || age < 0 {
		return 0, errkind.Inputf("--older-than %q: write it in days or hours, such as 3d or 12h", text)
	}
	return age, nil
}

// printFreed lists runs that had something to free, and the sum.
func printFreed(w io.Writer, freed []ops.Freed) error {
	var messages, size uint64
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range freed {
		if f.Messages > 0 {
			_, _ = fmt.Fprintf(t, "%s\t%s\t%s\n", human.Printable(f.Run), human.Count(f.Messages, "message"), human.Bytes(f.Bytes))
		}
		messages += f.Messages
		size += f.Bytes
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if messages == 0 {
		_, err := fmt.Fprintln(w, "nothing to free")
		return err
	}
	_, err := fmt.Fprintf(w, "freed %s, %s\n", human.Count(messages, "message"), human.Bytes(size))
	return err
}

// jsonFreed is a run that was forgotten, in JSON.
type jsonFreed struct {
	Run      string `json:"run_id"`
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
}

func freedJSON(freed []ops.Freed) []jsonFreed {
	all := make([]jsonFreed, len(freed))
	for i, f := range freed {
		all[i] = jsonFreed(f)
	}
	return all
}
