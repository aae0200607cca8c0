// Package journey says what a customer journey is: for each conversion, the
// sessions of its user before it. Scoring, training, the other models and every
// explanation use this one definition; where the rows come from is the store's.
//
// Conversions and sessions are walked side by side, ordered by user and time,
// so that a session is read once however many conversions it precedes, and
// memory holds no more than one user's window of sessions (invariant 8).
package journey

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// Session is one touchpoint of a journey.
type Session struct {
	ID      string
	Channel string
	// Time is in microseconds since 1970-01-01 00:00:00 UTC.
	Time int64
	// Flags adds up 1 holder engaged, 2 closer engaged, 4 impression.
	Flags byte
}

// Journey is a conversion and the sessions before it, ordered by time and then
// by session id.
type Journey struct {
	ConvID string
	// Time of the conversion, in microseconds since 1970-01-01 00:00:00 UTC.
	Time int64
	// Sessions, where there are more than [Options.MaxSessions], is empty or the
	// latest of them. It may share memory with other journeys: do not change it.
	Sessions []Session
	// Count is how many sessions the journey has.
	Count int
	// Strategy is how a journey is scored that is too long, "" for others.
	Strategy string
	// Fingerprint is what [Fingerprints.Of] gave, where somebody asked.
	Fingerprint []byte
}

// LeftOut returns how many of the journey's sessions, its oldest, are not among
// its Sessions.
func (j *Journey) LeftOut() int { return j.Count - len(j.Sessions) }

// Options say which conversions are read and which sessions belong to them.
type Options struct {
	// Start and End are the first and last date of the conversions,
	// YYYY-MM-DD, both included, both set.
	Start, End string
	// LookbackDays bounds how long before its conversion a session may be; 0
	// sets no bound.
	LookbackDays int
	// IncludeSimultaneous admits sessions at the very time of the conversion.
	IncludeSimultaneous bool
	// MaxSessions is the length from which on a journey is only counted or, with
	// Latest, given with its latest sessions, so many.
	MaxSessions int
	Latest      bool
	// Slice bounds which users are read; the zero value is all of them.
	Slice Slice
}

// Slice is a part of the users, by the bytes of their ids, and the state of the
// database they are read from.
type Slice struct {
	// From is the first, empty for no bound; Before is the first that is too high,
	// empty for no bound.
	From, Before string
	// Snapshot is the state as the database names it, empty for what there is now.
	Snapshot string
}

const day = 24 * 3600 * 1_000_000 // microseconds

// Conversion is a conversion as a [Walk] takes it.
type Conversion struct {
	User, ID string
	Time     int64 // in microseconds since 1970-01-01 00:00:00 UTC
}

// Visit is a session as a [Walk] takes it, with its user.
type Visit struct {
	User string
	Session
}

// Walk calls yield with the journey of every conversion that next gives, in
// that order: by user, time and id. visit gives the sessions of these users and
// of no others, by user and time. Both have users in the same order, whatever
// that is, and end with [io.EOF]. Sessions of the same time may come in any
// order. The first error ends the walk and is returned; a session that no
// conversion asked for is one, since it means that the two do not fit together.
func Walk(o Options, next func() (Conversion, error), visit func() (Visit, error), yield func(Journey) error) error {
	w := &walker{o: o, visit: visit, channels: map[string]string{}}
	if err := w.advance(); err != nil {
		return err
	}
	for {
		c, err := next()
		if errors.Is(err, io.EOF) {
			return w.end()
		}
		if err != nil {
			return err
		}
		j, err := w.journey(c)
		if err != nil {
			return err
		}
		if err := yield(j); err != nil {
			return err
		}
	}
}

// walker walks the sessions while Walk walks the conversions.
type walker struct {
	o        Options
	visit    func() (Visit, error)
	channels map[string]string // one copy of each channel name

	next Visit // read but not yet used
	done bool  // there is no next

	user   string // whose window it is
	window []Session
	// Sessions in the window that fell out of memory because the journey is
	// too long with them anyway: how many, and their times where a lookback
	// may yet take them out of the window as well.
	dropped      int
	droppedTimes []int64
}

