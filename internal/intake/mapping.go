// Package intake turns rows of other people's tables into the pipeline's:
// which column is which, how times, amounts and words are written, and which
// channel a visit came by.
package intake

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/tabular"
)

// Mapping says how a shop's exports are to be read. Its zero value reads tables
// that have the pipeline's own names.
type Mapping struct {
	Settings `yaml:",inline"`
	// Currency is that of the database; where a currency column is mapped, rows in
	// another are refused unless Rates has what one unit of it is worth.
	Currency string            `yaml:"currency,omitempty"`
	Rates    map[string]string `yaml:"rates,omitempty"`
	// Channels are tried in order before the ready set that Grouping names:
	// "default" (also where it is empty) or "none".
	Channels    []Rule `yaml:"channels,omitempty"`
	Grouping    string `yaml:"grouping,omitempty"`
	Sessions    Table  `yaml:"sessions,omitempty"`
	Conversions Table  `yaml:"conversions,omitempty"`
	Costs       Table  `yaml:"costs,omitempty"`
	DailyCosts  Table  `yaml:"daily_costs,omitempty"`
}

// Settings say how values are written. Empty ones are found out or have the
// usual value; those of a table come before those of the whole.
type Settings struct {
	Format    string `yaml:"format,omitempty"`
	Encoding  string `yaml:"encoding,omitempty"`
	Delimiter string `yaml:"delimiter,omitempty"`
	NoHeader  bool   `yaml:"no_header,omitempty"`
	Decimal   string `yaml:"decimal,omitempty"`  // "." or ","
	Timezone  string `yaml:"timezone,omitempty"` // of times without one, such as Europe/Berlin; default UTC
}

// Or returns s with what it leaves open from t.
func (s Settings) Or(t Settings) Settings {
	for _, p := range []struct{ mine, other *string }{{&s.Format, &t.Format}, {&s.Encoding, &t.Encoding}, {&s.Delimiter, &t.Delimiter},
		{&s.Decimal, &t.Decimal}, {&s.Timezone, &t.Timezone}} {
		if *p.mine == "" {
			*p.mine = *p.other
		}
	}
	s.NoHeader = s.NoHeader || t.NoHeader
	return s
}

// Reading returns how a file is to be read.
func (s Settings) Reading() tabular.Options {
	return tabular.Options{Format: s.Format, Encoding: s.Encoding, Delimiter: s.Delimiter, NoHeader: s.NoHeader}
}

// Table says which columns the fields of a table are in.
type Table struct {
	Settings `yaml:",inline"`
	// SkipBlank are columns without which a row is passed over, such as the further
	// lines of an order.
	SkipBlank []string         `yaml:"skip_blank,omitempty"`
	Fields    map[string]Field `yaml:",inline"`
}

// Field says where a value is from: a column, several that are joined, or a
// constant. Columns are named, or numbered from 1 as #1.
type Field struct {
	Column   string   `yaml:"column,omitempty"`
	Columns  []string `yaml:"columns,omitempty"`
	Join     string   `yaml:"join,omitempty"` // between Columns; default "_"
	Constant *string  `yaml:"constant,omitempty"`
	AtLeast  *float64 `yaml:"at_least,omitempty"` // of a flag: set from this number on
	Unit     string   `yaml:"unit,omitempty"`     // of an amount: "cents" or "micros"
	Layout   string   `yaml:"layout,omitempty"`   // of a time, such as %d/%m/%Y %H:%M
}

// UnmarshalYAML reads the name of a column, or the object.
func (f *Field) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		return node.Decode(&f.Column)
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if name := node.Content[i].Value; !slices.Contains([]string{"column", "columns", "join", "constant", "at_least", "unit", "layout"}, name) {
			return fmt.Errorf("line %d: a field has no %q: choose column, columns, join, constant, at_least, unit or layout", node.Content[i].Line, name)
		}
	}
	type plain Field
	return node.Decode((*plain)(f))
}

// MarshalYAML writes a plain column as its name.
func (f Field) MarshalYAML() (any, error) {
	if f.Column != "" && f.Columns == nil && f.Constant == nil && f.AtLeast == nil && f.Unit == "" && f.Layout == "" {
		return f.Column, nil
	}
	type plain Field
	return plain(f), nil
}

// Tables are the names of the tables of a mapping, in the order they are read.
var Tables = []string{"sessions", "conversions", "costs", "daily_costs"}

// Of returns the part for a table of [Tables].
func (m *Mapping) Of(table string) *Table {
	return map[string]*Table{"sessions": &m.Sessions, "conversions": &m.Conversions, "costs": &m.Costs, "daily_costs": &m.DailyCosts}[table]
}

// fields are what a table of [Tables] has.
var fields = map[string][]string{
	"sessions": {"session_id", "user_id", "time", "event_date", "event_time", "channel_name", "source", "medium", "campaign", "referrer",
		"holder_engagement", "closer_engagement", "impression_interaction"},
	"conversions": {"conv_id", "user_id", "time", "conv_date", "conv_time", "revenue", "currency"},
	"costs":       {"session_id", "cost", "currency"},
	"daily_costs": {"date", "channel_name", "source", "medium", "campaign", "referrer", "cost", "currency"},
}

// Parse reads a mapping in YAML: a file of its own, or what is under "mapping" of
// a file that has that.
func Parse(data []byte) (*Mapping, error) {
	section, err := Section(data)
	if err != nil {
		return nil, err
	}
	if section != nil {
		data = section
	}
	m := &Mapping{}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(m); err != nil && !errors.Is(err, io.EOF) {
		return nil, errkind.Inputf("mapping: %w", err)
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	return m, nil
}

// SectionName is the key of a configuration file that a mapping is under.
const SectionName = "mapping"

// Section returns what a configuration file has under [SectionName], nil for nothing.
func Section(data []byte) ([]byte, error) {
	var whole map[string]yaml.Node
	if err := yaml.Unmarshal(data, &whole); err != nil {
		return nil, errkind.Inputf("this is no YAML: %w", err)
	}
	section, has := whole[SectionName]
	if !has {
		return nil, nil
	}
	return yaml.Marshal(&section)
}

// check finds fields that no table has.
func (m *Mapping) check() error {
	for _, table := range Tables {
		for name := range m.Of(table).Fields {
			if !slices.Contains(fields[table], name) {
				return errkind.Inputf("mapping: %s has no field %q: it has %s", table, name, strings.Join(fields[table], ", "))
			}
		}
	}
	if m.Grouping != "" && m.Grouping != "default" && m.Grouping != "none" {
		return errkind.Inputf("mapping: grouping %q: choose default or none", m.Grouping)
	}
	return nil
}
