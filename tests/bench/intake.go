package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// visits are a file of sessions to import: its path and number of rows.
type visits struct {
	Path string
	Rows int
}

// intake compares an import of sessions with what SQLite's own shell takes to
// read the same file into the same table, and its memory with that of four times
// as many.
func (b *bench) intake() error {
	near := visits{filepath.Join(b.dir, "visits.csv"), b.config.Sessions}
	far := visits{filepath.Join(b.dir, "visits-4.csv"), 4 * b.config.Sessions}
	for _, v := range []visits{near, far} {
		order, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if _, err := b.itself("visits", string(order)); err != nil {
			return err
		}
	}
	var ours, shells, mib []float64
	for range b.runs {
		u, err := b.imports(near)
		if err != nil {
			return err
		}
		ours, mib = append(ours, u.seconds), append(mib, u.mib)
		if u, err = b.shellImports(near); err == nil {
			shells = append(shells, u.seconds)
		} else if !errors.Is(err, exec.ErrNotFound) {
			return err
		}
	}
	const ratio = "import ÷ sqlite3 .import"
	if len(shells) == 0 {
		b.absent(ratio, 2.5, "sqlite3 is not on the PATH")
	} else {
		b.add(ratio, median(ours)/median(shells), "ratio", 2.5, "medians of %d, %.1f s and %.1f s for %d sessions of CSV", b.runs, median(ours), median(shells), near.Rows)
	}
	u, err := b.imports(far)
	if err != nil {
		return err
	}
	b.add("memory of an import", median(mib), "MiB", 256, "most resident memory of ihc import, %d sessions", near.Rows)
	b.add("memory, four times ÷ one", u.mib/median(mib), "ratio", 1.2, "%.0f MiB and %.0f MiB; %.1f s for %d sessions", u.mib, median(mib), u.seconds, far.Rows)
	return nil
}

// imports reads visits into a new database.
func (b *bench) imports(v visits) (usage, error) {
	p, err := b.start(nil, nil, "ihc", "import", "--db", b.nothing(), "--sessions", v.Path)
	if err != nil {
		return usage{}, err
	}
	return p.wait()
}

// shellImports has SQLite's shell do the same.
func (b *bench) shellImports(v visits) (usage, error) {
	shell, err := exec.LookPath("sqlite3")
	if err != nil {
		return usage{}, err
	}
	p, err := b.start(nil, nil, shell, b.nothing(), sqlite.CreateSessionSources, ".import --csv --skip 1 "+v.Path+" session_sources")
	if err != nil {
		return usage{}, err
	}
	return p.wait()
}

// nothing returns the path of a database that is not there yet.
func (b *bench) nothing() string {
	path := filepath.Join(b.dir, "work.db")
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		_ = os.Remove(path + suffix)
	}
	return path
}

// makeVisits writes a file of sessions, in no order of their ids.
func makeVisits(_ context.Context, order string) (err error) {
	var v visits
	if err := json.Unmarshal([]byte(order), &v); err != nil {
		return err
	}
	f, err := os.Create(v.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriter(f)
	_, _ = fmt.Fprintln(w, "session_id,user_id,event_date,event_time,channel_name,holder_engagement,closer_engagement,impression_interaction")
	for i := range v.Rows {
		mixed := uint64(i) * 0x9e3779b97f4a7c15
		_, _ = fmt.Fprintf(w, "%016x,u%07d,2024-%02d-%02d,%02d:%02d:%02d,Channel %d,%d,%d,0\n",
			mixed, i%(v.Rows/5+1), 1+i%12, 1+i%28, i%24, i%60, i%59, mixed%12, i%2, i%3%2)
	}
	return w.Flush()
}
