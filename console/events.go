package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/stream"
)

const (
	// tellEvery is how often a follower is told how far a run is, and so that
	// it is still there.
	tellEvery = time.Second
	// askAgain is how long a client waits that lost the connection, and how often
	// a run is looked at that rests.
	askAgain = 3 * time.Second
)

// told is what a follower of a run is told.
type told struct {
	ops.View
	// PerSecond is how many conversions get their results stored, SecondsLeft how
	// long the run takes yet; null where that is not known.
	PerSecond   *float64 `json:"per_second"`
	SecondsLeft *float64 `json:"seconds_left"`
	// Awaits is for what that waits.
	Awaits string `json:"-"`
}

func (c *console) tell(s *run.State) told {
	t := told{View: ops.ViewWhole(s)}
	p := c.paces.see(time.Now(), s)
	t.Awaits = p.Awaits
	if p.PerSecond > 0 {
		t.PerSecond = &p.PerSecond
	}
	if p.Known {
		left := p.Left.Seconds()
		t.SecondsLeft = &left
	}
	return t
}

// getEvents tells of a run as it goes, by server-sent events: those of the
// stream with their place in it as id, so that who lost the connection is told
// what he missed, and between them "progress". After "end" there is no more.
func (c *console) getEvents(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("run_id")
	if _, err := c.runs.Get(r.Context(), id); err != nil {
		return err
	}
	var seen uint64
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		n, err := strconv.ParseUint(last, 10, 64)
		if err != nil {
			return errkind.Inputf("Last-Event-ID %.20q: it is a number", last)
		}
		seen = n
	}
	select {
	case c.follow <- struct{}{}:
		defer func() { <-c.follow }()
	default:
		return refuse(http.StatusServiceUnavailable, codeBusy, "%d clients follow runs already: ask for the run from time to time in place of that", mostFollowers)
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(stopping{c.stop}, cancel)()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	f := &follower{console: c, w: w, out: http.NewResponseController(w), cancel: cancel, seen: seen}
	f.write("retry: %d\n\n", askAgain.Milliseconds())
	return f.follow(ctx, id)
}

// stopping is a context that ends with a channel.
type stopping struct{ done <-chan struct{} }

func (s stopping) Deadline() (time.Time, bool) { return time.Time{}, false }
func (s stopping) Done() <-chan struct{}       { return s.done }
func (s stopping) Value(any) any               { return nil }
func (s stopping) Err() error {
	select {
	case <-s.done:
		return context.Canceled
	default:
		return nil
	}
}

// follower writes to one client.
type follower struct {
	*console
	w      http.ResponseWriter
	out    *http.ResponseController
	cancel func()
	seen   uint64 // place of the last event that the client has
}

// follow tells of a run, and of the one that took its place, to the end. One that
// is paused or stuck is looked at until it goes on.
func (f *follower) follow(ctx context.Context, id string) error {
	for {
		s, err := f.runs.Follow(ctx, id, tellEvery, f.update)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the client is gone, or the console ends
		}
		var state *ops.StateError
		if err != nil && !errors.As(err, &state) {
			f.log.Debug("lost a run from sight", "run", id, "error", err)
			return nil // the client asks again
		}
		f.send("state", 0, f.tell(s))
		if s.Status().Ended() {
			f.send("end", 0, map[string]any{"run_id": s.ID, "status": s.Status()})
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(askAgain):
		}
	}
}

func (f *follower) update(u ops.Update) {
	if u.Event == nil {
		f.send("progress", 0, f.tell(u.State))
		return
	}
	if u.Sequence > f.seen {
		// Events of the past come at once, with no progress: they tell no pace.
		f.send(string(stream.EventOf(u.Event)), u.Sequence, told{View: ops.ViewWhole(u.State)})
		f.seen = u.Sequence
	}
}

// send sends an event, with an id where its place is given.
func (f *follower) send(name string, place uint64, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		return
	}
	id := ""
	if place > 0 {
		id = fmt.Sprintf("id: %d\n", place)
	}
	f.write("%sevent: %s\ndata: %s\n\n", id, name, data)
}

func (f *follower) write(format string, args ...any) {
	_ = f.out.SetWriteDeadline(time.Now().Add(readTime))
	_, err := fmt.Fprintf(f.w, format, args...)
	if err == nil {
		err = f.out.Flush()
	}
	if err != nil {
		f.cancel()
	}
}
