package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ihc-pipeline/ihc/internal/pgtest"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/internal/tables"
	"github.com/ihc-pipeline/ihc/store/storetest/pgshop"
)

// A day of a billion touchpoints has so many a second on average.
const aDaysRate = 1e9 / 86400

const (
	dayBatches = 24 // how often new rows arrive and a run is asked for
	daySamples = 48 // how often the stack is looked at
)

// batch is the rows of some dates, which arrive together.
type batch struct {
	from, to    string // dates
	touchpoints int    // of its conversions
}

// day plays a hundredth of a day of a billion touchpoints at its mean rate, on
// PostgreSQL and three NATS servers, with two of each service: rows arrive, and a
// run of their dates is asked for, whether the run before has ended or not.
func (b *bench) day() error {
	path, err := b.shop(sized(2 * b.config.Sessions))
	if err != nil {
		return err
	}
	source, err := sql.Open("sqlite3", "file:"+path+"?mode=ro")
	if err != nil {
		return err
	}
	defer source.Close() //nolint:errcheck // only read
	batches, err := batchesOf(b.ctx, source)
	if err != nil {
		return err
	}
	pg, err := b.postgres()
	if err != nil {
		return err
	}
	defer pg.Stop() //nolint:errcheck // what it held is temporary
	db := pg.DSN("postgres")
	if err := pgshop.Create(b.ctx, db); err != nil {
		return err
	}
	s, err := b.stack(stackOptions{db: db, settings: stream.DefaultSettings(), each: 2, servers: 3, sync: true})
	if err != nil {
		return err
	}
	d := &dayAtWork{b: b, stack: s, pg: pg, source: source, batches: batches}
	err = d.play()
	used, stopped := s.stop()
	if err := errors.Join(err, stopped); err != nil {
		return err
	}
	return d.tell(used)
}

