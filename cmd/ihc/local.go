package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/ihc-pipeline/ihc/embedded"
	"github.com/ihc-pipeline/ihc/internal/broker"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/retry"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/services/attributor"
	"github.com/ihc-pipeline/ihc/services/reporter"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/open"
)

// localRun is one run on an embedded server.
type localRun struct {
	request          *ihcv1.RunRequest
	config           attributor.Config
	db, out, dataDir string
	records          recordFlags
	log              *slog.Logger
	say              io.Writer // for people
	progress         *progress
	life             following
	file             string // for the JSON result, "" for none
}

// do runs everything and returns the run's id as soon as there is one, its
// report, or the error that kept it from having one.
func (l localRun) do(ctx context.Context) (id string, report *ihcv1.Report, err error) {
	config, err := embedded.FromEnv(l.config)
	if err == nil {
		err = config.At(l.db, l.out)
	}
	if err == nil {
		err = l.records.set(&config.Reporter)
	}
	if err == nil {
		err = makeWritable(config.Reporter.Out, reporter.Files()...)
	}
	if err != nil {
		return "", nil, err
	}
	l.request.LongJourneys = cmp.Or(l.request.GetLongJourneys(), config.Extractor.LongJourneys)
	if l.dataDir == "" {
		l.clearAway(ctx)
	}
	dir, done, err := dataDir(l.dataDir)
	if err != nil {
		return "", nil, err
	}
	defer done()
	var place entry
	defer func() { l.record(place, err) }()
	config.Dir, config.Keep, config.Log = dir, l.dataDir != "", l.log
	p, running, err := l.start(ctx, config)
	if err != nil {
		return l.request.GetRunId(), nil, err
	}
	defer p.Stop()
	runs := ops.New(p.Client)
	if id, err = l.resume(running, runs); err == nil && id == "" {
		id, err = l.ask(running, runs, p.Client, dir)
	}
	if err != nil {
		return id, nil, err
	}
	if report, err = l.life.follow(running, runs, id, l.progress); l.superseded(running, runs, id, err) {
		report, err = l.life.follow(running, runs, id, l.progress)
	}
	state, found := l.stopping(ctx, p.Client, id, config.Base.Grace, done)
	place = found
	if cause := embedded.Cause(running); err != nil && cause != nil {
		return id, nil, cause // a service gave up
	}
	return id, report, atRest(p, l.explain(ctx, id, state, err))
}

// atRest lets the services finish, where a run stopped before its end, and has the
// error say what it came to with that: requests that were under way are paid, too.
func atRest(p *embedded.Pipeline, err error) error {
	var stop *ops.StateError
	if errors.As(err, &stop) {
		p.Rest()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if s, err := ops.New(p.Client).Get(ctx, stop.Run); err == nil {
			stop.State = s
		}
	}
	return err
}

// start brings the pipeline up. Where another process has the same run under way
// on the same streams, as one whose scheduler took it for dead, it waits for that
// one's end: what there is to do then is to give its result, or to go on.
func (l localRun) start(ctx context.Context, c embedded.Config) (p *embedded.Pipeline, running context.Context, err error) {
	if id := l.request.GetRunId(); id != "" {
		c.Holder = "run " + id
	}
	wait, cancel := ctx, context.CancelFunc(func() {})
	if l.life.timeout > 0 {
		wait, cancel = context.WithDeadline(ctx, l.life.since.Add(l.life.timeout))
	}
	defer cancel()
	told := false
	isSame := func(err error) bool {
		var busy *broker.InUseError
		if !errors.As(err, &busy) || c.Holder == "" || busy.Holder != c.Holder {
			return false
		}
		if !told {
			_, _ = fmt.Fprintf(l.say, "waiting for another process that has %s under way\n", human.Printable(c.Holder))
			told = true
		}
		return true
	}
	err = retry.Do(wait, retry.Real, retry.Server, func(context.Context) (err error) {
		p, running, err = embedded.Start(ctx, c)
		return err
	}, isSame)
	switch {
	case err != nil && ctx.Err() != nil:
		err = &ops.StateError{Run: l.request.GetRunId(), Status: run.StatusInterrupted, Err: errors.New("interrupted before the run began")}
	case err != nil && wait.Err() != nil:
		err = errkind.Environmentf("another process still has %s under way after %s (--timeout)", c.Holder, l.life.timeout)
	}
	return p, running, err
}

// explain says of a run that stopped before its end how it can go on.
func (l localRun) explain(ctx context.Context, id string, state *run.State, err error) error {
	var stop *ops.StateError
	kept := l.dataDir != ""
	switch {
	case errors.As(err, &stop) && stop.Status == run.StatusPaused:
		stop.Err = errkind.As(errkind.Paused, fmt.Errorf("%w; with --data-dir a run can go on later", ops.ErrSpent))
		if kept {
			stop.Err = errkind.As(errkind.Paused, fmt.Errorf("%w; the same command goes on with run %s", ops.ErrSpent, stop.Run))
		}
		return stop
	case errors.As(err, &stop) && stop.Status == run.StatusStuck:
		if kept {
			stop.Err = fmt.Errorf("%w; see `ihc dead ls --data-dir %s`", stop.Err, l.dataDir)
		}
		return stop
	case err == nil || ctx.Err() == nil:
		return err
	case kept:
		err = fmt.Errorf("interrupted; the same command goes on with run %s", id)
	default:
		err = errors.New("interrupted; with --data-dir a run can go on later")
	}
	return &ops.StateError{Run: id, Status: run.StatusInterrupted, Err: err, State: state}
}

// entry is the place in the database that a run has if it was accepted, and may have
// if nobody heard of that: its id, and when and where it was asked for (see
// [run.Asked]), "" where that is not known.
type entry struct {
	id, asked string
	accepted  bool
}

