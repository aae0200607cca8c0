package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/intake"
	"github.com/ihc-pipeline/ihc/store/open"
)

// configName is what a configuration file is called where none is named.
const configName = "ihc.yaml"

// variables are the environment's names of flags, where they are no IHC_ and
// the flag's name.
var variables = map[string]string{ //nolint:gosec // names, and no secrets
	"concurrency": "IHC_CONCURRENCY", "nats": "NATS_URL", "nats-user": "NATS_USER", "nats-creds": "NATS_CREDS", "key": sandboxKeyEnv,
}

// variableOf returns the environment variable that stands for a flag.
func variableOf(flag string) string {
	if name := variables[flag]; name != "" {
		return name
	}
	return "IHC_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// readThemselves are flags whose variable the command reads by itself, since it
// means more than the flag does, or something else for other commands.
var readThemselves = []string{"out", "api-url", "concurrency", "request-rate", "payloads", "model", "model-params", "conv-type-id",
	"nats", "nats-user", "nats-creds", "http", "key"}

// ofAProcess are settings of a run in this process, beside its database, which
// mean nothing to one on a stack.
var ofAProcess = []string{"out", "data-dir", "api-url", "payloads", "concurrency", "request-rate", keepRunsName, runColumnName}

// paths are flags whose value is a path: in a file, from the file's directory.
var paths = []string{"db", "out", "data-dir", "payloads", "model-params", "redistribution", "result", "map", "rejects"}

// configure gives the flags that were not typed the values of the environment
// and of the configuration file, in this order.
func configure(cmd *cobra.Command) error {
	file, err := findConfig(cmd)
	if err != nil {
		return err
	}
	return file.apply(cmd)
}

// configFile is a configuration file as it was read.
type configFile struct {
	path   string // "" for none
	values map[string]string
}

// findConfig reads the file that --config names, or the one beside the database
// or, where no database is named, in the working directory. There may be none.
func findConfig(cmd *cobra.Command) (configFile, error) {
	path, must := "", false
	if f := cmd.Flag("config"); f != nil {
		path, must = f.Value.String(), f.Value.String() != ""
	}
	if path == "" {
		path = os.Getenv("IHC_CONFIG")
		must = path != ""
	}
	if path == "" {
		path = configName
		if db := databaseOf(cmd); db != "" && !open.IsAddress(db) {
			path = filepath.Join(filepath.Dir(db), configName)
		}
	}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !must:
		return configFile{}, nil
	case err != nil:
		return configFile{}, errkind.Inputf("--config: %w", err)
	}
	values, err := parseConfig(data, cmd.Name())
	if err != nil {
		return configFile{}, errkind.Inputf("%s: %w", path, err)
	}
	return configFile{path, values}, nil
}

// databaseOf returns the database that a command names by a flag or the
// environment, "" for none.
func databaseOf(cmd *cobra.Command) string {
	if f := cmd.Flag("db"); f != nil && f.Value.String() != "" {
		return f.Value.String()
	}
	return os.Getenv("IHC_DB")
}

// parseConfig returns the values that a file has for a command: those of all
// commands, and those under its name, which come before them.
func parseConfig(data []byte, command string) (map[string]string, error) {
	var file map[string]yaml.Node
	if err := yaml.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("this is no YAML: %w", err)
	}
	general, own := map[string]string{}, map[string]string{}
	delete(file, intake.SectionName) // for ihc import
	for key, node := range file {
		if node.Kind == yaml.MappingNode {
			var section map[string]yaml.Node
			if err := node.Decode(&section); err != nil {
				return nil, fmt.Errorf("line %d: %w", node.Line, err)
			}
			for name, value := range section {
				if err := putValue(own, key+"."+name, name, value, key == command); err != nil {
					return nil, err
				}
			}
			continue
		}
		if err := putValue(general, key, key, node, true); err != nil {
			return nil, err
		}
	}
	for name, value := range own {
		general[name] = value
	}
	return general, nil
}

// putValue puts a value into a map, if it is wanted, and says what is wrong with
// it in any case.
func putValue(into map[string]string, shown, name string, node yaml.Node, wanted bool) error {
	if node.Kind != yaml.ScalarNode {
		return fmt.Errorf("line %d: %s takes one value", node.Line, shown)
	}
	if flag := "--" + name; !knownFlag(name) {
		return fmt.Errorf("line %d: %s: no command has the flag %s%s", node.Line, shown, flag, didYouMean(name, flagNames()))
	}
	if wanted && node.Tag != "!!null" {
		into[name] = node.Value
	}
	return nil
}

// apply sets the flags of a command that were not typed.
func (c configFile) apply(cmd *cobra.Command) error {
	var failed error
	here := isTyped(cmd, "db")
	stack := os.Getenv("NATS_URL") != "" || c.values["nats"] != "" && c.values["db"] == ""
	onStack := isTyped(cmd, "nats") || stack && !here
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed || failed != nil || f.Name == "help" || f.Name == "config" || f.Name == "version" {
			return
		}
		if onStack && (f.Name == "db" || slices.Contains(ofAProcess, f.Name)) {
			return
		}
		variable := variableOf(f.Name)
		if value := os.Getenv(variable); value != "" {
			if !slices.Contains(readThemselves, f.Name) && (f.Name != "db" || cmd.Name() != "run") { // which may be on a stack
				failed = set(cmd, f, value, "environment variable "+variable)
			}
			return
		}
		value, found := c.values[f.Name]
		if !found || here && f.Name == "nats" {
			return
		}
		if slices.Contains(paths, f.Name) && value != "" && !filepath.IsAbs(value) && !open.IsAddress(value) {
			value = filepath.Join(filepath.Dir(c.path), value)
		}
		failed = set(cmd, f, value, c.path)
	})
	return failed
}