// batchesOf divides a shop's dates into batches of about as many touchpoints.
func batchesOf(ctx context.Context, source *sql.DB) ([]batch, error) {
	rows, err := source.QueryContext(ctx, `SELECT conv_date, count(*) FROM conversions c JOIN session_sources s ON s.user_id = c.user_id
		AND (s.event_date, s.event_time) < (c.conv_date, c.conv_time) GROUP BY 1 ORDER BY 1`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var days []batch
	all := 0
	for rows.Next() {
		var d batch
		if err := rows.Scan(&d.from, &d.touchpoints); err != nil {
			return nil, err
		}
		d.to = d.from
		days, all = append(days, d), all+d.touchpoints
	}
	var batches []batch
	so := 0
	for _, d := range days {
		if n := len(batches); n > 0 && so*dayBatches < n*all {
			batches[n-1].to, batches[n-1].touchpoints = d.to, batches[n-1].touchpoints+d.touchpoints
		} else {
			batches = append(batches, d)
		}
		so += d.touchpoints
	}
	return batches, rows.Err()
}

// dayAtWork is a day that is played.
type dayAtWork struct {
	b       *bench
	stack   *stack
	pg      *pgtest.Server
	source  *sql.DB
	batches []batch

	began time.Time

	mu                sync.Mutex
	arrived, reported int       // touchpoints
	waits             []float64 // seconds from the arrival of a batch to its report
	samples           []sample
	cpu               float64 // of PostgreSQL, in seconds
}

// sample is what a look at the stack found.
type sample struct {
	seconds                     float64
	arrived, reported           int
	chunks, results             uint64 // that wait
	services, servers, postgres float64
	load                        float64
}

// play has the batches arrive when their time has come, and returns when all of
// them are reported.
func (d *dayAtWork) play() error {
	ctx, cancel := context.WithCancel(d.b.ctx)
	defer cancel()
	conn, err := pgx.Connect(ctx, d.pg.DSN("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // what was copied is committed
	before := cpuOf(d.pg)
	d.began = time.Now()
	var runs sync.WaitGroup
	failed := make(chan error, len(d.batches)+1)
	looks := make(chan struct{})
	go func() { defer close(looks); d.watch(ctx) }()
	due, since := time.Duration(0), "0"
	for _, next := range d.batches {
		// A batch arrives when the last of its touchpoints have come.
		due += seconds64(float64(next.touchpoints) / aDaysRate)
		time.Sleep(time.Until(d.began.Add(due)))
		if err := d.arrive(ctx, conn, next, since); err != nil {
			failed <- err
			break
		}
		since = next.to
		runs.Go(func() {
			at := time.Now()
			r, err := d.b.askFor(d.stack.url, "run", "--start-date", next.from, "--end-date", next.to, "--max-sessions", "3000")
			if err != nil {
				failed <- fmt.Errorf("%s to %s: %w", next.from, next.to, err)
				return
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			d.reported += r.Touchpoints
			d.waits = append(d.waits, time.Since(at).Seconds())
		})
	}
	runs.Wait()
	cancel()
	<-looks
	d.cpu = cpuOf(d.pg) - before
	close(failed)
	return <-failed
}

func seconds64(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// arrive copies the rows of a batch, with all that came since the one before.
func (d *dayAtWork) arrive(ctx context.Context, conn *pgx.Conn, next batch, since string) error {
	for table, where := range map[string]string{
		tables.SessionSources: "event_date > ? AND event_date <= ?",
		tables.Conversions:    "conv_date > ? AND conv_date <= ?",
		tables.SessionCosts:   "session_id IN (SELECT session_id FROM session_sources WHERE event_date > ? AND event_date <= ?)",
	} {
		if err := pgshop.CopyRows(ctx, d.source, conn, table, where, since, next.to); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.arrived += next.touchpoints
	return nil
}

// watch looks at the stack from time to time until ctx ends.
func (d *dayAtWork) watch(ctx context.Context) {
	all := 0
	for _, one := range d.batches {
		all += one.touchpoints
	}
	every := time.NewTicker(seconds64(float64(all) / aDaysRate / daySamples))
	defer every.Stop()
	nc, err := connect(d.stack.url)
	if err != nil {
		return
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			one := d.look(ctx, js)
			d.mu.Lock()
			d.samples = append(d.samples, one)
			d.mu.Unlock()
			_, _ = fmt.Fprintf(os.Stderr, "day: %.0f s, %d arrived, %d reported, load %.1f\n", one.seconds, one.arrived, one.reported, one.load)
		}
	}
}

func (d *dayAtWork) look(ctx context.Context, js jetstream.JetStream) sample {
	d.mu.Lock()
	s := sample{seconds: time.Since(d.began).Seconds(), arrived: d.arrived, reported: d.reported}
	d.mu.Unlock()
	for _, m := range d.stack.running {
		mib, _ := resident(m.cmd.Process.Pid)
		if m.stage == "natsserver" {
			s.servers += mib
		} else {
			s.services += mib
		}
	}
	for _, pid := range d.pg.Processes() { // what they share counts once
		mib, _ := memory(pid, "smaps_rollup", "Pss:")
		s.postgres += mib
	}
	waiting := func(of stream.Consumer) uint64 {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		c, err := js.Consumer(ctx, of.Stream, of.Durable)
		if err != nil {
			return 0
		}
		is := c.CachedInfo()
		return is.NumPending + uint64(is.NumAckPending)
	}
	s.chunks, s.results = waiting(stream.Chunks), waiting(stream.Scored)
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		_, _ = fmt.Sscan(string(text), &s.load)
	}
	return s
}

// tell adds the figures of the day, and writes its course as a table.
func (d *dayAtWork) tell(used map[string]usage) error {
	last, most, lag := d.samples[len(d.samples)-1], sample{}, 0.0
	for _, s := range d.samples {
		lag = max(lag, float64(s.arrived-s.reported))
		most.services, most.servers, most.postgres = max(most.services, s.services), max(most.servers, s.servers), max(most.postgres, s.postgres)
	}
	took := time.Since(d.began).Seconds()
	d.b.add("touchpoints a second", float64(d.reported)/took, "a second", 0, "%d of %d touchpoints in %.0f s, a report each %.0f s", d.reported, d.arrived, took, last.seconds/float64(len(d.batches)))
	d.b.add("from arrival to report, median", median(d.waits), "s", 0, "%d runs", len(d.waits))
	longest := 0.0
	for _, w := range d.waits {
		longest = max(longest, w)
	}
	d.b.add("from arrival to report, longest", longest, "s", 0, "at most %.0f touchpoints arrived and not reported", lag)
	d.b.add("memory of the services", most.services, "MiB", 0, "the most of eight processes together")
	d.b.add("memory of the NATS servers", most.servers, "MiB", 0, "the most of three together")
	d.b.add("memory of PostgreSQL", most.postgres, "MiB", 0, "the most, what its processes share once")
	used["postgres"] = usage{cpu: d.cpu}
	for _, stage := range append(stages, "postgres") {
		d.b.add("CPU of "+stage, used[stage].cpu/float64(d.reported)*million, "s a million touchpoints", 0, "%.0f s, %.2f of a core", used[stage].cpu, used[stage].cpu/took)
	}
	size, err := d.b.weigh(d.pg)
	if err != nil {
		return err
	}
	for _, what := range weighed {
		d.b.add(what.name, float64(size[what.name])/float64(d.reported), "bytes a touchpoint", 0, "%.0f MB", float64(size[what.name])/megabyte)
	}
	d.b.keep["day.md"] = d.course()
	return nil
}

// course is the day over time, as a table of Markdown.
func (d *dayAtWork) course() []byte {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 1, ' ', 0)
	_, _ = fmt.Fprintln(w, "| s\t| arrived\t| reported\t| between them\t| chunks, results waiting\t| services MiB\t| NATS MiB\t| PostgreSQL MiB\t| load\t|")
	_, _ = fmt.Fprintln(w, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	for _, s := range d.samples {
		_, _ = fmt.Fprintf(w, "| %.0f\t| %.2f M\t| %.2f M\t| %.2f M\t| %d, %d\t| %.0f\t| %.0f\t| %.0f\t| %.1f\t|\n", math.Round(s.seconds), float64(s.arrived)/million, float64(s.reported)/million,
			float64(s.arrived-s.reported)/million, s.chunks, s.results, s.services, s.servers, s.postgres, s.load)
	}
	_ = w.Flush()
	return []byte(b.String())
}
