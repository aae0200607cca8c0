// Package ops is what people do with runs: start them, look at them, follow,
// cancel, resume and replay them, and see to their dead letters. It is one
// facade over a stack's streams for every face there is: it prints nothing,
// knows no flags, and returns values and errors that errkind classifies.
package ops

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// Runs are the runs of one stack. It is for any number of goroutines.
type Runs struct {
	client *stream.Client
	idle   bool
}

// New returns the runs that the client's streams know. The client stays the
// caller's to close.
func New(client *stream.Client) *Runs { return &Runs{client: client} }

// Idle returns the runs of streams on which no service works: those that have
// not ended are interrupted.
func Idle(client *stream.Client) *Runs { return &Runs{client: client, idle: true} }

// ErrUnknown is in the chain of every error that says that there is no run, or
// no dead letter, by that name.
var ErrUnknown = errkind.WithCode(errkind.CodeUnknownRun, errors.New("not known"))

// StateError says that a run is in a state that does not allow what was asked
// for, or that a run that was followed stopped in one that is no success.
type StateError struct {
	Run    string
	Status run.Status
	// Err is what was wrong, classified.
	Err error
	// State is what the run had come to, nil where it was not followed.
	State *run.State
}

func (e *StateError) Error() string { return e.Err.Error() }

// Unwrap returns the classified error.
func (e *StateError) Unwrap() error { return e.Err }

// List returns all runs, oldest first, with the progress of those that are not
// reported.
func (r *Runs) List(ctx context.Context) ([]*run.State, error) {
	entries, err := r.entries(ctx, "*")
	if err != nil {
		return nil, err
	}
	states := run.Fold(entries)
	for _, s := range states {
		s.Idle = r.idle
		if s.Report != nil {
			continue
		}
		if s.Progress, err = r.progress(ctx, s); err != nil {
			return nil, err
		}
	}
	return states, nil
}

// Get returns one run with its progress. That there is none is an input fault
// with [ErrUnknown].
func (r *Runs) Get(ctx context.Context, id string) (*run.State, error) {
	var states []*run.State
	if run.ValidID(id) {
		entries, err := r.entries(ctx, id)
		if err != nil {
			return nil, err
		}
		states = run.Fold(entries)
	}
	if len(states) == 0 {
		return nil, errkind.Inputf("run %s is %w; `ihc runs` lists those that are", id, ErrUnknown)
	}
	s := states[0]
	s.Idle = r.idle
	var err error
	s.Progress, err = r.progress(ctx, s)
	return s, err
}

// Latest returns a run as [Runs.Get] does or, where it was superseded, the one that
// took its place.
func (r *Runs) Latest(ctx context.Context, id string) (*run.State, error) {
	s, err := r.Get(ctx, id)
	for err == nil && s.SupersededBy() != "" {
		s, err = r.Get(ctx, s.SupersededBy())
	}
	return s, err
}

