package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/pgtest"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/store/storetest/pgshop"
)

const million = 1e6

// scale measures what a touchpoint costs each stage, on both kinds of database:
// what there is to multiply for those who have more of them.
func (b *bench) scale() error {
	path, err := b.freshShop(b.config)
	if err != nil {
		return err
	}
	if _, err := b.costs("SQLite", stackOptions{db: path}, nil); err != nil {
		return err
	}
	pg, err := b.postgres()
	if err != nil {
		return err
	}
	defer pg.Stop() //nolint:errcheck // what it held is temporary
	if path, err = b.freshShop(b.config); err != nil {
		return err
	}
	if err := pgshop.Copy(b.ctx, path, pg.DSN("postgres")); err != nil {
		return err
	}
	before, err := b.weigh(pg)
	if err != nil {
		return err
	}
	touchpoints, err := b.costs("PostgreSQL", stackOptions{db: pg.DSN("postgres")}, pg)
	if err != nil {
		return err
	}
	after, err := b.weigh(pg)
	if err != nil {
		return err
	}
	for _, what := range weighed {
		b.add(what.name+", PostgreSQL", float64(after[what.name]-before[what.name])/float64(touchpoints), "bytes a touchpoint", 0, "%.1f MB, for %d touchpoints", float64(after[what.name]-before[what.name])/megabyte, touchpoints)
	}
	return nil
}

// costs runs a shop through a stack of processes, and tells what CPU each stage
// took for a million touchpoints.
func (b *bench) costs(kind string, o stackOptions, pg *pgtest.Server) (touchpoints int, err error) {
	o.settings = stream.DefaultSettings()
	s, err := b.stack(o)
	if err != nil {
		return 0, err
	}
	began := cpuOf(pg)
	r, err := b.askFor(s.url, "run", "--max-sessions", "3000")
	ended := cpuOf(pg)
	used, stopped := s.stop()
	if err := errors.Join(err, stopped); err != nil {
		return 0, fmt.Errorf("%s: %w", kind, err)
	}
	if pg != nil {
		used["postgres"] = usage{cpu: ended - began}
	}
	all := 0.0
	for _, stage := range append(stages, "postgres") {
		if u, there := used[stage]; there {
			b.add("CPU of "+stage+", "+kind, u.cpu/float64(r.Touchpoints)*million, "s a million touchpoints", 0, "%.1f s for %d touchpoints", u.cpu, r.Touchpoints)
			all += u.cpu
		}
	}
	b.add("CPU of all, "+kind, all/float64(r.Touchpoints)*million, "s a million touchpoints", 0, "%.1f s of CPU, %.1f s on the clock", all, r.seconds)
	return r.Touchpoints, nil
}

// weighed is what of a PostgreSQL database is weighed, by a query that gives bytes.
var weighed = []struct{ name, query string }{
	{"attribution_customer_journey", `SELECT coalesce(pg_total_relation_size(to_regclass('attribution_customer_journey')), 0)`},
	{"pipeline_journeys", `SELECT coalesce(pg_total_relation_size(to_regclass('pipeline_journeys')), 0)`},
	{"other tables of the pipeline", `SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c WHERE c.relkind = 'r' AND c.relname LIKE 'pipeline%' AND c.relname <> 'pipeline_journeys'`},
	{"write-ahead log", `SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint`},
}

// weigh returns the bytes of what is weighed.
func (b *bench) weigh(pg *pgtest.Server) (map[string]int64, error) {
	conn, err := pgx.Connect(b.ctx, pg.DSN("postgres"))
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(b.ctx)) //nolint:errcheck // only read
	all := map[string]int64{}
	for _, what := range weighed {
		var n int64
		if err := conn.QueryRow(b.ctx, what.query).Scan(&n); err != nil {
			return nil, fmt.Errorf("%s: %w", what.name, err)
		}
		all[what.name] = n
	}
	return all, nil
}

// cpuOf returns the seconds of CPU that a PostgreSQL server has taken, with its
// processes that have ended; 0 for none.
func cpuOf(pg *pgtest.Server) (seconds float64) {
	if pg == nil {
		return 0
	}
	for i, pid := range pg.Processes() {
		own, ended, err := ticks(pid)
		if err != nil {
			continue // it ended meanwhile, and is counted with the first process
		}
		if seconds += own; i == 0 {
			seconds += ended
		}
	}
	return seconds
}

// ticks returns the seconds of CPU of a process, and those of its children that
// have ended.
func ticks(pid int) (own, ended float64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:]) // its name may have blanks
	const first, aSecond = 11, 100
	var n [4]float64
	for i := range n {
		if n[i], err = strconv.ParseFloat(string(fields[first+i]), 64); err != nil {
			return 0, 0, err
		}
	}
	return (n[0] + n[1]) / aSecond, (n[2] + n[3]) / aSecond, nil
}
