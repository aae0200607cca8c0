package scoring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/time/rate"

	"github.com/ihc-pipeline/ihc/internal/atomicfile"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ihcapi"
	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
	"github.com/ihc-pipeline/ihc/internal/unit"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// Calls is what all runs of one attributor share when they ask the API.
type Calls struct {
	Client *ihcapi.Client
	// Limiter bounds requests a second; nil sets no bound.
	Limiter *rate.Limiter
	Breaker *Breaker
	// Failures counts the failures of each node of a chunk's bisection.
	Failures *FailureTracker
	// Parts keeps the results that the nodes of divided chunks gave so far.
	Parts Parts
	// Unanswered, when not nil, is asked right before each request is sent; an
	// error keeps it from being sent, and is returned.
	Unanswered func(context.Context, *ihcv1.JourneyChunk) error
	// Payloads is a directory that gets a copy of each request's body, or "".
	Payloads string
	Observe  func(Request)
	Log      *slog.Logger
}

// Request is what became of one request, for the metrics.
type Request struct {
	// Status is the one that counts, or 0 where no reply came.
	Status   int
	Seconds  float64
	Sessions int
}

// API scores with the IHC API.
type API struct {
	*Calls
	ConvTypeID     string
	Redistribution *ihcmodel.Redistribution
	// Spend is asked before each request whether it may be sent; nil allows
	// any. Score returns its error.
	Spend func(context.Context) error
}

// Name returns "api".
func (a *API) Name() string { return "api" }

// A transient failure is returned, to be tried again later. If the same
// journeys fail this often while other requests are answered in between, the
// trouble is taken to lie in them: a node is divided after divideAfter
// failures, and a single journey fails for good after giveUpAfter.
const (
	divideAfter = 10
	giveUpAfter = 20
)

// Score sends the chunk in one request. A chunk that the API refuses is
// divided until the conversion it refuses is alone, between conversions and
// never within one (invariant 2), so that this one fails and the others are
// attributed. The result of each [Node] is kept until all have one, so that
// trouble with one node does not have the others paid again. Errors are
// *[ihcapi.Error], which concern the API and not the chunk (see
// [ihcapi.Kind]), in a *[Repeated], or those of Parts.
func (a *API) Score(ctx context.Context, chunk *ihcv1.JourneyChunk) (*Scored, error) {
	done := &Scored{}
	resumed := true // false once the root is found to have no kept result
	root := Node{chunk.GetRunId(), chunk.GetChunk(), chunk.GetRevision(), 1}
	var score func(id Node, journeys []*ihcv1.Journey) error
	score = func(id Node, journeys []*ihcv1.Journey) error {
		if resumed {
			kept, err := a.Parts.Part(ctx, id)
			if err != nil {
				return err
			}
			if kept != nil {
				return done.take(kept, id, journeys, score)
			}
			resumed = id != root
		}
		got, err := a.ask(ctx, chunk, id.Number, journeys)
		if err != nil {
			lies, reason := a.liesIn(id, err, len(journeys))
			switch {
			case !lies:
				return &Repeated{err, a.Failures.failed(id)}
			case len(journeys) == 1:
				got = &Scored{}
				got.fail(journeys[0], reason)
			default:
				got = &Scored{divided: true}
			}
		}
		a.Failures.answered(id)
		if id == root && !got.divided {
			*done = *got // the usual case: one request, one answer
			return nil
		}
		if err := a.Parts.KeepPart(ctx, id, got.message(id)); err != nil {
			return err
		}
		return done.take(got.message(id), id, journeys, score)
	}
	return done, score(root, chunk.GetJourneys())
}

// liesIn tells whether err is about the journeys sent rather than about the
// API, and the reason to record for them.
func (a *API) liesIn(id Node, err error, journeys int) (bool, string) {
	var e *ihcapi.Error
	if !errors.As(err, &e) {
		return false, ""
	}
	if e.Kind == ihcapi.Refused {
		return true, e.Error()
	}
	if e.Kind != ihcapi.Transient || e.HTTPStatus == 0 || e.HTTPStatus == http.StatusTooManyRequests {
		return false, ""
	}
	times := a.Failures.failedAmidAnswers(id)
	if times >= giveUpAfter || times >= divideAfter && journeys > 1 {
		return true, fmt.Sprintf("%v (each of %d times, while other requests were answered)", e, times)
	}
	return false, ""
}