// fromAnnotation is where a flag's value is from.
const fromAnnotation = "from"

func set(cmd *cobra.Command, f *pflag.Flag, value, from string) error {
	if err := cmd.Flags().Set(f.Name, value); err != nil {
		return errkind.Inputf("%s: %s %q: %s", from, f.Name, value, takes(f, err))
	}
	if f.Annotations == nil {
		f.Annotations = map[string][]string{}
	}
	f.Annotations[fromAnnotation] = []string{from}
	return nil
}

func isTyped(cmd *cobra.Command, flag string) bool {
	f := cmd.Flag(flag)
	return f != nil && f.Changed
}

// flagNames returns the flags of all commands.
func flagNames() []string {
	var names []string
	root, _ := newRootCmd()
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	slices.Sort(names)
	return slices.Compact(names)
}

func knownFlag(name string) bool { return slices.Contains(flagNames(), name) }

func newConfigCmd() *cobra.Command {
	var asJSON bool
	var db string
	cmd := &cobra.Command{
		Use:   "config [COMMAND]",
		Short: "Show each setting of a command and where it is from",
		Long: `config shows the values with which a command, "run" if none is named, would work,
and where each is from. A flag that is typed comes before the environment, that
before the file ` + configName + `, and that before the default.

The file is looked for beside the database or, where none is named, in the
working directory; --config or IHC_CONFIG name another. It has flags by their
names, and under the name of a command those for it alone; paths are from the
file's directory:

  max-sessions: 3000
  data-dir: streams
  run:
    timeout: 90m

Every flag has a variable: that of --start-date is IHC_START_DATE; those with
another name say so in --help.`,
		Example: "  ihc config\n  ihc config validate --db shop.db",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := "run"
			if len(args) > 0 {
				name = args[0]
			}
			root, _ := newRootCmd()
			of, rest, err := root.Find([]string{name})
			if err != nil || len(rest) > 0 || of == root {
				return errkind.Inputf("there is no command %q%s", name, didYouMean(name, commandNames(root)))
			}
			_ = of.ParseFlags(nil) // brings in those of the root
			if err := passOn(cmd, of, "db", "config"); err != nil {
				return err
			}
			file, err := findConfig(of)
			if err == nil {
				err = file.apply(of)
			}
			if err != nil {
				return err
			}
			settings := settingsOf(of)
			if asJSON {
				return printJSON(cmd.OutOrStdout(), map[string]any{"file": file.path, "settings": settings})
			}
			rows := [][]string{{"SETTING", "FROM", "VALUE"}}
			for _, s := range settings {
				rows = append(rows, []string{s.Name, s.From, human.Printable(s.Value)})
			}
			return human.Columns{Rows: rows}.List(cmd.OutOrStdout(), window(cmd.OutOrStdout()))
		},
	}
	cmd.Flags().StringVar(&db, "db", "", "the database beside which to look for the file")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object on standard output")
	return cmd
}

// passOn types flags of one command into another.
func passOn(from, to *cobra.Command, names ...string) error {
	for _, name := range names {
		if f := from.Flag(name); f != nil && f.Changed && to.Flag(name) != nil {
			if err := to.Flags().Set(name, f.Value.String()); err != nil {
				return err
			}
		}
	}
	return nil
}

// setting is a value and where it is from.
type setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	From  string `json:"from"`
}

// settingsOf returns the settings of a command, whose secrets are hidden.
func settingsOf(cmd *cobra.Command) []setting {
	var all []setting
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || slices.Contains([]string{"help", "config", "version"}, f.Name) {
			return
		}
		s := setting{f.Name, f.Value.String(), "default"}
		variable := variableOf(f.Name)
		switch value := os.Getenv(variable); {
		case len(f.Annotations[fromAnnotation]) > 0:
			s.From = strings.TrimPrefix(f.Annotations[fromAnnotation][0], "environment variable ")
		case f.Changed:
			s.From = "flag"
		case value != "":
			s.Value, s.From = value, variable
		}
		if f.Name == "key" && s.Value != "" {
			s.Value = "(hidden)"
		}
		if f.Name == "db" {
			s.Value = open.Shown(s.Value)
		}
		all = append(all, s)
	})
	for _, name := range []string{"IHC_API_KEY", "IHC_API_KEY_FILE", "NATS_PASSWORD", "NATS_PASSWORD_FILE"} {
		if value := os.Getenv(name); value != "" {
			if !strings.HasSuffix(name, "_FILE") {
				value = "(hidden)"
			}
			all = append(all, setting{name, value, "environment"})
		}
	}
	return all
}
