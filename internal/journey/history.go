package journey

import (
	"errors"
	"fmt"
	"io"
)

// History is one user: the journeys of its conversions, and the sessions that
// led to none. All of them are stretches of one list of sessions, so that a
// session is held once however many journeys it belongs to.
type History struct {
	User string
	// Sessions are by time and then by session id.
	Sessions []Session
	// Conversions are by time and then by id.
	Conversions []Converted
	// Rest is where the journey without conversion begins: Sessions[Rest:] come
	// after the last conversion. It is len(Sessions) where there are none.
	Rest int
}

// Converted is a conversion of a [History]: Sessions[From:To] are its journey.
type Converted struct {
	ID string
	// Time is in microseconds since 1970-01-01 00:00:00 UTC.
	Time int64
	// Revenue is in the shop's currency, as the database has it.
	Revenue  float64
	From, To int
}

// Entry is a session or, where Sale is set, a conversion as [Histories] takes it.
type Entry struct {
	User string
	Session
	Sale    bool
	Revenue float64 // of a conversion
}

// Histories calls yield with every user that next knows, in that order. next
// gives one user after another, of each the sessions by time and then the
// conversions in range by time and id, and ends with [io.EOF]; the order of the
// users is any. Sessions of the same time may come in any order. A conversion's
// sessions are those that [Walk] gives it, however many they are; the journey
// without conversion is what comes later than the last conversion, or all
// sessions of a user who has none, with the lookback counted from its last
// session. What yield gets is valid until it returns. The first error ends the
// walk and is returned.
func Histories(o Options, next func() (Entry, error), yield func(*History) error) error {
	h := &historian{o: o, names: walker{channels: map[string]string{}}, next: next}
	if err := h.advance(); err != nil {
		return err
	}
	for !h.done {
		if err := h.read(); err != nil {
			return err
		}
		if err := yield(&h.one); err != nil {
			return err
		}
	}
	return nil
}

// historian reads one user after another.
type historian struct {
	o     Options
	names walker // for the one copy of each channel name
	next  func() (Entry, error)

	entry Entry // read but not yet used
	done  bool  // there is none
	one   History
}

func (h *historian) advance() (err error) {
	if h.entry, err = h.next(); errors.Is(err, io.EOF) {
		h.done, err = true, nil
	}
	return err
}

// read makes h.one the history of the next user.
func (h *historian) read() error {
	one := &h.one
	one.User, one.Sessions, one.Conversions = h.entry.User, one.Sessions[:0], one.Conversions[:0]
	from, to := 0, 0
	for !h.done && h.entry.User == one.User {
		if h.entry.Sale {
			c := Converted{ID: h.entry.ID, Time: h.entry.Time, Revenue: h.entry.Revenue}
			for to < len(one.Sessions) && (one.Sessions[to].Time < c.Time || h.o.IncludeSimultaneous && one.Sessions[to].Time == c.Time) {
				to++
			}
			for h.o.LookbackDays > 0 && from < to && one.Sessions[from].Time < c.Time-int64(h.o.LookbackDays)*day {
				from++
			}
			c.From, c.To = from, to
			one.Conversions = append(one.Conversions, c)
		} else if err := h.addSession(); err != nil {
			return err
		}
		if err := h.advance(); err != nil {
			return err
		}
	}
	h.rest()
	return nil
}

// rest finds the journey without conversion.
func (h *historian) rest() {
	one := &h.one
	one.Rest = 0
	n := len(one.Sessions)
	if c := len(one.Conversions); c > 0 {
		for one.Rest = one.Conversions[c-1].To; one.Rest < n && one.Sessions[one.Rest].Time <= one.Conversions[c-1].Time; {
			one.Rest++
		}
	}
	if h.o.LookbackDays > 0 && n > 0 {
		for one.Rest < n && one.Sessions[one.Rest].Time < one.Sessions[n-1].Time-int64(h.o.LookbackDays)*day {
			one.Rest++
		}
	}
}

// addSession puts the entry, a session, into the history.
func (h *historian) addSession() error {
	s, all := h.entry.Session, h.one.Sessions
	s.Channel = h.names.channel(s.Channel)
	i := len(all)
	if i > 0 && all[i-1].Time > s.Time {
		return fmt.Errorf("session_sources, session_id %q: not in the order of time; is another program changing the table?", s.ID)
	}
	all = append(all, s)
	for ; i > 0 && all[i-1].Time == s.Time && all[i-1].ID > s.ID; i-- {
		all[i-1], all[i] = all[i], all[i-1]
	}
	h.one.Sessions = all
	return nil
}
