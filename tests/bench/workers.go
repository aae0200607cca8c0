package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store/open"
)

// share is how much of a core each worker has where it is asked whether a second of
// the same size makes a stage faster: little enough that two of them and what the
// servers do for them do not fill two cores.
const share = 0.25

// patience is how long a stage may take.
const patience = 10 * time.Minute

// work is what a stage took: on the clock, of all cores, and of cores by its workers.
type work struct {
	seconds, busy, own float64
	of                 string // what was done
}

// stage is what is done by one worker or more, in a stack that has NATS alone.
type stage func(ctx context.Context, s *stack, workers int) (work, error)

// workers compares what a stage takes on PostgreSQL with one worker and with two:
// each held to a share of a core, as containers are to their limits, and with no
// limit, where the cores that there are may be what bounds it.
func (b *bench) workers() error {
	const writers, extractors, mostWriters, mostExtractors = "two writers ÷ one", "two extractors ÷ one", 0.714, 0.625
	return b.onServer(func(o *onPostgres) error {
		r, err := b.someResults()
		if err != nil {
			return err
		}
		write := func(ctx context.Context, s *stack, n int) (work, error) { return o.write(ctx, s, n, r) }
		return errors.Join(o.second(writers, mostWriters, write), o.second(extractors, mostExtractors, o.extract))
	}, func(why string) {
		b.absent(writers, mostWriters, why)
		b.absent(extractors, mostExtractors, why)
	})
}

// second measures a stage by one worker and by two, in turns, with a limit and
// without.
func (o *onPostgres) second(name string, most float64, do stage) error {
	l, err := newLimit(share)
	if err == nil {
		err = l.remove()
	}
	if err != nil {
		o.b.absent(name, most, err.Error())
	} else if err := o.pairs(name, most, share, do); err != nil {
		return err
	}
	return o.pairs(name+", unlimited", 0, 0, do)
}

// pairs is second for one limit, in cores; 0 is none.
func (o *onPostgres) pairs(name string, most, cores float64, do stage) error {
	var times, busy, own [2][]float64
	of, held := "", "nothing is limited"
	if cores > 0 {
		held = fmt.Sprintf("each limited to %.2f cores, PostgreSQL and NATS not", cores)
	}
	for range o.b.runs {
		for n := range times {
			w, err := o.by(n+1, cores, do)
			if err != nil {
				return err
			}
			times[n], busy[n], own[n], of = append(times[n], w.seconds), append(busy[n], w.busy), append(own[n], w.own), w.of
		}
	}
	o.b.add(name, median(ratios(times[1], times[0])), "ratio", most, "median of %d pairs; %.1f s and %.1f s for %s; %s; they kept %.2f and %.2f cores busy, all together %.2f and %.2f",
		o.b.runs, median(times[1]), median(times[0]), of, held, median(own[1]), median(own[0]), median(busy[1]), median(busy[0]))
	return nil
}

// by has a stage done by so many workers with so much of a core each.
func (o *onPostgres) by(workers int, cores float64, do stage) (w work, err error) {
	dsn, err := o.fresh()
	if err != nil {
		return w, err
	}
	s, err := o.b.stack(stackOptions{db: dsn, settings: stream.DefaultSettings(), services: []string{}, cores: cores})
	if err != nil {
		return w, err
	}
	ctx, cancel := context.WithTimeout(o.b.ctx, patience) // where a worker is gone
	defer cancel()
	w, err = do(ctx, s, workers)
	_, stopped := s.stop()
	return w, errors.Join(err, stopped)
}

// start starts more of a stack's services.
func (o *onPostgres) start(s *stack, stage string, n int) error {
	for range n {
		if err := o.b.serve(s, stage); err != nil {
			return err
		}
	}
	return nil
}

// watch is a stopwatch of time and CPU.
type watch struct {
	o        *onPostgres
	s        *stack
	begun    time.Time
	all, own float64
}

func (o *onPostgres) watch(s *stack, begun time.Time) watch {
	all, own := o.taken(s)
	return watch{o, s, begun, all, own}
}

// stop returns what was taken until a time, which is now or nearly so.
func (w watch) stop(ended time.Time) work {
	all, own := w.o.taken(w.s)
	seconds := ended.Sub(w.begun).Seconds()
	return work{seconds: seconds, busy: (all - w.all) / seconds, own: (own - w.own) / seconds}
}

