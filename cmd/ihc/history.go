package main

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// runState is what the streams say of a run.
type runState struct {
	ID      string
	Request *ihcv1.RunRequest // nil for one that could not be read
	Status  string            // one of the status constants
	Started time.Time         // when it was asked for
	Last    time.Time         // when its last event happened
	Counts  *ihcv1.Counts     // nil until everything is extracted
	Chunks  uint32            // 0 until then
	Report  *ihcv1.Report     // nil until it is out
	Reason  string            // of a failure or a cancellation
	Dead    int               // letters
	// ResultsRun is where the results are, if not under the run's own name.
	ResultsRun string
	// MaxRequests is the budget in force, 0 for none.
	MaxRequests uint64

	requested uint64 // places in the stream of its request,
	resumed   uint64 // its last event resumed,
	paused    bool
	since     uint64 // and the one resumed in force when it was paused
}

// Ended says whether nothing more will happen to the run.
func (r *runState) Ended() bool {
	return slices.Contains([]string{statusCompleted, statusPartly, statusFailed, statusCancelled}, r.Status)
}

// Took returns how long the run took, or takes already.
func (r *runState) Took() time.Duration {
	if r.Ended() {
		return r.Last.Sub(r.Started)
	}
	return time.Since(r.Started)
}

// listRuns returns the runs the streams know, or the one named, oldest first.
func listRuns(ctx context.Context, client *stream.Client, id string) ([]*runState, error) {
	h := history{runs: map[string]*runState{}}
	requests, err := client.Requests(ctx)
	if err != nil {
		return nil, err
	}
	for _, q := range requests {
		h.request(q, id)
	}
	events, err := client.Events(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		h.event(e)
	}
	err = client.DeadLetters(ctx, "*", func(d stream.DeadLetter) error {
		h.dead(d)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(h.order, func(a, b *runState) int { return a.Started.Compare(b.Started) })
	for _, r := range h.order {
		switch {
		case r.Ended():
		case r.Dead > 0:
			r.Status = statusStuck
		case r.paused && r.since >= r.resumed:
			r.Status = statusPaused
		}
	}
	return h.order, nil
}

// findRun returns one run. That there is none is an input fault.
func findRun(ctx context.Context, client *stream.Client, id string) (*runState, error) {
	var runs []*runState
	if run.ValidID(id) {
		var err error
		if runs, err = listRuns(ctx, client, id); err != nil {
			return nil, err
		}
	}
	if len(runs) == 0 {
		return nil, errkind.Inputf("run %s is not known; `ihc runs` lists those that are", id)
	}
	return runs[0], nil
}

// history collects runs in the order they are met.
type history struct {
	runs  map[string]*runState
	order []*runState
}

func (h *history) at(id string, t time.Time) *runState {
	r := h.runs[id]
	if r == nil {
		r = &runState{ID: id, Status: statusRequested, Started: t}
		h.runs[id] = r
		h.order = append(h.order, r)
	}
	return r
}

func (h *history) request(q stream.StoredRequest, only string) {
	req, err := run.Decode(q.Data)
	id := run.IDOf(req, q.Time, q.Sequence)
	if only != "*" && only != id {
		return
	}
	if err == nil {
		req, err = run.Complete(req)
	}
	r := h.at(id, q.Time)
	r.requested = q.Sequence
	if err == nil {
		r.Request, r.MaxRequests = req, req.GetMaxRequests()
	}
}

func (h *history) event(e stream.StoredEvent) {
	r := h.at(e.Event.GetRunId(), e.Time)
	r.Last = e.Time
	if r.Status == statusRequested {
		r.Status = statusRunning
	}
	switch x := e.Event.GetEvent().(type) {
	case *ihcv1.RunEvent_Accepted:
		r.Request, r.ResultsRun = x.Accepted.GetRequest(), x.Accepted.GetResultsRun()
		r.MaxRequests = r.Request.GetMaxRequests()
	case *ihcv1.RunEvent_Extracted:
		r.Counts, r.Chunks = x.Extracted.GetCounts(), x.Extracted.GetChunks()
	case *ihcv1.RunEvent_Paused:
		r.paused, r.since = true, x.Paused.GetSince()
	case *ihcv1.RunEvent_Resumed:
		r.resumed, r.MaxRequests = e.Sequence, x.Resumed.GetMaxRequests()
	case *ihcv1.RunEvent_Reported:
		r.Report, r.Status = x.Reported.GetReport(), statusCompleted
		r.Counts = r.Report.GetCounts()
		if r.Counts.GetFailed() > 0 {
			r.Status = statusPartly
		}
	case *ihcv1.RunEvent_Failed:
		r.Status, r.Reason = statusFailed, x.Failed.GetReason()
	case *ihcv1.RunEvent_Cancelled:
		r.Status, r.Reason = statusCancelled, x.Cancelled.GetReason()
	}
}

// dead counts a dead letter for its run. A request published without a run id
// is known by its place.
func (h *history) dead(d stream.DeadLetter) {
	if r := h.runs[d.Run]; r != nil {
		r.Dead++
		return
	}
	for _, r := range h.order {
		if d.Stream == stream.Runs && strconv.FormatUint(r.requested, 10) == d.OriginSequence {
			r.Dead++
		}
	}
}