// stopping says of a run that was interrupted what is waited for, and returns what
// it, or the run that took its place, had come to, nil where that is not known, and
// its place in the database.
func (l localRun) stopping(ctx context.Context, client *stream.Client, id string, grace time.Duration, done func()) (*run.State, entry) {
	s, err := ops.New(client).Latest(context.WithoutCancel(ctx), id)
	place := entry{id: id}
	if err != nil {
		s = nil
	} else {
		place.id, place.accepted = s.ID, s.Accepted()
	}
	if asked, err := client.Asked(context.WithoutCancel(ctx), place.id); err == nil {
		place.asked = asked
	}
	if ctx.Err() != nil {
		next := "it cannot go on, since it has no --data-dir"
		if l.dataDir != "" {
			next = "the same command goes on with it"
		}
		words := func(second *service.Interrupt) {
			_, _ = fmt.Fprintf(l.say, "ihc: run %s was stopped at once; %s\n", human.Printable(id), next)
			l.stopped(id, s, place, next, second)
			done()
		}
		lastWords.Store(&words)
		_, _ = fmt.Fprintf(l.say, "stopping: waiting for what is under way, requests to the API too, for up to %s; Ctrl-C again stops at once\n", human.Duration(grace))
	}
	return s, place
}

// stopped writes down what a run that is stopped at once came to, as far as that
// takes no time.
func (l localRun) stopped(id string, s *run.State, place entry, next string, by *service.Interrupt) {
	err := &ops.StateError{Run: id, Status: run.StatusInterrupted, Err: errors.New("stopped at once; " + next), State: s}
	if err := writeResult(l.file, summary(ending{id: id, err: err, took: time.Since(l.life.since), interrupt: by})); err != nil {
		_, _ = fmt.Fprintln(l.say, "ihc: "+err.Error())
	}
	recorded := make(chan struct{})
	go func() {
		defer close(recorded)
		l.record(place, err)
	}()
	select {
	case <-recorded:
	case <-time.After(3 * time.Second): // somebody writes to the database
	}
}

// record makes the database say how a run ended that will not go on, where
// nobody was left to do so.
func (l localRun) record(place entry, err error) {
	if place.asked == "" || err == nil {
		return
	}
	status := store.Interrupted
	if stop := (*ops.StateError)(nil); errors.As(err, &stop) && stop.Status == run.StatusFailed {
		status = store.Failed
	}
	if status == store.Interrupted && l.dataDir != "" {
		return // it can go on
	}
	if err := l.end(place, status); err != nil && place.accepted && !errors.Is(err, store.ErrRefused) {
		_, _ = fmt.Fprintf(l.say, "note: the database still calls run %s running: %s\n", human.Printable(place.id), human.Printable(err.Error()))
	}
}

// end makes the database say how a run of it ended.
func (l localRun) end(place entry, status store.Status) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	db := open.Database(l.db)
	return errors.Join(store.EndEntered(ctx, db, place.id, place.asked, status), db.Close())
}

// resume returns the id of an unfinished run that a kept data directory holds,
// "" if there is none. One with other settings is an input fault, since two
// runs that nobody asked for at once would write over each other.
func (l localRun) resume(ctx context.Context, runs *ops.Runs) (string, error) {
	if l.dataDir == "" {
		return "", nil
	}
	all, err := runs.List(ctx)
	if err != nil {
		return "", err
	}
	for _, s := range all {
		if s.Status().Ended() || s.Request == nil {
			continue
		}
		if id := l.request.GetRunId(); id != "" && id != s.ID {
			return "", errkind.Inputf("data directory %s holds run %s, unfinished: finish it with --run-id %s, or use another --data-dir", l.dataDir, s.ID, s.ID)
		}
		if !run.Same(s.Request, l.request) {
			return "", errkind.Inputf("data directory %s holds run %s, unfinished and with other settings (%s): finish it with those, or use another --data-dir",
				l.dataDir, s.ID, run.Describe(s.Request))
		}
		mine, err := l.config.Settle(l.request)
		if err != nil {
			return "", err
		}
		if s.Scoring != nil && !run.SameScoring(s.Scoring, mine) {
			return "", errkind.Inputf("data directory %s holds run %s, unfinished and scored by %s, not by %s: finish it with that, or use another --data-dir",
				l.dataDir, s.ID, run.DescribeScoring(s.Scoring), run.DescribeScoring(mine))
		}
		_, _ = fmt.Fprintf(l.say, "going on with run %s\n", human.Printable(s.ID))
		return s.ID, l.renew(ctx, runs, s)
	}
	return "", nil
}

// superseded says whether a run that goes on was paused for the budget of the
// run whose place it took, and gives it the one that is asked for now.
func (l localRun) superseded(ctx context.Context, runs *ops.Runs, id string, err error) bool {
	var stop *ops.StateError
	return errors.As(err, &stop) && stop.Status == run.StatusPaused && stop.Run != id &&
		runs.AddBudget(ctx, stop.Run, l.request.GetMaxRequests()) == nil
}

// renew gives a run that goes on the budget of requests that is asked for now,
// if it has used its own up or that was another.
func (l localRun) renew(ctx context.Context, runs *ops.Runs, s *run.State) error {
	was, now := s.MaxRequests, l.request.GetMaxRequests()
	switch {
	case s.Status() == run.StatusPaused, s.Request.GetMaxRequests() > 0 && was != now:
		err := runs.AddBudget(ctx, s.ID, now)
		if errors.Is(err, stream.ErrOver) {
			return nil // superseded just now: whoever follows it goes over to what took its place
		}
		return err
	case was != now:
		return errkind.Inputf("run %s was begun without --max-requests: let it finish without, or use another --data-dir", s.ID)
	}
	return nil
}
