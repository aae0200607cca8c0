package scoring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
		got, err := a.ask(ctx, chunk, part(id.Number), journeys)
		if err != nil {
			if got, err = a.judge(ctx, chunk, id, journeys, err); err != nil {
				return err
			}
		}
		if !got.divided {
			a.Failures.settled(id)
		}
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

// ask sends one request and holds the reply against it. part tells what it is
// of the chunk, "" for all.
func (a *API) ask(ctx context.Context, chunk *ihcv1.JourneyChunk, part string, journeys []*ihcv1.Journey) (*Scored, error) {
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
	strange := a.Failures.heard(err == nil || e != nil && e.Kind == ihcapi.Refused, e != nil && e.NoReply)
	if e != nil && e.NoReply && strange >= strangeAfter {
		a.Failures.forgive()
		return nil, &ihcapi.Error{Kind: ihcapi.Unexpected, HTTPStatus: e.HTTPStatus, StatusCode: e.StatusCode,
			Reason: fmt.Sprintf("%s (%d replies like that in a row; is IHC_API_URL right, or does a proxy or a sign-in page stand before it?)", e.Reason, strange)}
	}
	if err != nil {
		return nil, err
	}
	done, strangers := reconcile(journeys, reply)
	done.Seconds = r.Seconds
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

// part names the node of a chunk's bisection.
func part(number uint32) string {
	if number == 1 {
		return ""
	}
	return "part-" + strconv.FormatUint(uint64(number), 10)
}

// save keeps a copy of a request's body, which never has the key (invariant 6).
func (a *API) save(chunk *ihcv1.JourneyChunk, part string, body []byte) error {
	if a.Payloads == "" {
		return nil
	}
	if err := makeWithin(a.Payloads, chunk.GetRunId()); err != nil {
		return errkind.Environmentf("cannot save request payloads: %w", err)
	}
	name := fmt.Sprintf("chunk-%06d", chunk.GetChunk())
	if part != "" {
		name += "-" + part
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
