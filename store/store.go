// Package store is what the pipeline asks of a shop's database: by intent,
// stage by stage, and without SQL. Each kind of database answers in its own
// best way, in a package of its own; package storetest holds all of them to
// the same answers.
package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/internal/unit"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// Database is one shop's database, as all stages together use it. It opens
// what it needs when it is first asked, and anew where the database was
// replaced under it. It is for any number of goroutines.
//
// Errors are explained for people and classified (see package errkind): a
// damaged database or one of another kind is an input error; one that is
// missing, locked, full or may not be written an environment error.
type Database interface {
	Source
	Ledger
	Reports
	// Confirm returns nil if the run of that event accepted is the database's: if
	// the database is the one it began on, or a copy that was made since, and
	// knows the run by its name, place and time. Otherwise the error is, or wraps,
	// [ErrRefused], and says why. Runs of earlier releases name no database, and
	// belong to any.
	Confirm(ctx context.Context, a *ihcv1.RunAccepted) error
	// Check returns nil if the database is there and can be read, and
	// otherwise what keeps it from that. It does not wait for a lock for long.
	Check(ctx context.Context) error
	// Close gives back what is open and leaves the database whole: it alone is
	// all there is, if nobody else has it open. It waits for what is under way,
	// and what is asked afterwards opens it anew, so that a service can close it
	// between runs.
	Close() error
}

// Source is what the extractor, the training and the other models read.
type Source interface {
	// Validate reads the source data whole and returns what is odd about it.
	// A nil error means that the findings are complete, not that the data are
	// sound: that is told by Findings.Err. It writes nothing.
	Validate(ctx context.Context, o findings.Options) (*findings.Findings, error)
	// Rehearse returns nil if the database will take results, and otherwise what
	// keeps it from that: rights, a full disk, a lock that stays (environment
	// errors), or constraints and triggers of the users' (input errors). It
	// leaves nothing behind.
	Rehearse(ctx context.Context) error
	// Size returns about how much there is, at once, for people who wait, and how many
	// conversions have dates from start to end, both included and either empty for
	// unbounded. It writes nothing. With an error it returns what it could tell.
	Size(ctx context.Context, start, end string) (Size, error)
	// UnknownChannels returns those of the channel names that no session has.
	UnknownChannels(ctx context.Context, names []string) ([]string, error)
	// Sold returns how many of the conversions, which are different ones, are in the
	// database. There is no database where the error wraps fs.ErrNotExist.
	Sold(ctx context.Context, conversions []string) (int, error)
	// RequestTime returns how long a request took on average, answered ones alone,
	// in the last run that the API scored: 0 where there is none. It writes nothing.
	RequestTime(ctx context.Context) (time.Duration, error)
	// Shown returns what a run that began now could reuse, as [Ledger]'s Reuse does:
	// nil where there is nothing. It writes nothing.
	Shown(ctx context.Context, since time.Time) (Stored, error)
	// Journeys calls yield with the journey of every conversion in range,
	// those without sessions too, ordered by user, in an order that is the
	// database's own, by time and by conversion id, all from one state of the
	// database, and stops at its first error. Ids are told apart by their bytes. The data
	// must have passed validation. The error wraps [ErrGone] where the state that the
	// slice of o names is not there any more.
	Journeys(ctx context.Context, o journey.Options, yield func(journey.Journey) error) error
	// Slices calls do with the parts in which the journeys of o are read: o with a
	// slice each, in the order of users, all from one state of the database, which
	// is there until do returns. One is of about so many conversions, and users are
	// whole: which slices there are follows from the data alone. Where there is one
	// slice it is o itself. The context of do ends where that state is lost.
	Slices(ctx context.Context, o journey.Options, conversions int, do func(context.Context, []journey.Options) error) error
	// Histories calls yield with every user there is: the journeys of its
	// conversions in range and the sessions that led to none (see
	// [journey.Histories]), one user after another and always in the same order,
	// all from one state of the database, and stops at its first error. MaxSessions bounds nothing here: a user is
	// held whole. The data must have passed validation.
	Histories(ctx context.Context, o journey.Options, yield func(*journey.History) error) error
	// Costs returns what the sessions of these dates cost, both included, by
	// channel and date, in no order. Channels of sessions without cost are there
	// too.
	Costs(ctx context.Context, start, end string) ([]Cost, error)
}

