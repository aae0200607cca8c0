package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/intake"
	"github.com/ihc-pipeline/ihc/internal/tables"
	"github.com/ihc-pipeline/ihc/internal/tabular"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/open"
)

// tableFlags are the flags that name files, by the tables of a mapping.
var tableFlags = map[string]string{"sessions": "sessions", "conversions": "conversions", "costs": "costs", "daily_costs": "daily-costs"}

// intakeFlags are those of an import from tables.
type intakeFlags struct {
	files                      map[string]*[]string
	db, from, mapping, rejects string
	settings                   intake.Settings
	currency                   string
	guess, yes, replaceRange   bool
	maxRejects                 int64
}

func (f *intakeFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	f.files = map[string]*[]string{}
	for _, table := range intake.Tables {
		f.files[table] = fs.StringArray(tableFlags[table], nil, "`FILE` with "+strings.ReplaceAll(table, "_", " ")+", also several times, or a pattern in quotes")
	}
	fs.StringVar(&f.db, "db", "", "SQLite database `file` to make or update, or postgres://… (IHC_DB)")
	fs.StringVar(&f.from, "from", "", "`database` to read, a SQLite file or postgres://USER@HOST/NAME; --sessions and so on then name its tables, views or queries (default: session_sources, conversions, session_costs)")
	fs.StringVar(&f.mapping, "map", "", "`file` that says which column is which (default: mapping in "+configName+")")
	fs.StringVar(&f.rejects, "rejects", "", "`file` for rows that cannot be used (default: beside the database)")
	fs.Int64Var(&f.maxRejects, "max-rejects", 0, "how many rows may be unusable before nothing is imported")
	fs.StringVar(&f.settings.Format, "format", "", "csv, tsv, jsonl or parquet, where the name does not tell")
	fs.StringVar(&f.settings.Encoding, "encoding", "", "of text: "+strings.Join(tabular.Encodings, ", ")+" (default: found out)")
	fs.StringVar(&f.settings.Delimiter, "delimiter", "", "`character` between values, or tab (default: found out)")
	fs.StringVar(&f.settings.Decimal, "decimal", "", "the decimal `mark`, . or ,")
	fs.StringVar(&f.settings.Timezone, "timezone", "", "`zone` of times that have none, such as Europe/Berlin (default UTC)")
	fs.BoolVar(&f.settings.NoHeader, "no-header", false, "the first line holds values; columns are then #1, #2, …")
	fs.StringVar(&f.currency, "currency", "", "the database's currency, such as EUR; rows in others are refused")
	fs.BoolVar(&f.guess, "guess", false, "propose a mapping from the names of the columns, and print it")
	fs.BoolVar(&f.yes, "yes", false, "with --guess: import by the mapping proposed")
	fs.BoolVar(&f.replaceRange, "replace-range", false, "take away what the database has on the days of the files and the files do not")
}

// asked says whether tables are to be imported, and no zipped database.
func (f *intakeFlags) asked() bool {
	for _, files := range f.files {
		if len(*files) > 0 {
			return true
		}
	}
	return f.from != "" || f.guess
}

// load returns the mapping: from its file, or that in the configuration, with
// what flags say of it.
func (f *intakeFlags) load(cmd *cobra.Command) (*intake.Mapping, error) {
	m := &intake.Mapping{}
	path := f.mapping
	if path == "" {
		file, err := findConfig(cmd)
		if err != nil {
			return nil, err
		}
		path = file.path
	}
	if path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, errkind.Inputf("--map: %w", err)
		}
		if f.mapping == "" {
			data, err = intake.Section(data)
		}
		if err == nil {
			m, err = intake.Parse(data)
		}
		if err != nil {
			return nil, errkind.As(errkind.KindOf(err), fmt.Errorf("%s: %w", path, err))
		}
	}
	for _, table := range intake.Tables { // what is typed comes before the file
		m.Of(table).Settings = f.settings.Or(m.Of(table).Settings)
	}
	m.Settings = f.settings.Or(m.Settings)
	if f.currency != "" {
		m.Currency = f.currency
	}
	return m, nil
}

