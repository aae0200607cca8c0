// Command bench measures what the pipeline promises about speed, memory and
// requests: `make bench`. It builds the programs, makes shops, runs the
// programs on them as their users do, and prints a table, which it also writes
// as JSON. docs/performance.md explains each figure.
//
// Figures are ratios taken in one run where they can be, since machines differ.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"text/tabwriter"
	"time"
)

// figure is one line of the table.
type figure struct {
	Section string  `json:"section"`
	Name    string  `json:"name"`
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"` // "ratio", or what the value counts
	// Most is what the value should not exceed, 0 where nothing is promised.
	Most float64 `json:"most,omitempty"`
	// From says what the value was reckoned from.
	From string `json:"from,omitempty"`
}

func (f figure) holds() bool { return f.Most == 0 || f.Value <= f.Most }

type bench struct {
	ctx     context.Context //nolint:containedctx // of the process
	dir     string
	shopZip string
	figures []figure
	section string
	shops   map[string]string // by what was asked for
}

// sections in the order of their figures.
var sections = []struct {
	name string
	run  func(*bench) error
}{
	{"requests", (*bench).requests},
	{"api-bound", (*bench).latency},
	{"machine-bound", (*bench).machine},
	{"growth", (*bench).growth},
	{"services", (*bench).services},
	{"streams", (*bench).streams},
}

func main() {
	b := &bench{ctx: context.Background(), shops: map[string]string{}}
	var only string
	flag.StringVar(&b.dir, "dir", "out/bench", "`directory` to work in; some 8 GB while it runs")
	flag.StringVar(&b.shopZip, "shop", "../shared/data/shop.zip", "zipped database of a real shop, used where it is there")
	flag.StringVar(&only, "only", "", "measure only the sections that match this `expression`")
	flag.Parse()
	if err := b.run(only, flag.Args()); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "bench: "+err.Error())
		os.Exit(1)
	}
}

func (b *bench) run(only string, args []string) error {
	// The program calls itself for what is to be measured as a process.
	if len(args) == 2 {
		switch args[0] {
		case "floor":
			return floor(b.ctx, args[1])
		case "aggregate":
			return bareAggregate(b.ctx, args[1])
		case "shop":
			return makeShop(b.ctx, args[1])
		}
	}
	if len(args) != 0 {
		return errors.New("takes no arguments")
	}
	wanted, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	if b.dir, err = filepath.Abs(b.dir); err != nil {
		return err
	}
	if err := os.RemoveAll(b.dir); err != nil {
		return err
	}
	start := time.Now()
	if err := b.build(); err != nil {
		return err
	}
	for _, s := range sections {
		if !wanted.MatchString(s.name) {
			continue
		}
		begun := time.Now()
		b.section = s.name
		if err := s.run(b); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		_, _ = fmt.Fprintf(os.Stderr, "%s took %.0f s\n", s.name, time.Since(begun).Seconds())
	}
	b.print()
	if err := b.clean(); err != nil {
		return err
	}
	path := filepath.Join(b.dir, "bench.json")
	_, _ = fmt.Printf("\n%d cores, %s, %.0f s; as JSON: %s\n", runtime.NumCPU(), runtime.Version(), time.Since(start).Seconds(), path)
	data, err := json.MarshalIndent(b.figures, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

// add records a figure and shows it at once, for who watches.
func (b *bench) add(name string, value float64, unit string, most float64, from string, args ...any) {
	f := figure{Section: b.section, Name: name, Value: round(value), Unit: unit, Most: most, From: fmt.Sprintf(from, args...)}
	b.figures = append(b.figures, f)
	_, _ = fmt.Fprintf(os.Stderr, "%s: %s: %v %s (%s)\n", f.Section, f.Name, f.Value, f.Unit, f.From)
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
		unit := ""
		if f.Unit != "ratio" {
			unit = " " + f.Unit
		}
		_, _ = fmt.Fprintf(w, "| %s\t| %s\t| %v%s\t| %s\t| %s\t|\n", f.Section, f.Name, f.Value, unit, most, f.From)
	}
	_ = w.Flush()
}