// ask sends one request and holds the reply against it.
func (a *API) ask(ctx context.Context, chunk *ihcv1.JourneyChunk, part uint32, journeys []*ihcv1.Journey) (*Scored, error) {
	rows := sessions(chunk, journeys)
	body := ihcapi.AppendRequest(nil, rows, a.Redistribution)
	if err := a.save(chunk, part, body); err != nil {
		return nil, err
	}
	if a.Limiter != nil {
		if err := a.Limiter.Wait(ctx); err != nil {
			return nil, err
		}
	}
	if a.Spend != nil {
		if err := a.Spend(ctx); err != nil {
			return nil, err
		}
	}
	if a.Unanswered != nil {
		if err := a.Unanswered(ctx, chunk); err != nil {
			return nil, err
		}
	}
	start := time.Now()
	reply, err := a.Client.Compute(ctx, a.ConvTypeID, body, len(rows))
	r := Request{Seconds: time.Since(start).Seconds(), Sessions: len(rows)}
	var e *ihcapi.Error
	switch {
	case err == nil:
		r.Status = reply.StatusCode
	case errors.As(err, &e):
		r.Status = max(e.HTTPStatus, e.StatusCode)
	}
	a.Observe(r)
	a.Breaker.Note(err)
	if err != nil {
		return nil, err
	}
	done, strangers := reconcile(journeys, reply)
	if len(strangers) > 0 {
		a.Log.Warn("the IHC API's reply has rows of conversions that were not asked about; they are left out",
			"run", chunk.GetRunId(), "chunk", chunk.GetChunk(), "rows", len(strangers), "first", a.Client.Shown(strangers[0]))
	}
	return done, nil
}

// sessions writes journeys as rows of a request.
func sessions(chunk *ihcv1.JourneyChunk, journeys []*ihcv1.Journey) []ihcapi.Session {
	n := 0
	for _, j := range journeys {
		n += len(j.GetSessionIds())
	}
	rows := make([]ihcapi.Session, 0, n)
	for _, j := range journeys {
		at := int64(0)
		for k, id := range j.GetSessionIds() {
			at += j.GetTimeDeltas()[k]
			engaged := unit.Engagement(j.GetFlags()[k])
			rows = append(rows, ihcapi.Session{ConversionID: j.GetConvId(), SessionID: id, TimeMicros: at,
				Channel: chunk.GetChannels()[j.GetChannels()[k]],
				Holder:  engaged.Holder(), Closer: engaged.Closer(), Impression: engaged.Impression(),
				Conversion: k == len(j.GetSessionIds())-1})
		}
	}
	return rows
}

// save keeps a copy of a request's body, which never has the key (invariant 6).
func (a *API) save(chunk *ihcv1.JourneyChunk, part uint32, body []byte) error {
	if a.Payloads == "" {
		return nil
	}
	if err := makeWithin(a.Payloads, chunk.GetRunId()); err != nil {
		return errkind.Environmentf("cannot save request payloads: %w", err)
	}
	name := fmt.Sprintf("chunk-%06d", chunk.GetChunk())
	if part > 1 {
		name += "-part-" + strconv.FormatUint(uint64(part), 10)
	}
	if err := atomicfile.WriteBytes(filepath.Join(a.Payloads, chunk.GetRunId(), name+".json"), 0o644, body); err != nil {
		return fmt.Errorf("request payloads: %w", err)
	}
	return nil
}

// makeWithin makes a directory in another, and refuses a link there that leads
// out of it.
func makeWithin(parent, name string) error {
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(parent)
	if err != nil {
		return err
	}
	if err = root.MkdirAll(name, 0o755); err == nil {
		_, err = root.Stat(name) // which follows no link to the outside
	}
	return errors.Join(err, root.Close())
}