func (w *walker) journey(c Conversion) (Journey, error) {
	if c.User != w.user {
		if err := w.leave(); err != nil {
			return Journey{}, err
		}
		w.user, w.window, w.dropped, w.droppedTimes = c.User, nil, 0, nil
	}
	for !w.done && w.next.User == c.User && (w.next.Time < c.Time || w.o.IncludeSimultaneous && w.next.Time == c.Time) {
		if err := w.add(); err != nil {
			return Journey{}, err
		}
	}
	if w.o.LookbackDays > 0 {
		w.forget(c.Time - int64(w.o.LookbackDays)*day)
	}
	j := Journey{ConvID: c.ID, Time: c.Time, Count: w.dropped + len(w.window)}
	switch n := len(w.window); {
	case j.Count <= w.o.MaxSessions:
		j.Sessions = w.window[:j.Count:j.Count]
	case w.o.Latest:
		j.Sessions = w.window[max(n-w.o.MaxSessions, 0):n:n]
	}
	return j, nil
}

// leave reads past what is left of the user's sessions. What comes next is then
// of the user whose turn it is, or of a later one: users are never compared by
// an order of our own, which the database's may not be.
func (w *walker) leave() error {
	for !w.done && w.next.User == w.user {
		if err := w.advance(); err != nil {
			return err
		}
	}
	return nil
}

// end makes sure that no session was passed over.
func (w *walker) end() error {
	if err := w.leave(); err != nil || w.done {
		return err
	}
	return fmt.Errorf("session_sources, session_id %q: its user %q comes in another order than in conversions; run validate, which tells what is wrong with ids", w.next.ID, w.next.User)
}

// add moves the next session into the window.
func (w *walker) add() error {
	i := len(w.window)
	if i > 0 && w.window[i-1].Time > w.next.Time {
		return fmt.Errorf("session_sources, session_id %q: not in the order of time; is another program changing the table?", w.next.ID)
	}
	w.window = append(w.window, w.next.Session)
	for ; i > 0 && w.window[i-1].Time == w.window[i].Time && w.window[i-1].ID > w.window[i].ID; i-- {
		w.window[i-1], w.window[i] = w.window[i], w.window[i-1]
	}
	if len(w.window) > 2*w.o.MaxSessions+64 {
		w.drop(len(w.window) - w.o.MaxSessions)
	}
	return w.advance()
}

// drop takes the n oldest sessions out of memory, not out of the count.
func (w *walker) drop(n int) {
	if w.o.LookbackDays > 0 {
		for _, s := range w.window[:n] {
			w.droppedTimes = append(w.droppedTimes, s.Time)
		}
	}
	w.dropped += n
	w.window = append([]Session(nil), w.window[n:]...)
}

// forget takes sessions before the cutoff out of the window. Cutoffs grow with
// the conversions of a user, so that none of them is ever needed again.
func (w *walker) forget(cutoff int64) {
	for len(w.droppedTimes) > 0 && w.droppedTimes[0] < cutoff {
		w.droppedTimes = w.droppedTimes[1:]
		w.dropped--
	}
	i := 0
	for i < len(w.window) && w.window[i].Time < cutoff {
		i++
	}
	w.window = w.window[i:]
}

// advance reads the next session.
func (w *walker) advance() error {
	v, err := w.visit()
	if errors.Is(err, io.EOF) {
		w.done = true
		return nil
	}
	if err != nil {
		return err
	}
	v.Channel = w.channel(v.Channel)
	w.next = v
	return nil
}

// channel returns the one copy of a name. Channels are few; should they not
// be, starting over bounds what is kept.
func (w *walker) channel(name string) string {
	if one, ok := w.channels[name]; ok {
		return one
	}
	if len(w.channels) >= 4096 {
		clear(w.channels)
	}
	name = strings.Clone(name)
	w.channels[name] = name
	return name
}
