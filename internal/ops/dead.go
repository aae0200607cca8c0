package ops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// DeadLetters returns the dead letters of a run, or all of them for "", oldest
// first.
func (r *Runs) DeadLetters(ctx context.Context, id string) ([]stream.DeadLetter, error) {
	switch {
	case id == "":
		id = "*"
	case !run.ValidID(id):
		return nil, errkind.Inputf("%q is no run id", id)
	}
	var letters []stream.DeadLetter
	err := r.client.DeadLetters(ctx, id, func(d stream.DeadLetter) error {
		letters = append(letters, d)
		return nil
	})
	return letters, err
}

// DeadLetter returns the dead letter with a number. That there is none is an
// input fault with [ErrUnknown].
func (r *Runs) DeadLetter(ctx context.Context, number uint64) (stream.DeadLetter, error) {
	d, err := r.client.DeadLetter(ctx, number)
	if errors.Is(err, stream.ErrNotFound) {
		return d, unknownError{errkind.Inputf("there is no dead letter %d; `ihc dead ls` lists them", number)}
	}
	return d, err
}

// unknownError is [ErrUnknown] in other words.
type unknownError struct{ error }

func (e unknownError) Unwrap() []error { return []error{e.error, ErrUnknown} }

// Left is a dead letter that was not put back, since nothing would be done
// about it: its run has ended before its time.
type Left struct {
	stream.DeadLetter
	// Status is that of its run: failed, cancelled or superseded.
	Status run.Status
}

// Requeue publishes dead letters once more, as new messages where they came
// from, and removes them. It returns how many, and those it left.
func (r *Runs) Requeue(ctx context.Context, letters []stream.DeadLetter) (put int, left []Left, err error) {
	entries, err := r.entries(ctx, "*")
	if err != nil {
		return 0, nil, err
	}
	var h run.History
	status := map[string]run.Status{} // those of events without a run, too: services heed them
	for _, e := range entries {
		if s := h.Apply(e); s != nil {
			status[s.ID] = s.Status()
		}
	}
	for _, d := range letters {
		switch s := status[d.Run]; s {
		case run.StatusFailed, run.StatusCancelled, run.StatusSuperseded:
			left = append(left, Left{d, s})
			continue
		}
		if err := r.client.Requeue(ctx, d); err != nil {
			return put, left, err
		}
		put++
	}
	return put, left, nil
}

// Purge removes dead letters for good.
func (r *Runs) Purge(ctx context.Context, letters []stream.DeadLetter) error {
	for _, d := range letters {
		if err := r.client.Purge(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// Message returns the message that a dead letter is as JSON. The error says why
// it cannot be decoded.
func Message(d stream.DeadLetter) (json.RawMessage, error) {
	var m proto.Message
	switch {
	case d.Subject == stream.SubjectRunRequested:
		r, err := run.Decode(d.Data)
		if err != nil {
			return nil, err
		}
		return run.JSON(r, "")
	case d.Stream == stream.Runs:
		m = &ihcv1.RunEvent{}
	case d.Stream == stream.Journeys:
		m = &ihcv1.JourneyChunk{}
	case d.Stream == stream.Results:
		m = &ihcv1.AttributionResult{}
	default:
		return nil, fmt.Errorf("nothing is known of stream %q", d.Stream)
	}
	if err := proto.Unmarshal(d.Data, m); err != nil {
		return nil, err
	}
	return run.JSON(m, "")
}

func deadEntry(d stream.DeadLetter) run.Entry {
	letter := &run.Dead{Run: d.Run}
	if d.Stream == stream.Runs {
		letter.Request, _ = strconv.ParseUint(d.OriginSequence, 10, 64)
	}
	return run.Entry{Time: d.Time, Sequence: d.Sequence, Dead: letter}
}