// ready names the source tables where a database is read and none of it is named.
func (f *intakeFlags) ready(ctx context.Context) error {
	for _, files := range f.files {
		if f.from == "" || len(*files) > 0 {
			return nil
		}
	}
	*f.files["sessions"], *f.files["conversions"] = []string{tables.SessionSources}, []string{tables.Conversions}
	switch rows, err := open.Rows(ctx, f.from, tables.SessionCosts); {
	case err == nil:
		*f.files["costs"] = []string{tables.SessionCosts}
		return rows.Close()
	case errkind.KindOf(err) != errkind.Input:
		return err
	}
	return nil // a shop without costs
}

// intakeRun is one import from tables.
type intakeRun struct {
	flags    *intakeFlags
	mapping  *intake.Mapping
	progress *progress
	counts   intake.Counts
	rejects  [][]string
	begun    time.Time
	rows     int64
	read     int64 // bytes, of size
	size     int64 // 0 where it is not known
	warned   map[string]bool
	stdin    io.Reader // nil until it is read
}

// standardInput returns it such that reading ends with ctx, also while nothing
// comes.
func (r *intakeRun) standardInput(ctx context.Context) io.Reader {
	if r.stdin == nil {
		out, in := io.Pipe()
		context.AfterFunc(ctx, func() { _ = in.CloseWithError(ctx.Err()) })
		go func() {
			_, err := io.Copy(in, os.Stdin)
			_ = in.CloseWithError(err)
		}()
		r.stdin = out
	}
	return r.stdin
}

// sources returns what a table is read from.
func (r *intakeRun) sources(ctx context.Context, table string) (all []tabular.Source, err error) {
	for _, name := range *r.flags.files[table] {
		if r.flags.from != "" {
			all = append(all, tabular.Source{Name: open.Shown(r.flags.from) + ": " + name, Open: func(tabular.Options) (tabular.Rows, error) {
				return open.Rows(ctx, r.flags.from, name)
			}})
			continue
		}
		files := []string{name}
		if _, err := os.Stat(name); err != nil && strings.ContainsAny(name, "*?[") {
			if files, _ = filepath.Glob(name); len(files) == 0 && strings.Contains(name, ".zip"+string(filepath.Separator)) {
				files = []string{name} // inside the zip
			}
			if len(files) == 0 {
				return nil, errkind.As(errkind.Environment, fmt.Errorf("--%s: no file is like %s", tableFlags[table], name))
			}
		}
		for _, file := range files {
			var stdin io.Reader
			if file == tabular.Stdin {
				stdin = r.standardInput(ctx)
			}
			found, err := tabular.Find(file, stdin, func(n int) { r.read += int64(n) })
			if err != nil {
				return nil, err
			}
			if info, err := os.Stat(file); err == nil {
				r.size += info.Size()
			}
			all = append(all, found...)
		}
	}
	return all, nil
}

// guess proposes a mapping for what is named.
func (r *intakeRun) guess(ctx context.Context, w io.Writer) error {
	var open []string
	for _, table := range intake.Tables {
		sources, err := r.sources(ctx, table)
		if err != nil {
			return err
		}
		if len(sources) == 0 {
			continue
		}
		t := r.mapping.Of(table)
		rows, err := sources[0].Open(t.Settings.Or(r.mapping.Settings).Reading())
		if err != nil {
			return err
		}
		var sample [][]string
		for len(sample) < 200 {
			row, err := rows.Next()
			if err != nil {
				break
			}
			sample = append(sample, append([]string(nil), row...))
		}
		settings := t.Settings
		guessed, missing := intake.Guess(table, rows.Columns(), sample)
		guessed.Settings = settings.Or(guessed.Settings)
		*t, open = guessed, append(open, missing...)
		if err := rows.Close(); err != nil {
			return err
		}
	}
	text, err := r.mapping.YAML()
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(w, "# Keep this in %s beside the database, or name it by --map.\n%s", configName, text)
	for _, field := range open {
		_, _ = fmt.Fprintf(w, "# %s: no column was recognised; name it here\n", field)
	}
	return nil
}

