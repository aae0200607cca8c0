package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ops"
)

// sayTyped has every command's errors name the flag that a user typed whose value
// they are about.
func sayTyped(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		sayTyped(c)
	}
	if do := cmd.RunE; do != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error { return named(cmd, do(cmd, args)) }
	}
}

// named returns an error with the name of the flag whose value it begins with, or
// says that it could not open, read or write; and with the flag in the place of
// its environment variable. An error of a run is of no flag. The database is known
// by its name.
func named(cmd *cobra.Command, err error) error {
	if kind := errkind.KindOf(err); err == nil || kind != errkind.Input && kind != errkind.Environment {
		return err
	}
	if stop := (*ops.StateError)(nil); errors.As(err, &stop) {
		return err
	}
	text := err.Error()
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if len(f.Annotations[fromAnnotation]) > 0 || strings.Contains(text, "--"+f.Name) {
			return
		}
		name := variableOf(f.Name)
		if strings.HasPrefix(f.Name, "nats-") {
			name = strings.TrimPrefix(name, "IHC_")
		}
		if os.Getenv(name) == "" {
			text = regexp.MustCompile(`\b`+name+`\b`).ReplaceAllLiteralString(text, "--"+f.Name)
		}
		values := []string{f.Value.String()}
		switch list, isList := f.Value.(pflag.SliceValue); {
		case isList:
			values = list.GetSlice()
		case f.Value.Type() != "string" || f.Name == "db":
			return
		}
		if slices.ContainsFunc(values, func(v string) bool { return isAbout(text, v) }) && !strings.Contains(text, "--"+f.Name) {
			text = "--" + f.Name + ": " + text
		}
	})
	if text == err.Error() {
		return err
	}
	return &typedError{text, err}
}

// isAbout says whether a message is about a file, or another value in quotes, as it
// was typed.
func isAbout(text, value string) bool {
	if value == "" || value == "-" {
		return false
	}
	v := regexp.QuoteMeta(value)
	return regexp.MustCompile(`^` + v + `[:/"]|^` + v + ` (?:is|has|cannot)\b|\b(?:open|read|write|stat|lstat|mkdir|parameters|listen on|directory) ` + v + `(?:[:/]| |$)|` + regexp.QuoteMeta(fmt.Sprintf("%q", value))).MatchString(text)
}

// typedError is an error in words that name a flag.
type typedError struct {
	text string
	err  error
}

func (e *typedError) Error() string { return e.text }
func (e *typedError) Unwrap() error { return e.err }
