package main

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"text/tabwriter"
)

// figure is one line of the table.
type figure struct {
	Section string `json:"section"`
	Name    string `json:"name"`
	// Value is nil where there was nothing to measure.
	Value *float64 `json:"value"`
	Unit  string   `json:"unit"` // "ratio", or what the value counts
	// Most is what the value should not exceed, 0 where nothing is promised.
	Most float64 `json:"most,omitempty"`
	// From says what the value was reckoned from.
	From string `json:"from,omitempty"`
}

func (f figure) holds() bool { return f.Most == 0 || f.Value == nil || *f.Value <= f.Most }

// value is what the table shows.
func (f figure) value() string {
	if f.Value == nil {
		return "-"
	}
	shown := strconv.FormatFloat(*f.Value, 'f', -1, 64)
	if f.Unit != "ratio" {
		shown += " " + f.Unit
	}
	return shown
}

// add records a figure and shows it at once, for who watches.
func (b *bench) add(name string, value float64, unit string, most float64, from string, args ...any) {
	value = round(value)
	b.record(figure{Name: name, Value: &value, Unit: unit, Most: most, From: fmt.Sprintf(from, args...)})
}

// absent records a ratio there is nothing to measure for, and why.
func (b *bench) absent(name string, most float64, why string) {
	b.record(figure{Name: name, Unit: "ratio", Most: most, From: why})
}

func (b *bench) record(f figure) {
	f.Section = b.section
	b.figures = append(b.figures, f)
	_, _ = fmt.Fprintf(os.Stderr, "%s: %s: %s (%s)\n", f.Section, f.Name, f.value(), f.From)
}

// round keeps four digits that count.
func round(x float64) float64 {
	if x == 0 || math.IsInf(x, 0) || math.IsNaN(x) {
		return x
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(x))))
	return math.Round(x*scale) / scale
}

func (b *bench) print() {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	_, _ = fmt.Fprintln(w, "| section\t| figure\t| value\t| at most\t| from\t|")
	_, _ = fmt.Fprintln(w, "|---\t|---\t|---\t|---\t|---\t|")
	for _, f := range b.figures {
		most := ""
		if f.Most != 0 {
			most = fmt.Sprint(f.Most)
			if !f.holds() {
				most += " **exceeded**"
			}
		}
		_, _ = fmt.Fprintf(w, "| %s\t| %s\t| %s\t| %s\t| %s\t|\n", f.Section, f.Name, f.value(), most, f.From)
	}
	_ = w.Flush()
}