// fill reads all tables into the database.
func (r *intakeRun) fill(ctx context.Context, into store.Intake) error {
	defer r.progress.end()
	if r.mapping.Currency == "" {
		own, err := into.Currency()
		if err != nil {
			return err
		}
		r.mapping.Currency = own
	}
	r.size, r.read = 0, 0
	sources := map[string][]tabular.Source{}
	for _, table := range intake.Tables {
		found, err := r.sources(ctx, table)
		if err != nil {
			return err
		}
		sources[table] = found
	}
	for _, table := range intake.Tables {
		for _, s := range sources[table] {
			if err := r.table(ctx, table, s, into); err != nil {
				return err
			}
		}
	}
	if n := int64(len(r.rejects)); n > r.flags.maxRejects {
		return errTooMany
	}
	into.Denominate(strings.ToUpper(cmp.Or(r.mapping.Currency, r.counts.Currency)))
	return nil
}

var errTooMany = errkind.Inputf("too many rows cannot be used")

// moreRejects are shown beyond those allowed, so that all is mended in one go.
const moreRejects = 1000

func (r *intakeRun) table(ctx context.Context, table string, s tabular.Source, into store.Intake) error {
	rows, err := s.Open(r.mapping.Of(table).Settings.Or(r.mapping.Settings).Reading())
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // only read
	read, assumed, err := r.mapping.Reader(table, rows.Columns(), &r.counts)
	if err != nil {
		return errkind.As(errkind.KindOf(err), fmt.Errorf("%s: %w", s.Name, err))
	}
	r.progress.line("%s: %s as %s", s.Name, strings.ReplaceAll(table, "_", " "), rows.Assumed())
	for _, a := range assumed {
		if !r.warned[table+a] {
			r.warned[table+a] = true
			r.progress.line("  assumed: %s", a)
		}
	}
	for {
		row, err := rows.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		var bad *tabular.RowError
		if err != nil && !errors.As(err, &bad) && errkind.KindOf(err) == errkind.Run && ctx.Err() == nil {
			return errkind.Inputf("%s: it cannot be read beyond line %d: %w; is it whole?", s.Name, rows.Line(), err)
		}
		if err == nil {
			err = read(row, into)
		}
		switch {
		case err == nil, errors.Is(err, intake.ErrSkipped):
		case errors.As(err, &bad):
			bad.Line = rows.Line()
			r.reject(s.Name, bad)
			if int64(len(r.rejects)) > r.flags.maxRejects+moreRejects {
				return errTooMany
			}
		default:
			return errkind.As(errkind.KindOf(err), fmt.Errorf("%s: %w", s.Name, err))
		}
		if r.rows++; r.rows%4096 == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			r.tell()
		}
	}
}

func (r *intakeRun) reject(file string, bad *tabular.RowError) {
	if len(r.rejects) < 5 {
		r.progress.line("%s: %s", file, bad.Error())
	}
	r.rejects = append(r.rejects, []string{file, strconv.FormatInt(bad.Line, 10), bad.Column, bad.Value, bad.Why})
}

// tell shows how many rows were read and, where sizes are known, for how long it
// goes on.
func (r *intakeRun) tell() {
	text := human.Thousands(r.rows) + " rows read"
	if passed := time.Since(r.begun); r.size > 0 && r.read > 0 && passed > time.Second {
		left := time.Duration(float64(passed) * float64(max(r.size-r.read, 0)) / float64(r.read))
		text += ", " + human.About(left) + " left"
	}
	r.progress.put(text, "")
}

