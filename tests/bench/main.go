// Command bench measures what the pipeline promises about speed, memory, size
// and requests: `make bench`. It builds the programs, makes shops, runs the
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
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/ihc-pipeline/ihc/internal/shop"
)

type bench struct {
	ctx     context.Context //nolint:containedctx // of the process
	dir     string
	shopZip string
	config  shop.Config // of the shop that is played in rounds
	runs    int         // how often a shop is run for a median
	wanted  []string    // names of sections

	figures []figure
	section string
	shops   map[string]string // by what was asked for
	played  *rounds           // of the shop of config
	keep    map[string][]byte // further files of results, by name
}

// section is a part of the table that can be measured alone.
type section struct {
	name string
	run  func(*bench) error
	long bool // left out unless asked for
}

// sections in the order of their figures.
var sections = []section{
	{name: "requests", run: (*bench).requests},
	{name: "api-bound", run: (*bench).latency},
	{name: "pipeline", run: (*bench).pipeline},
	{name: "peer", run: (*bench).peer},
	{name: "size", run: (*bench).size},
	{name: "again", run: (*bench).again},
	{name: "nights", run: (*bench).nights},
	{name: "growth", run: (*bench).growth},
	{name: "far", run: (*bench).far, long: true},
	{name: "services", run: (*bench).services},
	{name: "packing", run: (*bench).packing, long: true},
	{name: "server", run: (*bench).server, long: true},
	{name: "scale", run: (*bench).scale, long: true},
	{name: "day", run: (*bench).day, long: true},
	{name: "postgres", run: (*bench).onPostgres},
	{name: "workers", run: (*bench).workers},
	{name: "import", run: (*bench).intake},
	{name: "streams", run: (*bench).streams},
	{name: "long-journeys", run: (*bench).longJourneys},
}

func main() {
	b := &bench{ctx: context.Background(), shops: map[string]string{}, keep: map[string][]byte{}}
	only := flag.String("only", "", "measure only these `sections`, as in pipeline,peer")
	long := flag.Bool("long", false, "measure what takes long, too: growth further out, streams that are not packed")
	sessions := flag.Int("sessions", 1_000_000, "`number` of sessions of the shop of pipeline, peer, size, again and import; far has eight times as many")
	flag.StringVar(&b.dir, "dir", "out/bench", "`directory` to work in; some 8 GB while it runs, 30 GB with -long")
	flag.StringVar(&b.shopZip, "shop", "../shared/data/shop.zip", "zipped database of a real shop, used where it is there")
	flag.IntVar(&b.runs, "runs", 3, "`times` a shop is run for a median")
	flag.Parse()
	b.config = sized(*sessions)
	err := b.want(*only, *long)
	if err == nil {
		err = b.run(flag.Args())
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "bench: "+err.Error())
		os.Exit(1)
	}
}

// want chooses the sections: those named, or all that do not take long, or all.
func (b *bench) want(only string, long bool) error {
	var names []string
	for _, s := range sections {
		names = append(names, s.name)
		if only == "" && (long || !s.long) {
			b.wanted = append(b.wanted, s.name)
		}
	}
	if only != "" {
		b.wanted = strings.Split(only, ",")
	}
	for _, name := range b.wanted {
		if !slices.Contains(names, name) {
			return fmt.Errorf("there is no section %q; there are %s", name, strings.Join(names, ", "))
		}
	}
	if b.runs < 1 || b.config.Sessions < 1000 {
		return errors.New("-runs must be at least 1, -sessions at least 1000")
	}
	return nil
}

func (b *bench) wants(name string) bool { return slices.Contains(b.wanted, name) }

// parts are what the program calls itself for, since it is to be measured as a
// process or would count as another's memory.
var parts = map[string]func(ctx context.Context, arg string) error{
	"aggregate": bareAggregate,
	"csv":       exportCSV,
	"floor":     floor,
	"rowid":     copyToRowid,
	"shop":      makeShop,
	"visits":    makeVisits,
}

func (b *bench) run(args []string) error {
	if len(args) == 2 && parts[args[0]] != nil {
		return parts[args[0]](b.ctx, args[1])
	}
	if len(args) != 0 {
		return errors.New("takes no arguments")
	}
	var err error
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
		if !b.wants(s.name) {
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
	for name, text := range b.keep {
		if err := os.WriteFile(filepath.Join(b.dir, name), text, 0o644); err != nil {
			return err
		}
		_, _ = fmt.Printf("\n%s:\n%s", name, text)
	}
	data, err := json.MarshalIndent(b.figures, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}
