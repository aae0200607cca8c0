package service

import (
	"context"
	"errors"
	"time"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/stream"
)

// action is what an error means for the runs whose messages it was met at.
type action int

const (
	// again has the message delivered again with growing delay, and after ten
	// times moved to the dead letters: nobody knows what the trouble is.
	again action = iota
	// wait has it delivered again for as long as it takes. Log, progress and
	// readiness say what is waited for. Nothing is lost by it.
	wait
	// fail ends the run: no repetition will mend it. Its messages stay in the
	// stream, to be replayed once somebody has seen to the cause.
	fail
)

// The delays of wait.
const (
	natsDelay = time.Second     // NATS is away or full
	waitDelay = 2 * time.Second // a lock, a full disk
)

// rules say what an error of a kind means in a stage. Before anything is
// scored, waiting would only hide what is wrong from whoever asked for the run.
// Once a result is paid for, it waits for the database as long as it takes.
// An extraction cannot be taken apart: whatever befalls it ends the run, but for
// what passes by itself, for which every stage waits.
var rules = map[string]map[errkind.Kind]action{
	stream.StageExtractor:  {errkind.Input: fail, errkind.Environment: fail, errkind.Run: fail},
	stream.StageAttributor: {errkind.Input: fail, errkind.Environment: fail, errkind.Run: again},
	stream.StageWriter:     {errkind.Input: fail, errkind.Environment: wait, errkind.Run: again},
	stream.StageReporter:   {errkind.Input: fail, errkind.Environment: wait, errkind.Run: again},
}

// judge returns what an error means in a stage, and after what delay a message
// that waits is delivered again.
func judge(stage string, err error) (action, time.Duration) {
	if after, poison, ok := stream.Settled(err); ok {
		if poison {
			return again, 0 // goes to the dead letters as it is
		}
		return wait, after
	}
	var gone *stream.GoneError
	switch {
	case !errors.As(err, &gone):
	case gone.For > stream.Patience:
		return fail, 0 // they do not come back
	default:
		return wait, waitDelay
	}
	kind := errkind.KindOf(err)
	if kind == errkind.Run && stream.Transient(err) {
		return wait, natsDelay
	}
	if errkind.Passes(err) {
		return wait, waitDelay
	}
	return rules[stage][kind], waitDelay
}

// Outcome decides what the error means that work on messages of some runs
// ended with, and returns what a handler is to return for it. It is the one
// place where that is decided:
//
//	nil               the messages are done, and nothing is waited for any more
//	[stream.Retry]    they wait for as long as that says, and however often
//	[stream.Poison]   they go to the dead letters
//	[stream.ErrOver]  they are done: the run takes nothing more
//	NATS is away      they wait
//	any other error   as the stage and the error's kind say
//
// Where ctx has ended, they are given back.
func (d Deps) Outcome(ctx context.Context, err error, runs ...string) error {
	if errors.Is(err, stream.ErrOver) {
		err = nil // nothing more is to be done for the run, nor said of it
	}
	if err == nil {
		d.SetReady(nil)
		for _, id := range runs {
			d.Bus.Waiting(ctx, id, "")
		}
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	stage := d.Bus.Stage()
	switch act, after := judge(stage, err); act {
	case wait:
		d.SetReady(err)
		for _, id := range runs {
			d.Bus.WaitingUntil(ctx, id, err.Error(), time.Now().Add(after))
		}
		return stream.Retry(err, after)
	case fail:
		d.Log.Error("run failed", "runs", runs, "error", err)
		for _, id := range runs {
			if err := d.Bus.PublishEvent(ctx, run.Failed(id, stage, err)); err != nil && !errors.Is(err, stream.ErrOver) {
				return stream.Retry(err, natsDelay)
			}
		}
		d.SetReady(nil)
		return nil
	default:
		d.Log.Error("cannot process a message; trying again", "runs", runs, "error", err)
		return err
	}
}