// Cost is what the sessions of a channel and a date, UTC, YYYY-MM-DD, cost, in
// [unit.CostDecimals].
type Cost struct {
	Channel, Date string
	Cost          unit.Sum
}

// Ledger is what the writer records: which run got how far, the journal of
// scored journeys, and the users' table of attributions. Every method is one
// transaction, and doing it twice is the same as doing it once (invariant 3).
type Ledger interface {
	// Enter is the beginning of a run, before anybody hears of it: it enters the
	// run that is about to be accepted and returns the database's identity, which
	// it draws if there is none. a names no database yet. A run of that name that
	// was asked for at another place or time keeps what it gave under another
	// name, and again is true; but where it was asked for something else, the
	// error wraps [ErrRefused], and nothing is changed.
	Enter(ctx context.Context, a *ihcv1.RunAccepted) (database string, again bool, err error)
	// Accept records that a run began, with which settings, and what scores it. A
	// run that names a database has been entered, or is a replay, which this
	// enters: the error wraps [ErrRefused] where this is not its database.
	Accept(ctx context.Context, a *ihcv1.RunAccepted) error
	// Expect records how many chunks and conversions a run has. The first call
	// counts; what is stored under higher numbers is dropped, and is dropped from
	// then on: it comes from somebody who lost his work to another.
	Expect(ctx context.Context, run string, e *ihcv1.RunExtracted) error
	// End records that a run was ended before its time: status is [Failed],
	// [Cancelled], [Interrupted] or [Superseded]. What it had in the journal is dropped, or
	// kept for the run that takes its place; the users' tables stay as they were
	// (invariant 9). A run that is written stays so.
	End(ctx context.Context, run string, status Status) error
	// Store puts results into the journal that are not there yet, all of them
	// or none. The users' tables stay as they are. A result of a higher
	// revision takes the place of the chunk's earlier one. An outcome of kind
	// attributed uses what the run has adopted or may reuse. A result that was scored by
	// something else than its run is refused, and so are results of a run that
	// was accepted here and is not known any more: the error wraps [ErrRefused].
	// What scores a run is what was settled when it was accepted or, where nothing
	// was, what scored its first result.
	Store(ctx context.Context, results []*ihcv1.AttributionResult) error
	// Missing returns the numbers from 1 to chunks, in order, of which no result
	// of the run is stored.
	Missing(ctx context.Context, run string, chunks uint32) ([]uint32, error)
	// Adopt makes what a superseded run has stored available to its successor,
	// and ends the superseded one. Doing it twice is doing it once.
	Adopt(ctx context.Context, superseded, successor string) (Stored, error)
	// Reuse settles what a run may use of what earlier runs scored, and returns it:
	// what is shown of the conversions in its range, unless it was scored before
	// since or nobody knows when; a zero since takes any. Only the first call of a
	// run settles it. What is settled is kept until the run ends.
	Reuse(ctx context.Context, req *ihcv1.RunRequest, since time.Time) (Stored, error)
	// Finish returns how far a run is. Where it is complete it brings
	// attribution_customer_journey to the state of the journal, in one
	// transaction and in the order of the table's key, so that the run shows
	// whole or not at all (invariant 9): the conversions the run attributed
	// are replaced where they differ, and those that it could not attribute or
	// that are not in the database any more lose their rows.
	Finish(ctx context.Context, run string) (State, error)
}

// ErrLocked says that another process has a database to itself for now: one of the
// pipeline, as where writer and reporter are processes of their own, or another
// program.
var ErrLocked = errors.New("locked by another program or process of the pipeline")

// ErrRefused says that a database does not take a run or a result: that the
// database was replaced by another since the run began, that the name is that of
// another run, or that something else scored the result. The errors that wrap it
// are input errors, and concern one run alone.
var ErrRefused = errors.New("refused")

// ErrGone says that a state of the database is not there any more, since whoever
// held it is not.
var ErrGone = errors.New("the state of the database to be read is gone")

// Stored is what other runs have stored of scored journeys.
type Stored interface {
	// Has says whether there is an attribution of the conversion's journey with
	// that fingerprint (see [journey.Fingerprints]). It is then the successor's,
	// as soon as the writer stores an outcome of it of kind attributed.
	Has(ctx context.Context, conv string, fingerprint []byte) (bool, error)
	// For returns the same for whoever asks of the conversions that a reading of those
	// options gives, and of no others: what is stored of them may be at hand then. A
	// slice's snapshot that is gone is [ErrGone].
	For(ctx context.Context, o journey.Options) (Stored, error)
}

