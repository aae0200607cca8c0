package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

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
// SQLite file, and stages beside what the server takes for their rows and with a
// second of them.
func (b *bench) onPostgres() error {
	path, err := b.shop(b.config)
	if err != nil {
		return err
	}
	server, err := b.postgres()
	if err != nil {
		b.absent("run on PostgreSQL ÷ on SQLite", 1.5, err.Error())
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
	o := &onPostgres{b: b, server: server, conn: conn}
	r, err := o.whole()
	if err == nil {
		err = o.writing(r)
	}
	if err == nil {
		err = o.extraction()
	}
	return err
}

// fresh empties the schema, and has what was written before written to the disk.
// It returns the address with which results go there.
func (o *onPostgres) fresh() (dsn string, err error) {
	for _, statement := range []string{`DROP SCHEMA IF EXISTS ` + inSchema + ` CASCADE`, `CREATE SCHEMA ` + inSchema, `ANALYZE`, `CHECKPOINT`} {
		if _, err := o.conn.Exec(o.b.ctx, statement); err != nil {
			return "", err
		}
	}
	return o.server.DSN("postgres") + "&search_path=" + inSchema + ",public", nil
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
	// Once more with streams that stay.
	path, err := b.freshShop(b.config)
	if err != nil {
		return r, err
	}
	streams := filepath.Join(b.dir, "streams-postgres")
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
// of them, with COPY of the rows that they become, and with two who store them.
func (o *onPostgres) writing(r results) error {
	b := o.b
	var one, two, busyOne, busyTwo, swept, journal, table []float64
	var touchpoints int64
	for range b.runs {
		stored, busy, _, err := o.store(r, 2)
		if err != nil {
			return err
		}
		two, busyTwo = append(two, stored), append(busyTwo, busy)
		stored, busy, sweep, err := o.store(r, 1)
		if err != nil {
			return err
		}
		one, busyOne, swept = append(one, stored), append(busyOne, busy), append(swept, sweep)
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
	b.add("two writers ÷ one", median(two)/median(one), "ratio", 0.714, "medians of %d, %.1f s and %.1f s, with %.2f and %.2f cores busy", b.runs, median(two), median(one), median(busyTwo), median(busyOne))
	return nil
}

// store stores a run's results by so many writers, batch by batch, and has the
// first sweep the run. It returns the seconds of each, and how many cores the first
// kept busy.
func (o *onPostgres) store(r results, writers int) (stored, busy, swept float64, err error) {
	ctx, id := o.b.ctx, r.accepted.GetRequest().GetRunId()
	dsn, err := o.fresh()
	if err != nil {
		return 0, 0, 0, err
	}
	first := open.Database(dsn)
	defer first.Close() //nolint:errcheck // every transaction is committed
	if err := errors.Join(first.Accept(ctx, r.accepted), first.Expect(ctx, id, r.extracted)); err != nil {
		return 0, 0, 0, err
	}
	batches := make(chan []*ihcv1.AttributionResult, len(r.all))
	for rest := r.all; len(rest) > 0; {
		n := min(len(rest), batchOfResults)
		batches <- rest[:n]
		rest = rest[n:]
	}
	close(batches)
	begun, cpu := time.Now(), cpuOf(o.server)+ownCPU()
	group, ctx := errgroup.WithContext(ctx)
	for range writers {
		group.Go(func() error {
			db := open.Database(dsn)
			defer db.Close() //nolint:errcheck // every transaction is committed
			for batch := range batches {
				if err := db.Store(ctx, batch); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return 0, 0, 0, err
	}
	stored = time.Since(begun).Seconds()
	busy, begun = (cpuOf(o.server)+ownCPU()-cpu)/stored, time.Now()
	s, err := first.Finish(o.b.ctx, id)
	if err == nil && (!s.Complete || s.Wrong != "") {
		err = fmt.Errorf("the run is not complete: %s", s.Wrong)
	}
	return stored, busy, time.Since(begun).Seconds(), err
}

// ownCPU returns the seconds of CPU of this process.
func ownCPU() float64 {
	own, _, err := ticks(os.Getpid())
	if err != nil {
		return 0
	}
	return own
}

// extraction compares the reading of a run's slices by one extractor and by two.
func (o *onPostgres) extraction() error {
	b := o.b
	var one, two, busyOne, busyTwo, cpuOne, cpuTwo []float64
	slices := 0
	for range b.runs {
		took, busy, n, err := o.extract(1)
		if err != nil {
			return err
		}
		if slices = n; slices < 2 {
			b.absent("two extractors ÷ one", 0.625, "the shop is of one slice")
			return nil
		}
		one, busyOne, cpuOne = append(one, took), append(busyOne, busy), append(cpuOne, took*busy)
		if took, busy, _, err = o.extract(2); err != nil {
			return err
		}
		two, busyTwo, cpuTwo = append(two, took), append(busyTwo, busy), append(cpuTwo, took*busy)
	}
	b.add("two extractors ÷ one", median(two)/median(one), "ratio", 0.625, "medians of %d, %.1f s and %.1f s for %d slices, with %.2f and %.2f cores busy, %.1f and %.1f s of CPU",
		b.runs, median(two), median(one), slices, median(busyTwo), median(busyOne), median(cpuTwo), median(cpuOne))
	return nil
}

// extract has so many extractors read the shop, and returns the seconds from the
// run's acceptance to the end of its extraction, how many cores all that takes part
// in it kept busy meanwhile, and of how many slices the run is.
func (o *onPostgres) extract(extractors int) (seconds, busy float64, slices int, err error) {
	dsn, err := o.fresh()
	if err != nil {
		return 0, 0, 0, err
	}
	s, err := o.b.stack(stackOptions{db: dsn, settings: stream.DefaultSettings(), each: extractors, services: []string{stream.StageExtractor}})
	if err != nil {
		return 0, 0, 0, err
	}
	seconds, busy, slices, err = o.extractBy(s)
	_, stopped := s.stop()
	return seconds, busy, slices, errors.Join(err, stopped)
}

func (o *onPostgres) extractBy(s *stack) (seconds, busy float64, slices int, err error) {
	ctx := o.b.ctx
	nc, err := connect(s.url)
	if err != nil {
		return 0, 0, 0, err
	}
	defer nc.Close()
	c, err := stream.New(ctx, nc, stream.Options{Stage: "bench"})
	if err != nil {
		return 0, 0, 0, err
	}
	const id = "bench"
	if err := c.PublishRequest(ctx, &ihcv1.RunRequest{RunId: id, MaxSessions: 3000}); err != nil {
		return 0, 0, 0, err
	}
	var begun, ended time.Time
	cpu, failed := 0.0, errors.New("the run was not extracted")
	err = c.Follow(ctx, id, func(e stream.StoredEvent) bool {
		switch {
		case e.Event.GetAccepted() != nil:
			begun, cpu = e.Time, -o.taken(s)
			return true
		case e.Event.GetExtracted() != nil:
			ended, cpu, failed = e.Time, cpu+o.taken(s), nil
		default:
			failed = errors.New(e.Event.String())
		}
		return false
	})
	if err := errors.Join(err, failed); err != nil {
		return 0, 0, 0, err
	}
	for {
		last, _, err := c.LastSlice(ctx, id, uint32(slices+1))
		if err != nil || last == nil {
			seconds = ended.Sub(begun).Seconds()
			return seconds, cpu / seconds, slices, err
		}
		slices++
	}
}

// taken returns the seconds of CPU that the server and the processes of a stack
// have taken.
func (o *onPostgres) taken(s *stack) float64 {
	all := cpuOf(o.server)
	for _, m := range s.running {
		own, _, err := ticks(m.cmd.Process.Pid)
		if err == nil {
			all += own
		}
	}
	return all
}