// entries returns what the streams hold of one run, or of all of them for "*",
// and the dead letters of all.
func (r *Runs) entries(ctx context.Context, id string) ([]run.Entry, error) {
	var all []run.Entry
	requests, err := r.client.Requests(ctx)
	if err != nil {
		return nil, err
	}
	for _, q := range requests {
		if e := run.RequestEntry(q.Data, q.Time, q.Sequence); id == "*" || e.Requested.ID == id {
			all = append(all, e)
		}
	}
	replaced, err := r.client.Replaced(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range replaced { // who takes a run's place is asked for by its end
		if next := e.Event.GetFailed().GetSupersededBy(); id == "*" || next == id {
			all = append(all, run.Entry{Time: e.Time, Sequence: e.Sequence, Requested: &run.Requested{ID: next}})
		}
	}
	events, err := r.client.Events(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		all = append(all, eventEntry(e))
	}
	slices.SortStableFunc(all, func(a, b run.Entry) int { return cmp.Compare(a.Sequence, b.Sequence) })
	err = r.client.DeadLetters(ctx, "*", func(d stream.DeadLetter) error {
		all = append(all, deadEntry(d))
		return nil
	})
	return all, err
}

func eventEntry(e stream.StoredEvent) run.Entry {
	return run.Entry{Time: e.Time, Sequence: e.Sequence, Event: e.Event}
}

// progress returns what the services last told of a run. Nobody works on one
// whose name cannot be that of a run, such as an event may make up.
func (r *Runs) progress(ctx context.Context, s *run.State) (run.Progress, error) {
	results := cmp.Or(s.ResultsRun, s.ID)
	if !run.ValidID(s.ID) || !run.ValidID(results) {
		return run.Progress{}, nil
	}
	stages, err := r.client.Progress(ctx, s.ID)
	if err != nil {
		return run.Progress{}, errkind.Environmentf("progress of run %s: %w", s.ID, err)
	}
	p := run.Progress{Extractor: stages[stream.StageExtractor], Attributor: stages[stream.StageAttributor],
		Writer: stages[stream.StageWriter], Reporter: stages[stream.StageReporter]}
	if s.Idle && !s.Status().Ended() {
		told, err := r.client.ToldAt(ctx, s.ID)
		if err != nil {
			return p, errkind.Environmentf("progress of run %s: %w", s.ID, err)
		}
		if told.After(s.Last) {
			s.Last = told
		}
	}
	if !s.Status().Ended() {
		if err := r.client.Room(ctx); err != nil && ctx.Err() == nil {
			p.Full = err.Error()
		}
	}
	kept, err := r.client.ScoredChunks(ctx, results)
	// Streams that go with the process keep no result that is stored in the database.
	p.ScoredChunks = max(kept, min(p.Attributor.GetChunks(), p.Writer.GetChunks()+kept))
	if s.Planned != nil { // a chunk that was put back may have two results
		p.ScoredChunks = min(p.ScoredChunks, uint64(s.Planned.GetChunks()))
	}
	return p, err
}

// NewID draws the id of a run that is asked for now: the time, with three random
// letters for those asked for in the same second.
func NewID() string {
	return fmt.Sprintf("%s-%.3s", time.Now().UTC().Format("20060102-150405"), rand.Text())
}

// Start asks for a run and returns its id: that of the request or, where it has
// none, one that [NewID] draws. A run of that id that was asked for the same is the run; one that
// was asked for something else is an input fault. The request is one that
// [run.Complete] made.
func (r *Runs) Start(ctx context.Context, req *ihcv1.RunRequest) (id string, err error) {
	req = proto.CloneOf(req)
	if id = req.GetRunId(); id != "" {
		switch s, err := r.Get(ctx, id); {
		case errors.Is(err, ErrUnknown):
		case err != nil:
			return "", err
		case !run.Answers(s.Request, req) && (s.Asked == nil || !run.Answers(s.Asked, req)):
			return "", &StateError{Run: id, Status: s.Status(), Err: errkind.WithCode(errkind.CodeRunExists, errkind.Inputf("run %s is there already, and was asked for with other settings (%s): choose another id, or leave it empty", id, run.Describe(s.Request))), State: s}
		default:
			return id, nil
		}
	} else {
		req.RunId = NewID()
	}
	return req.GetRunId(), r.client.PublishRequest(ctx, req)
}

// Replay asks for a run from the stored messages of the one that the request
// names, and returns its id. A run that cannot be replayed is an input fault.
func (r *Runs) Replay(ctx context.Context, req *ihcv1.RunRequest) (id string, err error) {
	origin, err := r.Get(ctx, req.GetReplayOf())
	if err != nil {
		return "", err
	}
	if err := run.Replayable(origin); err != nil {
		return "", &StateError{Run: origin.ID, Status: origin.Status(), Err: errkind.WithCode(errkind.CodeWrongState, err)}
	}
	return r.Start(ctx, req)
}

// Cancel ends a run. It returns false for one that is cancelled already, and an
// input fault for one that has ended otherwise.
func (r *Runs) Cancel(ctx context.Context, id, reason string) (did bool, err error) {
	s, err := r.Get(ctx, id)
	if err != nil {
		return false, err
	}
	switch status := s.Status(); {
	case status == run.StatusCancelled:
		return false, nil
	case status.Ended():
		return false, &StateError{Run: id, Status: status, Err: errkind.WithCode(errkind.CodeWrongState, errkind.Inputf("run %s is over (%s): there is nothing to cancel", id, status))}
	}
	err = r.client.PublishEvent(ctx, &ihcv1.RunEvent{RunId: id, Event: &ihcv1.RunEvent_Cancelled{Cancelled: &ihcv1.RunCancelled{Reason: reason}}})
	if err != nil {
		return false, errkind.Environmentf("cancel run %s: %w", id, err)
	}
	return true, nil
}

// Fail ends a run, or the one that took its place, as failed, for the reason that is
// given. It does nothing to a run that has ended.
func (r *Runs) Fail(ctx context.Context, id string, reason error) error {
	for {
		s, err := r.Latest(ctx, id)
		if err != nil || s.Status().Ended() {
			return err
		}
		switch err := r.client.PublishEvent(ctx, run.Failed(s.ID, "ihc", reason)); {
		case errors.Is(err, stream.ErrOver): // just now; another may have taken its place
		case err != nil:
			return errkind.Environmentf("end run %s: %w", s.ID, err)
		default:
			return nil
		}
	}
}

// Resume lets a paused run go on with so many requests more, or as many as it
// takes for 0. It is an input fault if the run is not paused.
func (r *Runs) Resume(ctx context.Context, id string, more uint64) error {
	s, err := r.Get(ctx, id)
	if err != nil {
		return err
	}
	if status := s.Status(); status != run.StatusPaused {
		return &StateError{Run: id, Status: status, Err: errkind.WithCode(errkind.CodeWrongState, errkind.Inputf("run %s is not paused (it is %s)", id, status))}
	}
	return r.AddBudget(ctx, id, more)
}

// AddBudget gives a run so many requests from here on, or as many as it takes
// for 0, paused or not.
func (r *Runs) AddBudget(ctx context.Context, id string, more uint64) error {
	err := r.client.PublishEvent(ctx, &ihcv1.RunEvent{RunId: id, Event: &ihcv1.RunEvent_Resumed{Resumed: &ihcv1.RunResumed{MaxRequests: more}}})
	if err != nil {
		return errkind.Environmentf("resume run %s: %w", id, err)
	}
	return nil
}