// run imports, and prints what became of it.
func (f *intakeFlags) run(cmd *cobra.Command) (err error) {
	if f.maxRejects < 0 {
		return errkind.Inputf("--max-rejects %d: choose 0 or more", f.maxRejects)
	}
	if err := namesFile("rejects", f.rejects); err != nil {
		return err
	}
	r := &intakeRun{flags: f, progress: newProgress(cmd.ErrOrStderr()), begun: time.Now(), warned: map[string]bool{}}
	if r.mapping, err = f.load(cmd); err != nil {
		return err
	}
	if err := f.ready(cmd.Context()); err != nil {
		return err
	}
	if f.guess {
		if err := r.guess(cmd.Context(), cmd.OutOrStdout()); err != nil || !f.yes {
			return err
		}
	}
	if f.db = cmp.Or(f.db, os.Getenv("IHC_DB")); f.db == "" {
		return errkind.Inputf("name the database to make or update: --db shop.db")
	}
	zone, err := time.LoadLocation(r.mapping.Timezone)
	if err != nil {
		return errkind.Inputf("--timezone %q is not known: name one like Europe/Berlin or UTC", r.mapping.Timezone)
	}
	done, err := open.Import(cmd.Context(), f.db, store.IntakeOptions{ReplaceRange: f.replaceRange, Zone: zone},
		func(into store.Intake) error { return r.fill(cmd.Context(), into) })
	if ended := cmd.Context().Err(); err != nil && ended != nil {
		return ended // whatever it led to
	}
	kept, keepErr := r.keepRejects(err == nil)
	if errors.Is(err, errTooMany) {
		err = errkind.Inputf("%s cannot be used, and nothing was imported: see %s; mend them, or allow for them by --max-rejects", human.Count(len(r.rejects), "row"), kept)
	}
	if err := errors.Join(err, keepErr); err != nil {
		return err
	}
	return r.print(cmd.OutOrStdout(), done, kept)
}

func (r *intakeRun) print(w io.Writer, done store.Imported, kept string) error {
	rows := [][]string{{"", "read", "new", "changed", "equal"}}
	var notes []string
	for _, t := range []struct {
		name string
		store.Taken
	}{{"sessions", done.Sessions}, {"conversions", done.Conversions}, {"costs", done.Costs}} {
		if t.Read == 0 && len(*r.flags.files[t.name]) == 0 {
			continue
		}
		rows = append(rows, []string{t.name, human.Thousands(t.Read), human.Thousands(t.New), human.Thousands(t.Changed), human.Thousands(t.Equal)})
		if t.Repeated > 0 {
			notes = append(notes, human.Say(t.Repeated, strings.TrimSuffix(t.name, "s")+" has the id of a later row, which counts", t.name+" have the id of a later row, which counts"))
		}
		if t.Removed > 0 {
			notes = append(notes, human.Say(t.Removed, strings.TrimSuffix(t.name, "s")+" of these days was taken away, as it is not in the files", t.name+" of these days were taken away, as they are not in the files"))
		}
	}
	if d := done.DailyCosts; d.Days > 0 {
		notes = append(notes, fmt.Sprintf("daily costs: %s of %s spread over %s", human.Grouped((d.Cost-d.AloneCost).Decimal().String()), human.Say(d.Days-d.Alone, "day of a channel", "days of channels"), human.Count(d.Sessions, "session")))
		if d.Alone > 0 {
			notes = append(notes, fmt.Sprintf("daily costs: %s of %s without sessions, kept as costs without a session", human.Grouped(d.AloneCost.Decimal().String()), human.Say(d.Alone, "day of a channel", "days of channels")))
		}
	}
	if r.counts.Skipped > 0 {
		notes = append(notes, human.Count(r.counts.Skipped, "row")+" passed over, as the mapping says (skip_blank)")
	}
	if r.counts.Currency != "" {
		notes = append(notes, "currency: "+r.counts.Currency+", that of the first amount, as none was given")
	}
	if r.counts.Converted > 0 {
		notes = append(notes, human.Count(r.counts.Converted, "amount")+" in other currencies, by the rates of the mapping")
	}
	if r.counts.Twice > 0 {
		notes = append(notes, human.Count(r.counts.Twice, "time")+" that came twice as clocks were put back: the first was taken")
	}
	if r.counts.Never > 0 {
		notes = append(notes, human.Count(r.counts.Never, "time")+" that never came as clocks were put forward: taken as that much later")
	}
	switch {
	case kept == "":
	case len(r.rejects) == 0:
		notes = append(notes, "every row could be used: "+kept+" of an earlier import is removed")
	default:
		notes = append(notes, human.Count(len(r.rejects), "row")+" could not be used: see "+kept)
	}
	_, _ = fmt.Fprintf(w, "imported into %s\n", human.Printable(open.Shown(r.flags.db)))
	if err := human.Table(w, rows); err != nil && len(rows) > 1 {
		return err
	}
	for _, n := range notes {
		wrapped(w, "%s", human.Printable(n))
	}
	return nil
}
