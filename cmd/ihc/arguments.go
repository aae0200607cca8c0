package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
)

// databaseArgument lets a command take its database as an argument in place of
// --db, which it sets.
func databaseArgument() cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return nil
		case len(args) > 1:
			return errkind.Inputf("%s takes one database (%d given)", cmd.CommandPath(), len(args))
		case cmd.Flags().Changed("db"):
			return errkind.Inputf("%s names a database twice, by --db and as %q", cmd.CommandPath(), args[0])
		}
		return cmd.Flags().Set("db", args[0])
	}
}

// commandNames returns the names of a command's commands.
func commandNames(cmd *cobra.Command) []string {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return names
}

// noSuchCommand refuses words that name none of a command's commands, and says
// which might be meant.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return errkind.Inputf("unknown command %q for %q%s; see %q", args[0], cmd.CommandPath(), didYouMean(args[0], commandNames(cmd)), cmd.CommandPath()+" --help")
}

// refuseOthers has cobra's own commands refuse words that name no command: help
// and completion print what they are for otherwise, as if all were well. The
// output is set before.
func refuseOthers(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "completion":
			c.Args, c.RunE = noSuchShell, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		case "help":
			c.Args = func(_ *cobra.Command, args []string) error {
				of, others, err := root.Find(args)
				if err != nil {
					return err
				}
				return noSuchCommand(of, others)
			}
		}
	}
}

// noSuchShell refuses a shell for which there is no completion.
func noSuchShell(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return errkind.Inputf("%s knows no shell %q: use %s", cmd.CommandPath(), args[0], strings.Join(commandNames(cmd), ", "))
}

// didYouMean names what of the known a word may have been meant for, "" if there
// is nothing like it.
func didYouMean(word string, known []string) string {
	best, least := "", 3 // letters that may be wrong
	for _, k := range known {
		d := distance(strings.ToLower(word), k)
		if len(word) > 1 && strings.HasPrefix(k, strings.ToLower(word)) {
			d = min(d, 1)
		}
		if d < least && d < len(k) {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

// distance is how many letters have to be put in, left out, replaced or swapped
// with the next to make b of a.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

// flagError says of a flag's value what it should be, in place of the words of
// the function that read it.
func flagError(err error) error {
	var in *pflag.InvalidValueError
	if !errors.As(err, &in) {
		return err
	}
	return fmt.Errorf("--%s %q: %s", in.GetFlag().Name, in.GetValue(), takes(in.GetFlag(), err))
}

// takes says what the value of a flag is, or what is wrong with one of a kind
// that has words of its own.
func takes(f *pflag.Flag, err error) string {
	if words := human.Takes(f.Value.Type()); words != "" {
		return words
	}
	if in := errors.Unwrap(err); in != nil {
		return in.Error()
	}
	return err.Error()
}