// taken returns the seconds of CPU that the server and the processes of a stack have
// taken, and those of its services.
func (o *onPostgres) taken(s *stack) (all, services float64) {
	all = cpuOf(o.server)
	for _, m := range s.running {
		own, _, err := ticks(m.cmd.Process.Pid)
		if err != nil {
			continue
		}
		if all += own; m.stage != "natsserver" {
			services += own
		}
	}
	return all, services
}

// write has so many writers store a run's results, which are in the stream before, and
// returns what they took from the first that is handed out until all are stored.
func (o *onPostgres) write(ctx context.Context, s *stack, writers int, r results) (w work, err error) {
	id := r.accepted.GetRequest().GetRunId()
	c, results, done, err := o.results(s)
	if err != nil {
		return w, err
	}
	defer done()
	if err := c.PublishEvent(ctx, &ihcv1.RunEvent{RunId: id, Event: &ihcv1.RunEvent_Accepted{Accepted: r.accepted}}); err != nil {
		return w, err
	}
	for _, one := range r.all {
		if err := c.PublishResult(ctx, one); err != nil {
			return w, err
		}
	}
	if err := o.start(s, stream.StageWriter, writers); err != nil {
		return w, err
	}
	if err := until(ctx, results, func(i *jetstream.ConsumerInfo) bool { return i.Delivered.Consumer > 0 }); err != nil {
		return w, err
	}
	begun := o.watch(s, time.Now())
	if err := until(ctx, results, func(i *jetstream.ConsumerInfo) bool { return i.NumPending == 0 && i.NumAckPending == 0 }); err != nil {
		return w, err
	}
	w = begun.stop(time.Now())
	w.of = fmt.Sprintf("%d results", len(r.all))
	db := open.Database(o.dsn())
	defer db.Close() //nolint:errcheck // only read
	missing, err := db.Missing(ctx, id, r.extracted.GetChunks())
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("%d results are not stored", len(missing))
	}
	return w, err
}

// results returns a client of a stack's streams, and what hands out results.
func (o *onPostgres) results(s *stack) (c *stream.Client, results jetstream.Consumer, done func(), err error) {
	nc, err := connect(s.url)
	if err != nil {
		return nil, nil, nil, err
	}
	c, err1 := stream.New(o.b.ctx, nc, stream.Options{Stage: "bench"})
	js, err2 := jetstream.New(nc)
	if err = errors.Join(err1, err2); err == nil {
		results, err = js.Consumer(o.b.ctx, stream.Results, stream.Scored.Durable)
	}
	if err != nil {
		nc.Close()
	}
	return c, results, nc.Close, err
}

// until looks at a consumer until it is as wanted.
func until(ctx context.Context, consumer jetstream.Consumer, as func(*jetstream.ConsumerInfo) bool) error {
	for {
		i, err := consumer.Info(ctx)
		if err != nil || as(i) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// extract has so many extractors read the shop, and returns what they took from the
// run's acceptance to the end of its extraction.
func (o *onPostgres) extract(ctx context.Context, s *stack, extractors int) (w work, err error) {
	c, _, done, err := o.results(s)
	if err != nil {
		return w, err
	}
	defer done()
	if err := o.start(s, stream.StageExtractor, extractors); err != nil {
		return w, err
	}
	const id = "bench"
	if err := c.PublishRequest(ctx, &ihcv1.RunRequest{RunId: id, MaxSessions: 3000}); err != nil {
		return w, err
	}
	var begun watch
	failed := errors.New("the run was not extracted")
	err = c.Follow(ctx, id, func(e stream.StoredEvent) bool {
		switch {
		case e.Event.GetAccepted() != nil:
			begun = o.watch(s, e.Time)
			return true
		case e.Event.GetExtracted() != nil:
			w, failed = begun.stop(e.Time), nil
		default:
			failed = errors.New(strings.TrimSpace(e.Event.String()))
		}
		return false
	})
	if err := errors.Join(err, failed); err != nil {
		return w, err
	}
	for n := 0; ; n++ {
		if last, _, err := c.LastSlice(ctx, id, uint32(n+1)); err != nil || last == nil {
			w.of = fmt.Sprintf("%d slices", n)
			return w, err
		}
	}
}