// Status is how far a run is by the ledger.
type Status string

// The words of the ledger. A run is running until it is one of the others.
const (
	Running   Status = "running"
	Written   Status = "written"
	Failed    Status = "failed"
	Cancelled Status = "cancelled"
	// Interrupted: whoever worked on it stopped, and nobody can go on.
	Interrupted Status = "interrupted"
	// Superseded: the source changed while the run was interrupted, and another
	// run takes its place.
	Superseded Status = "superseded"
)

// State is how far a run is.
type State struct {
	// Complete: every chunk there is is stored, and every conversion in range
	// has an outcome (invariant 4).
	Complete bool
	// Wrong says, where the chunks are complete, in which way the counts do
	// not add up; it is empty when they do.
	Wrong    string
	Counts   *ihcv1.Counts
	Requests uint64
	Model    string
	// Revision is how many chunks were scored anew after a dead letter was put
	// back.
	Revision uint32
}

// View is how a survey looks at the tables. The zero value sees what is in
// channel_reporting.
type View struct {
	// Column is one of the Dimensions, whose values stand in the place of
	// channels; "" for channels themselves.
	Column string
	// Channel keeps sums by a column to the sessions of one channel, "" for all.
	Channel string
	// Zone is the time zone by whose clocks sessions and conversions have their
	// dates, as [civil.Zone] knows it; "" for UTC. The dates of the request, which
	// names no run then, and of all that is returned are those of the zone.
	Zone string
}

// Check returns an input error where the view's column is none of those that a
// database offers beside the usual ones.
func (v View) Check(offered []string) error {
	if v.Column == "" || slices.Contains(offered, v.Column) {
		return nil
	}
	hint := "use channel, day, week, month, channel-day, " + strings.Join(offered, ", ")
	if len(offered) == 0 {
		hint = "it has none beside its own: use channel, day, week, month or channel-day"
	}
	return errkind.As(errkind.Input, &NoColumnError{v.Column, hint})
}

// NoColumnError says that a database has no column of that name to report by.
type NoColumnError struct{ Column, hint string }

func (e *NoColumnError) Error() string {
	return fmt.Sprintf("session_sources has no column %s to report by; %s", human.QuoteText(e.Column), e.hint)
}

// Reports is what the reporter asks for.
type Reports interface {
	// Rebuild replaces channel_reporting by what the four tables it is a
	// function of say now (invariant 7), in one transaction, and returns what
	// is in it and what it was made from, for the range of req and what the
	// ledger has of its run.
	Rebuild(ctx context.Context, req *ihcv1.RunRequest) (*Totals, error)
	// Survey returns what Rebuild returns, and writes nothing: the tables are
	// summed as they are now, in the way of v. A database that no run has come to
	// is an input error.
	Survey(ctx context.Context, req *ihcv1.RunRequest, v View) (*Totals, error)
	// Dimensions returns the columns of session_sources, beside those that it
	// always has, by which a report can be made: campaigns, countries.
	Dimensions(ctx context.Context) ([]string, error)
	// Conversion returns what is known of a conversion: an input error where
	// there is none of that id.
	Conversion(ctx context.Context, id string) (*Conversion, error)
	// Cell returns what the row of channel_reporting for a channel and date is
	// made from: an input error where there are no such sessions.
	Cell(ctx context.Context, channel, date string) (*Cell, error)
	// Difference returns what changed between the reports of two runs, the earlier
	// of which is From, whichever is named first. A name is a run's id, the
	// beginning of it where that is of no other run, or "last"; an empty first
	// one is the run reported before the other, an empty second one the last. That
	// a run is not known, has no report or is dropped is an input error. It writes
	// nothing.
	Difference(ctx context.Context, first, second string) (*Difference, error)
	// Runs returns the runs that the database knows, the oldest first, those whose
	// records were dropped among them as long as something of them is shown. A
	// database that no run has come to knows none.
	Runs(ctx context.Context) ([]KnownRun, error)
	// Keep drops the records of runs but for the latest so many that have a report,
	// and what came between; 0 keeps all. What is shown, and what runs under way may
	// use, stays, whichever run it is of.
	Keep(ctx context.Context, runs int) error
	// LastConversion returns the UTC time of the latest conversion, to the second,
	// and the zero time where there is none. It reads the table once.
	LastConversion(ctx context.Context) (time.Time, error)
}
