package scoring

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/ihc-pipeline/ihc/internal/ihcapi"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// Trouble that the API does not call its own (500, 504, no answer in time, a
// reply that is none) may be the API's or lie in what was sent. It lies there
// if the same journeys fail again and again while other requests are answered
// in between: a node is divided after divideAfter failures, its halves inherit
// the count, and a single journey fails for good after giveUpAfter. So each
// conversion at fault costs that many failed requests at the most, and as many
// answered ones as its chunk can be divided.
//
// Where nothing else is asked in between, a probe is: after probeAfter
// failures, each further one is followed by one small request. Where that
// fails too the API is down, and is waited for. A probe that is answered right
// after a failure tells more than an answer at some time in between: the
// failure counts as probeWeight.
const (
	probeAfter  = 3
	probeWeight = 4
	divideAfter = 10
	giveUpAfter = 20
	// strangeAfter is how many replies in a row may be none of the API's, all
	// nodes together, until the address is taken to be wrong. The breaker
	// spreads them over half a minute at least.
	strangeAfter = 10
)

// judge says what it means that the request of a node failed: a result, which
// is that the node is to be divided or that its one journey fails, or an error
// if it is to be asked again.
func (a *API) judge(ctx context.Context, chunk *ihcv1.JourneyChunk, id Node, journeys []*ihcv1.Journey, err error) (*Scored, error) {
	var e *ihcapi.Error
	if !errors.As(err, &e) || e.Kind != ihcapi.Transient && e.Kind != ihcapi.Refused {
		return nil, err
	}
	reason := e.Error()
	if e.Kind == ihcapi.Transient {
		times, err := a.blame(ctx, chunk, id, e)
		if err != nil {
			return nil, err
		}
		if times < divideAfter || times < giveUpAfter && len(journeys) == 1 {
			return nil, &Repeated{e, a.patience(id, times)}
		}
		reason = fmt.Sprintf("%s (each time, while other requests were answered)", reason)
	}
	if len(journeys) > 1 {
		a.Failures.divided(id)
		return &Scored{divided: true}, nil
	}
	got := &Scored{}
	got.fail(journeys[0], reason)
	return got, nil
}

// blame counts a failure against a node and returns how often it failed while
// others were answered.
func (a *API) blame(ctx context.Context, chunk *ihcv1.JourneyChunk, id Node, e *ihcapi.Error) (times int, err error) {
	inRow, othersAnswered := a.Failures.failed(id)
	overloaded := e.HTTPStatus == http.StatusServiceUnavailable
	if e.Outage() && (!overloaded || !othersAnswered) {
		return 0, nil
	}
	weight := 1
	if !othersAnswered && inRow >= probeAfter {
		if err := a.probe(ctx, chunk, fmt.Sprintf("%s-%d-%d-%d", probeID, id.Chunk, id.Number, inRow)); err != nil {
			return 0, err
		}
		weight = probeWeight
	}
	return a.Failures.failedAmidAnswers(id, weight), nil
}

// patience is for how many tries the next one waits. While the API answers
// others, there is no reason to wait for long.
func (a *API) patience(id Node, times int) uint64 {
	inRow := a.Failures.inRow(id)
	if times > 1 {
		inRow = min(inRow, probeAfter)
	}
	return uint64(inRow)
}

// probe asks the API for something that it can always answer: a journey of one
// session. What comes of it is noted by ask; an error is one that does not come
// from the API, or one that no request will do better than.
func (a *API) probe(ctx context.Context, chunk *ihcv1.JourneyChunk, id string) error {
	first := chunk.GetJourneys()[0]
	_, err := a.ask(ctx, chunk, "probe", []*ihcv1.Journey{{ConvId: id, SessionIds: []string{id},
		TimeDeltas: first.GetTimeDeltas()[:1], Channels: first.GetChannels()[:1], Flags: []byte{0}}})
	var e *ihcapi.Error
	if errors.As(err, &e) && (e.Kind == ihcapi.Transient || e.Kind == ihcapi.Refused) {
		return nil
	}
	return err
}

// probeID begins the name of the conversion and the session of a probe.
const probeID = "ihc-pipeline-probe"
