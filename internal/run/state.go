package run

import (
	"cmp"
	"time"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// Status says where a run is in its life. docs/runs.md draws how one status
// leads to another.
type Status string

// The statuses of a run. The first five may still change; the others are ends.
const (
	// StatusRequested: the extractor has not accepted the request yet.
	StatusRequested Status = "requested"
	// StatusRunning: the run is under way; [State.Phase] says how far.
	StatusRunning Status = "running"
	// StatusPaused: its budget of requests is used up.
	StatusPaused Status = "paused"
	// StatusInterrupted: nobody works on it at the moment; it goes on when
	// somebody does.
	StatusInterrupted Status = "interrupted"
	// StatusStuck: a message of it is among the dead letters, so it cannot end.
	StatusStuck Status = "stuck"

	// StatusCompleted: reported, no conversion failed, every equation holds.
	StatusCompleted Status = "completed"
	// StatusPartly: reported, but some conversions failed.
	StatusPartly Status = "completed_with_failures"
	// StatusUnreconciled: reported, but an equation of the reconciliation does
	// not hold, so that the numbers are not to be trusted.
	StatusUnreconciled Status = "completed_unreconciled"
	// StatusFailed: it could not go on.
	StatusFailed Status = "failed"
	// StatusCancelled: somebody ended it.
	StatusCancelled Status = "cancelled"
	// StatusSuperseded: its source changed while it was interrupted, and
	// another run took its place.
	StatusSuperseded Status = "superseded"
)

// Statuses returns all of them, in the order of a run's life.
func Statuses() []Status {
	return []Status{StatusRequested, StatusRunning, StatusInterrupted, StatusPaused, StatusStuck, StatusCompleted,
		StatusPartly, StatusUnreconciled, StatusFailed, StatusCancelled, StatusSuperseded}
}

// Ended says whether nothing more will happen to a run with this status.
func (s Status) Ended() bool {
	switch s {
	case StatusRequested, StatusRunning, StatusInterrupted, StatusPaused, StatusStuck:
		return false
	default:
		return true
	}
}

// Phase says what a run that is under way waits for. The services work side by
// side; the phase is the first of them that is not done.
type Phase string

// The phases of a run, in their order.
const (
	PhaseExtracting Phase = "extracting" // the extractor reads the source
	PhaseScoring    Phase = "scoring"    // chunks have no result yet
	PhaseWriting    Phase = "writing"    // results are not in the database yet
	PhaseReporting  Phase = "reporting"  // the report is not out yet
)

// State is what the streams say of one run. A new one is filled by
// [State.Apply], or by [Fold] for many runs at once.
type State struct {
	ID string
	// Request is the request as accepted, before that as published; nil for
	// one that cannot be read.
	Request *ihcv1.RunRequest
	// Asked is the request as it was published first, with defaults; nil where
	// that is not in the stream any more or cannot be read.
	Asked *ihcv1.RunRequest
	// Warnings tell what is odd about the request or the source.
	Warnings []string
	// ResultsRun is the run under whose name the results are stored, where it
	// is not this run: see RunAccepted.results_run.
	ResultsRun string
	// Scoring is what scores the run, nil where that was not settled when it was
	// accepted, and Database the identity of the database it belongs to.
	Scoring  *ihcv1.Scoring
	Database string
	// MaxRequests is the budget of requests in force, 0 for none.
	MaxRequests uint64

	// Started is when the run was asked for and Ended when it ended, UTC;
	// Ended is zero for one that has not.
	Started, Ended time.Time

	// Planned is what there is to do, nil until everything is extracted. Its
	// counts are of what is to be scored, not of what was.
	Planned *ihcv1.RunExtracted
	// Counts is what became of the conversions, nil until all of it is written.
	Counts *ihcv1.Counts
	// Report is nil until it is out.
	Report *ihcv1.Report
	// Failure is nil unless the run failed or was superseded.
	Failure *ihcv1.RunFailed
	// Reason is that of a failure or a cancellation, for people.
	Reason string
	// DeadLetters is how many messages of the run are among the dead letters.
	DeadLetters int
	// Progress is what the services last told; no entry of a stream holds it.
	Progress Progress
	// Idle says that no service works on the streams, and Last is when they
	// last told something of the run.
	Idle bool
	Last time.Time

	end              Status // "" for a run that has not ended
	asked, accepted  bool
	written          bool
	paused           bool
	pausedSince      uint64 // place of the RunResumed in force when it was paused
	spent            uint64 // requests sent when it was paused
	resumed          uint64 // place of the last RunResumed
	requests         []uint64
	reportedRevision uint32
}

// Progress is what the services tell of their work on a run, each added up over
// its replicas; nil where one told nothing. The numbers of a service that was
// killed may lag behind.
type Progress struct {
	Extractor, Attributor, Writer, Reporter *ihcv1.Progress
	// ScoredChunks is how many chunks have a stored result.
	ScoredChunks uint64
	// Full says what keeps NATS from taking messages of any run, "" for nothing.
	Full string
}

// Entry is one message of the streams that says something of a run: exactly one
// of Requested, Event and Dead is set.
type Entry struct {
	// Time is when the message was stored, UTC; Sequence is its place in its
	// stream.
	Time     time.Time
	Sequence uint64

	Requested *Requested
	Event     *ihcv1.RunEvent
	Dead      *Dead
}

// Requested is a run request.
type Requested struct {
	ID string
	// Request is nil for one that cannot be read.
	Request *ihcv1.RunRequest
}

// Dead is a message among the dead letters.
type Dead struct {
	// Run is the run that the message's subject names. Requests name none.
	Run string
	// Request is the message's place among the requests and events, if it is
	// such a one, else 0.
	Request uint64
}

// RequestEntry returns the entry of a run request as it was published, sound or
// not, at time t in the given place of its stream.
func RequestEntry(data []byte, t time.Time, sequence uint64) Entry {
	r, err := Decode(data)
	q := &Requested{ID: IDOf(r, t, sequence)}
	if err == nil {
		if r, err = Complete(r); err == nil {
			q.Request = r
		}
	}
	return Entry{Time: t, Sequence: sequence, Requested: q}
}

// Apply takes the next entry of this run into the state. The first event that
// ends the run counts: whatever comes later changes nothing, but for a report
// that was made anew after a dead letter was put back. Nor does what is said of a
// run before it is asked for, or accepted: anybody can publish an event under a
// name that never was.
func (s *State) Apply(e Entry) {
	switch {
	case e.Event != nil && !s.Known() && e.Event.GetAccepted() == nil, e.Dead != nil && e.Time.Before(s.Started):
		return
	}
	s.Last = e.Time
	switch {
	case e.Requested != nil:
		s.request(e)
	case e.Event != nil && s.end == "":
		s.event(e)
	case e.Event.GetReported() != nil:
		s.reportedAnew(e.Event.GetReported())
	case e.Dead != nil:
		s.DeadLetters++
	}
}

// request takes a request. One that names a run there is already changes
// nothing.
func (s *State) request(e Entry) {
	s.requests = append(s.requests, e.Sequence)
	if s.Known() {
		return
	}
	s.asked, s.Started = true, e.Time
	s.Asked = e.Requested.Request
	s.Request, s.MaxRequests = e.Requested.Request, e.Requested.Request.GetMaxRequests()
}

func (s *State) event(e Entry) {
	switch x := e.Event.GetEvent().(type) {
	case *ihcv1.RunEvent_Accepted:
		s.accept(x.Accepted, e.Time)
	case *ihcv1.RunEvent_Extracted:
		s.Planned = x.Extracted
	case *ihcv1.RunEvent_Written:
		s.Counts, s.written = x.Written.GetCounts(), true
	case *ihcv1.RunEvent_Paused:
		s.paused, s.pausedSince, s.spent = true, x.Paused.GetSince(), max(s.spent, x.Paused.GetRequests())
	case *ihcv1.RunEvent_Resumed:
		s.resumed, s.MaxRequests = e.Sequence, x.Resumed.GetMaxRequests()
	case *ihcv1.RunEvent_Reported:
		s.Ended = e.Time
		s.report(x.Reported)
	case *ihcv1.RunEvent_Failed:
		s.Ended, s.end, s.Failure, s.Reason = e.Time, StatusFailed, x.Failed, x.Failed.GetReason()
		if x.Failed.GetSupersededBy() != "" {
			s.end = StatusSuperseded
		}
	case *ihcv1.RunEvent_Cancelled:
		s.Ended, s.end, s.Reason = e.Time, StatusCancelled, x.Cancelled.GetReason()
	}
}

func (s *State) accept(a *ihcv1.RunAccepted, t time.Time) {
	if !s.Known() {
		s.Started = t // its request is not in the stream any more
	}
	s.accepted = true
	s.Request, s.Warnings, s.ResultsRun = a.GetRequest(), a.GetWarnings(), a.GetResultsRun()
	s.Scoring, s.Database = a.GetScoring(), a.GetDatabase()
	if s.resumed == 0 {
		s.MaxRequests = s.Request.GetMaxRequests()
	}
}

func (s *State) report(r *ihcv1.RunReported) {
	s.Report, s.Counts, s.reportedRevision = r.GetReport(), r.GetReport().GetCounts(), r.GetRevision()
	s.end = Conclusion(s.Report)
}

func (s *State) reportedAnew(r *ihcv1.RunReported) {
	if s.Report != nil && r.GetRevision() > s.reportedRevision {
		s.report(r)
	}
}

// Conclusion returns the status of a run that ended with the report.
func Conclusion(r *ihcv1.Report) Status {
	for _, e := range r.GetReconciliation() {
		if !e.GetHolds() {
			return StatusUnreconciled
		}
	}
	if r.GetCounts().GetFailed() > 0 {
		return StatusPartly
	}
	return StatusCompleted
}

// Known says whether the run was ever asked for or accepted. Events alone make
// no run: anybody can publish one under a name that never was.
func (s *State) Known() bool { return s.asked || s.accepted }

// Status returns where the run is in its life.
func (s *State) Status() Status {
	switch {
	case s.end != "":
		return s.end
	case s.DeadLetters > 0:
		return StatusStuck
	case s.paused && s.pausedSince >= s.resumed:
		return StatusPaused
	case s.Idle:
		return StatusInterrupted
	case s.accepted:
		return StatusRunning
	default:
		return StatusRequested
	}
}

// Phase returns what the run waits for, "" where it is not accepted yet or has
// ended. It knows [PhaseWriting] by the chunks in s.Progress.
func (s *State) Phase() Phase {
	switch {
	case !s.accepted || s.end != "":
		return ""
	case s.written:
		return PhaseReporting
	case s.Planned == nil:
		return PhaseExtracting
	case s.Progress.ScoredChunks < uint64(s.Planned.GetChunks()):
		return PhaseScoring
	default:
		return PhaseWriting
	}
}

// SupersededBy returns the id of the run that took this one's place, "" for none.
func (s *State) SupersededBy() string { return s.Failure.GetSupersededBy() }

// Accepted says whether the extractor has begun with the run.
func (s *State) Accepted() bool { return s.accepted }

// Took returns how long the run took or, before its end, has taken by now, or
// by the last that was heard of it where nobody works on it.
func (s *State) Took(now time.Time) time.Duration {
	switch {
	case !s.Ended.IsZero():
		return s.Ended.Sub(s.Started)
	case s.Idle:
		return s.Last.Sub(s.Started)
	default:
		return now.Sub(s.Started)
	}
}

// Model returns what scored the run or, before that is known, what it was settled
// to be scored by, or else what it asks for.
func (s *State) Model() string {
	return cmp.Or(s.Report.GetModel(), s.Scoring.GetModel(), s.Request.GetModel())
}

// Done is work that was really done for a run.
type Done struct {
	// Conversions have their outcome in the database; Requests were answered by
	// the API or, as far as is known of a run that was paused, sent to it.
	Conversions, Requests uint64
}

// Done returns what was done for the run: by its report or, before there is
// one, by what the services tell.
func (s *State) Done() Done {
	if r := s.Report; r != nil {
		return Done{r.GetCounts().GetInRange(), r.GetRequests()}
	}
	return Done{s.Progress.Writer.GetConversions(), max(s.Progress.Attributor.GetRequests(), s.spent)}
}

// Fold returns the runs that the entries speak of, in the order they were asked
// for. Entries are in the order of their stream, dead letters after the others.
func Fold(entries []Entry) []*State {
	var h History
	for _, e := range entries {
		h.Apply(e)
	}
	return h.States()
}

// History is [Fold] one entry at a time. Its zero value is ready for use.
type History struct {
	runs  map[string]*State
	order []*State
}

// Apply takes the next entry and returns the run that it is of. That is nil for
// a dead letter of no run that there is, and a run not [State.Known] for an
// event that comes before its run.
func (h *History) Apply(e Entry) *State {
	var s *State
	switch {
	case e.Requested != nil:
		s = h.at(e.Requested.ID)
	case e.Event != nil:
		s = h.at(e.Event.GetRunId())
	case e.Dead != nil:
		s = h.buried(e.Dead)
	}
	if s == nil {
		return nil
	}
	known := s.Known()
	s.Apply(e)
	if !known && s.Known() {
		h.order = append(h.order, s)
	}
	return s
}

// States returns the runs that were asked for or accepted, in that order.
func (h *History) States() []*State { return h.order }

func (h *History) at(id string) *State {
	s := h.runs[id]
	if s == nil {
		s = &State{ID: id}
		if h.runs == nil {
			h.runs = map[string]*State{}
		}
		h.runs[id] = s
	}
	return s
}

// buried returns the run of a dead letter. A request is known by its place,
// since its subject names no run.
func (h *History) buried(d *Dead) *State {
	if s := h.runs[d.Run]; s != nil {
		return s
	}
	for _, s := range h.order {
		for _, place := range s.requests {
			if d.Request != 0 && place == d.Request {
				return s
			}
		}
	}
	return nil
}
