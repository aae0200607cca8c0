package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/shop"
)

const (
	nights  = 100
	settled = 40 // nights after which records of the first have gone: --keep-runs is 30
	moved   = 60 // sessions that get another channel each night
)

// nightly is a database that a shop is in and that a run comes to every night.
type nightly struct {
	kind string // as people call it
	name string // as `ihc run --db` does
	// exec changes the source tables.
	exec func(ctx context.Context, statement string, args ...any) error
	// size returns how many bytes all tables take, users' and pipeline's.
	size func(ctx context.Context) (int64, error)
}

// nights runs a shop that does not grow a hundred times, on each kind of
// database: some of its sessions are corrected before every run.
func (b *bench) nights() error {
	path, err := b.freshShop(shop.Config{})
	if err != nil {
		return err
	}
	channels, err := channelsOf(b.ctx, path)
	if err != nil {
		return err
	}
	server, stop, err := b.nightlyServer(path)
	if err != nil {
		return err
	}
	defer stop() //nolint:errcheck // what it held is temporary
	for _, n := range []*nightly{nightlyFile(path), server} {
		if n == nil { // no PostgreSQL here
			continue
		}
		if err := b.night(n, channels); err != nil {
			return fmt.Errorf("%s: %w", n.kind, err)
		}
	}
	return nil
}

// night runs all of one database's nights.
func (b *bench) night(n *nightly, channels []string) error {
	at := map[int]float64{}
	var first, last float64 // seconds
	for night := 1; night <= nights; night++ {
		err := n.exec(b.ctx, `UPDATE session_sources SET channel_name = $1 WHERE session_id IN (SELECT session_id FROM session_sources ORDER BY session_id LIMIT $2 OFFSET $3)`,
			channels[night%len(channels)], moved, night*moved-moved)
		if err != nil {
			return err
		}
		r, err := b.ihc(nil, "run", "--db", n.name, "--out", filepath.Join(b.dir, "report"), "--model", "builtin")
		if err != nil {
			return err
		}
		bytes, err := n.size(b.ctx)
		if err != nil {
			return err
		}
		at[night] = float64(bytes) / 1e6
		if night == settled {
			first = r.seconds
		}
		last = r.seconds
	}
	b.add(fmt.Sprintf("%s, after %d nights ÷ %d", n.kind, nights, settled), at[nights]/at[settled], "ratio", 1.1,
		"%.2f MB and %.2f MB, %.2f MB after the first; %d sessions in another channel each night; the runs took %.2f s and %.2f s", at[nights], at[settled], at[1], moved, last, first)
	return nil
}

func channelsOf(ctx context.Context, path string) (names []string, err error) {
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.QueryContext(ctx, `SELECT DISTINCT channel_name FROM session_sources ORDER BY channel_name`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}

// nightlyFile is the shop's file itself, which nobody has open between two runs.
func nightlyFile(path string) *nightly {
	exec := func(ctx context.Context, statement string, args ...any) error {
		db, err := sql.Open("sqlite3", path)
		if err != nil {
			return err
		}
		_, err = db.ExecContext(ctx, statement, args...)
		return errors.Join(err, db.Close())
	}
	size := func(context.Context) (sum int64, err error) {
		files, err := filepath.Glob(path + "*")
		for _, name := range files {
			if !strings.HasSuffix(name, "-shm") { // an index in memory
				info, err := os.Stat(name)
				if err != nil {
					return 0, err
				}
				sum += info.Size()
			}
		}
		return sum, err
	}
	return &nightly{"SQLite", path, exec, size}
}
