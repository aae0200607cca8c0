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
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ops"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// sayTyped has every command's errors name the flag that a user typed whose value
// they are about.
func sayTyped(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		sayTyped(c)
	}
	if do := cmd.RunE; do != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error { return named(cmd.Flags(), do(cmd, args)) }
	}
}

// fieldOf returns the field of a request that a flag sets, which errors call it by,
// "" for none.
func fieldOf(flag string) string {
	name := strings.ReplaceAll(flag, "-", "_")
	switch flag {
	case "max-age":
		name = "max_age_days"
	case "redistribution":
		name = "redistribution_parameter"
	}
	if (&ihcv1.RunRequest{}).ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(name)) == nil {
		return ""
	}
	return name
}

// named returns an error with the name of the flag that was typed: in the place of
// its environment variable, or of the field of a request that it sets; and before
// an error that begins with its value, or says that it could not open, read or
// write that. An error of a run is of no flag. The database is known by its name.
func named(flags *pflag.FlagSet, err error) error {
	if kind := errkind.KindOf(err); err == nil || kind != errkind.Input && kind != errkind.Environment {
		return err
	}
	if stop := (*ops.StateError)(nil); errors.As(err, &stop) {
		return err
	}
	text := err.Error()
	flags.Visit(func(f *pflag.Flag) {
		if len(f.Annotations[fromAnnotation]) > 0 || strings.Contains(text, "--"+f.Name) {
			return
		}
		name := variableOf(f.Name)
		if strings.HasPrefix(f.Name, "nats-") {
			name = strings.TrimPrefix(name, "IHC_")
		}
		if os.Getenv(name) == "" || strings.HasPrefix(text, name) {
			text = regexp.MustCompile(`\b`+name+`\b`).ReplaceAllLiteralString(text, "--"+f.Name)
		}
		if field := fieldOf(f.Name); strings.Contains(field, "_") {
			text = regexp.MustCompile(`\b`+field+`\b`).ReplaceAllLiteralString(text, "--"+f.Name)
		} else if field != "" && strings.HasPrefix(text, field+` "`) {
			text = "--" + text
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
