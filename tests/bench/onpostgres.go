package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ihc-pipeline/ihc/internal/broker"
	"github.com/ihc-pipeline/ihc/internal/pgtest"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store/open"
	"github.com/ihc-pipeline/ihc/store/storetest/pgshop"
)

// onPostgres is a server with the source tables of a shop, and a schema for what
// is measured on it.
type onPostgres struct {
	b      *bench
	server *pgtest.Server
	conn   *pgx.Conn
	// copying is the seconds of CPU of what was copied last.
	copying float64
}

// batchOfResults is how many a writer stores in a transaction by itself.
const batchOfResults = 128

// inSchema is where results go: sources are found after it.
const inSchema = "measured"

// onPostgres measures a run on a PostgreSQL server: the whole beside that on a
// SQLite file, and stages beside what the server takes for their rows.
func (b *bench) onPostgres() error {
	return b.onServer(func(o *onPostgres) error {
		r, err := o.whole()
		if err != nil {
			return err
		}
		return o.writing(r)
	}, func(why string) { b.absent("run on PostgreSQL ÷ on SQLite", 1.5, why) })
}

// onServer calls do with a server that has the shop's source tables, or absent where
// none can be started.
func (b *bench) onServer(do func(*onPostgres) error, absent func(why string)) error {
	path, err := b.shop(b.config)
	if err != nil {
		return err
	}
	server, err := b.postgres()
	if err != nil {
		absent(err.Error())
		return nil
	}
	defer server.Stop() //nolint:errcheck // what it held is temporary
	if err := pgshop.Copy(b.ctx, path, server.DSN("postgres")); err != nil {
		return err
	}
	conn, err := pgx.Connect(b.ctx, server.DSN("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(b.ctx))                                          //nolint:errcheck // what was measured is committed
	if _, err := conn.Exec(b.ctx, `SET enable_nestloop = off; SET jit = off`); err != nil { // as a report has it
		return err
	}
	return do(&onPostgres{b: b, server: server, conn: conn})
}

// fresh empties the schema, and has what was written before written to the disk.
// It returns the address with which results go there.
func (o *onPostgres) fresh() (dsn string, err error) {
	for _, statement := range []string{`DROP SCHEMA IF EXISTS ` + inSchema + ` CASCADE`, `CREATE SCHEMA ` + inSchema, `ANALYZE`, `CHECKPOINT`} {
		if _, err := o.conn.Exec(o.b.ctx, statement); err != nil {
			return "", err
		}
	}
	return o.dsn(), nil
}

// dsn returns the address with which results go into the schema.
func (o *onPostgres) dsn() string {
	return o.server.DSN("postgres") + "&search_path=" + inSchema + ",public"
}

// whole compares runs in one process, and what is the least that one could take,
// which take turns. It returns the results of one.
func (o *onPostgres) whole() (r results, err error) {
	b := o.b
	var ours, files, least, oursCPU, filesCPU, leastCPU []float64
	var f pgFloor
	touchpoints := 0
	for range b.runs {
		file, err := b.whole(b.config)
		if err != nil {
			return r, err
		}
		dsn, err := o.fresh()
		if err != nil {
			return r, err
		}
		before := cpuOf(o.server)
		ran, err := b.embedded(dsn)
		if err != nil {
			return r, err
		}
		ours, oursCPU = append(ours, ran.seconds), append(oursCPU, ran.cpu+cpuOf(o.server)-before)
		if f, err = o.floor(); err != nil {
			return r, err
		}
		files, filesCPU = append(files, file.seconds), append(filesCPU, file.cpu)
		least, leastCPU = append(least, f.seconds()), append(leastCPU, f.cpu)
		touchpoints = ran.Touchpoints
	}
	b.add("run on PostgreSQL ÷ on SQLite", median(ratios(ours, files)), "ratio", 1.5, "median of %d pairs; %.1f s and %.1f s for %d touchpoints", b.runs, median(ours), median(files), touchpoints)
	b.add("run on PostgreSQL ÷ on SQLite, CPU", median(ratios(oursCPU, filesCPU)), "ratio", 0, "%.1f s with the server's and %.1f s", median(oursCPU), median(filesCPU))
	b.add("run ÷ floor on PostgreSQL", median(ratios(ours, least)), "ratio", 0, "median of %d pairs; %.1f s and %.1f s, the last time %s", b.runs, median(ours), median(least), f)
	b.add("run ÷ floor on PostgreSQL, CPU", median(ratios(oursCPU, leastCPU)), "ratio", 0, "%.1f s and %.1f s, with the server's", median(oursCPU), median(leastCPU))
	b.add("floor on PostgreSQL ÷ run on SQLite", median(ratios(least, files)), "ratio", 0, "less than that no run on PostgreSQL can take by these tables")
	return b.someResults()
}

// someResults are those of a run on a SQLite file, whose streams stay.
func (b *bench) someResults() (r results, err error) {
	path, err := b.freshShop(b.config)
	if err != nil {
		return r, err
	}
	streams, err := os.MkdirTemp(b.dir, "streams-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(streams) //nolint:errcheck // it is in the bench's own directory
	ran, err := b.ihc(nil, "run", "--db", path, "--out", filepath.Join(b.dir, "report"), "--max-sessions", "3000", "--data-dir", streams)
	if err != nil {
		return r, err
	}
	return b.resultsOf(ran.RunID, streams)
}

// results are what a writer is given of a run.
type results struct {
	accepted  *ihcv1.RunAccepted
	extracted *ihcv1.RunExtracted
	all       []*ihcv1.AttributionResult
}

// resultsOf reads the results of a run from its streams.
func (b *bench) resultsOf(id, streams string) (r results, err error) {
	server, err := broker.Start(broker.Config{Dir: streams})
	if err != nil {
		return r, err
	}
	defer server.Stop(b.ctx)
	nc, err := server.Connect("bench")
	if err != nil {
		return r, err
	}
	defer nc.Close()
	c, err := stream.New(b.ctx, nc, stream.Options{Stage: "bench"})
	if err != nil {
		return r, err
	}
	accepted, err1 := c.Accepted(b.ctx, id)
	extracted, err2 := c.Extracted(b.ctx, id)
	if err := errors.Join(err1, err2); err != nil {
		return r, err
	}
	accepted.Database = "" // of whichever it is stored in
	r = results{accepted: accepted, extracted: extracted}
	return r, c.EachResult(b.ctx, id, func(one *ihcv1.AttributionResult) error {
		r.all = append(r.all, one)
		return nil
	})
}

// writing compares the storing of a run's results, and what makes the users' table
// of them, with COPY of the rows that they become.
func (o *onPostgres) writing(r results) error {
	b := o.b
	var one, swept, journal, table []float64
	var touchpoints int64
	for range b.runs {
		stored, sweep, err := o.store(r)
		if err != nil {
			return err
		}
		one, swept = append(one, stored), append(swept, sweep)
		var copied float64
		if copied, _, err = o.copyAgain(journalRows); err != nil {
			return err
		}
		journal = append(journal, copied)
		if copied, touchpoints, err = o.copyAgain(resultRows); err != nil {
			return err
		}
		table = append(table, copied)
	}
	b.add("storing results ÷ COPY of their rows", median(one)/median(journal), "ratio", 1.5, "medians of %d, %.1f s and %.1f s for the journal of %d touchpoints", b.runs, median(one), median(journal), touchpoints)
	b.add("sweep ÷ COPY of its rows", median(swept)/median(table), "ratio", 0, "medians of %d, %.1f s and %.1f s for %d rows of attribution_customer_journey", b.runs, median(swept), median(table), touchpoints)
	return nil
}

// store stores a run's results, batch by batch, and sweeps the run. It returns the
// seconds of each.
func (o *onPostgres) store(r results) (stored, swept float64, err error) {
	ctx, id := o.b.ctx, r.accepted.GetRequest().GetRunId()
	dsn, err := o.fresh()
	if err != nil {
		return 0, 0, err
	}
	db := open.Database(dsn)
	defer db.Close() //nolint:errcheck // every transaction is committed
	if err := errors.Join(db.Accept(ctx, r.accepted), db.Expect(ctx, id, r.extracted)); err != nil {
		return 0, 0, err
	}
	begun := time.Now()
	for batch := range slices.Chunk(r.all, batchOfResults) {
		if err := db.Store(ctx, batch); err != nil {
			return 0, 0, err
		}
	}
	stored, begun = time.Since(begun).Seconds(), time.Now()
	s, err := db.Finish(ctx, id)
	if err == nil && (!s.Complete || s.Wrong != "") {
		err = fmt.Errorf("the run is not complete: %s", s.Wrong)
	}
	return stored, time.Since(begun).Seconds(), err
}

// ownCPU returns the seconds of CPU of this process.
func ownCPU() float64 {
	own, _, err := ticks(os.Getpid())
	if err != nil {
		return 0
	}
	return own
}
