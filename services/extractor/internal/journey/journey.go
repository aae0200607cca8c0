// Package journey builds customer journeys out of the source database: for
// each conversion in range, the sessions of its user before it.
//
// Both tables are read once, side by side, ordered by user and time, so that a
// session is read once however many conversions it precedes, and memory holds
// no more than one user's window of sessions (invariant 8).
package journey

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mattn/go-sqlite3"
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
	// Sessions is empty where there are more than [Options.MaxSessions].
	// It may share memory with other journeys: do not change it.
	Sessions []Session
	// Count is how many sessions the journey has.
	Count int
}

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
	// MaxSessions is the length from which on a journey is only counted.
	MaxSessions int
}

// Indices are what reading in order needs. They stay in the database, under
// names of the pipeline's own. That of the sessions holds all that is read of
// them: their rows lie in another order, and to go there for each takes longer
// than all else.
var Indices = []string{
	`CREATE INDEX IF NOT EXISTS pipeline_sessions_by_user ON session_sources (user_id COLLATE BINARY, event_date COLLATE BINARY, event_time COLLATE BINARY,
		session_id, channel_name, holder_engagement, closer_engagement, impression_interaction)`,
	`CREATE INDEX IF NOT EXISTS pipeline_conversions_by_user ON conversions (user_id COLLATE BINARY, conv_date COLLATE BINARY, conv_time COLLATE BINARY, conv_id COLLATE BINARY)`,
}

// Times compare as text because validation has made sure of their form; ties
// between forms of the same time (12:00:00 and 12:00:00.0) are put right here
// by [reader.add]. Concatenation hides declared column types like DATE from
// the driver, which would convert them.
const (
	conversionsQuery = `SELECT user_id||'', conv_id||'', conv_date||' '||conv_time FROM conversions
		WHERE conv_date BETWEEN ?1 AND ?2
		ORDER BY user_id COLLATE BINARY, conv_date COLLATE BINARY, conv_time COLLATE BINARY, conv_id COLLATE BINARY`
	sessionsQuery = `SELECT user_id||'', session_id||'', event_date||' '||event_time, channel_name||'',
		holder_engagement + 2*closer_engagement + 4*impression_interaction FROM session_sources
		WHERE user_id COLLATE BINARY IN (SELECT user_id FROM conversions WHERE conv_date BETWEEN ?1 AND ?2)
		ORDER BY user_id COLLATE BINARY, event_date COLLATE BINARY, event_time COLLATE BINARY`
)

const day = 24 * 3600 * 1_000_000 // microseconds

// Read calls yield with the journey of every conversion in range, those
// without sessions too, ordered by user, time and conversion id, and stops at
// its first error. It reads from one snapshot of the database if conn is in a
// transaction. The data must have passed validation.
func Read(ctx context.Context, conn *sqlite3.SQLiteConn, o Options, yield func(Journey) error) (err error) {
	dates := []driver.Value{o.Start, o.End}
	conversions, err := conn.Query(conversionsQuery, dates)
	if err != nil {
		return fmt.Errorf("read conversions: %w", err)
	}
	defer func() { err = errors.Join(err, conversions.Close()) }()
	sessions, err := conn.Query(sessionsQuery, dates)
	if err != nil {
		return fmt.Errorf("read session_sources: %w", err)
	}
	defer func() { err = errors.Join(err, sessions.Close()) }()

	r := &reader{o: o, sessions: sessions, row: make([]driver.Value, 5), channels: map[string]string{}}
	if err := r.advance(); err != nil {
		return err
	}
	row := make([]driver.Value, 3)
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		switch err := conversions.Next(row); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read conversions: %w", err)
		}
		user, id, text := text(row[0]), text(row[1]), text(row[2])
		at, err := ParseTime(text)
		if err != nil {
			return fmt.Errorf("conversions, conv_id %q: %w", id, err)
		}
		j, err := r.journey(user, id, at)
		if err != nil {
			return err
		}
		if err := yield(j); err != nil {
			return err
		}
	}
}

// text returns a column's text, also where the schema's author stored bytes.
func text(v driver.Value) string {
	switch v := v.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	default:
		return fmt.Sprint(v)
	}
}

// reader walks the sessions while Read walks the conversions.
type reader struct {
	o        Options
	sessions driver.Rows
	row      []driver.Value
	channels map[string]string // one copy of each channel name

	nextUser string // of next, the session read but not yet used
	next     Session
	done     bool

	user   string // whose window it is
	window []Session
	// Sessions in the window that fell out of memory because the journey is
	// too long with them anyway: how many, and their times where a lookback
	// may yet take them out of the window as well.
	dropped      int
	droppedTimes []int64
}

func (r *reader) journey(user, conv string, at int64) (Journey, error) {
	if user != r.user {
		r.user, r.window, r.dropped, r.droppedTimes = user, nil, 0, nil
	}
	for !r.done && r.nextUser < user {
		if err := r.advance(); err != nil {
			return Journey{}, err
		}
	}
	for !r.done && r.nextUser == user && (r.next.Time < at || r.o.IncludeSimultaneous && r.next.Time == at) {
		if err := r.add(); err != nil {
			return Journey{}, err
		}
	}
	if r.o.LookbackDays > 0 {
		r.forget(at - int64(r.o.LookbackDays)*day)
	}
	count := r.dropped + len(r.window)
	if count > r.o.MaxSessions {
		return Journey{ConvID: conv, Count: count}, nil
	}
	return Journey{ConvID: conv, Sessions: r.window[:count:count], Count: count}, nil
}

// add moves the next session into the window.
func (r *reader) add() error {
	i := len(r.window)
	if i > 0 && r.window[i-1].Time > r.next.Time {
		return fmt.Errorf("session_sources, session_id %q: not in the order of time; is another program changing the table?", r.next.ID)
	}
	r.window = append(r.window, r.next)
	for ; i > 0 && r.window[i-1].Time == r.window[i].Time && r.window[i-1].ID > r.window[i].ID; i-- {
		r.window[i-1], r.window[i] = r.window[i], r.window[i-1]
	}
	if len(r.window) > 2*r.o.MaxSessions+64 {
		r.drop(len(r.window) - r.o.MaxSessions)
	}
	return r.advance()
}

// drop takes the n oldest sessions out of memory, not out of the count.
func (r *reader) drop(n int) {
	if r.o.LookbackDays > 0 {
		for _, s := range r.window[:n] {
			r.droppedTimes = append(r.droppedTimes, s.Time)
		}
	}
	r.dropped += n
	r.window = append([]Session(nil), r.window[n:]...)
}

// forget takes sessions before the cutoff out of the window. Cutoffs grow with
// the conversions of a user, so that none of them is ever needed again.
func (r *reader) forget(cutoff int64) {
	for len(r.droppedTimes) > 0 && r.droppedTimes[0] < cutoff {
		r.droppedTimes = r.droppedTimes[1:]
		r.dropped--
	}
	i := 0
	for i < len(r.window) && r.window[i].Time < cutoff {
		i++
	}
	r.window = r.window[i:]
}

// advance reads the next session.
func (r *reader) advance() error {
	switch err := r.sessions.Next(r.row); {
	case errors.Is(err, io.EOF):
		r.done = true
		return nil
	case err != nil:
		return fmt.Errorf("read session_sources: %w", err)
	}
	id := text(r.row[1])
	at, err := ParseTime(text(r.row[2]))
	if err != nil {
		return fmt.Errorf("session_sources, session_id %q: %w", id, err)
	}
	flags, ok := r.row[4].(int64)
	if !ok || flags < 0 || flags > 7 {
		return fmt.Errorf("session_sources, session_id %q: engagement flags other than 0 and 1", id)
	}
	if user := text(r.row[0]); user != r.nextUser {
		r.nextUser = user
	}
	r.next = Session{ID: id, Channel: r.channel(text(r.row[3])), Time: at, Flags: byte(flags)}
	return nil
}

// channel returns the one copy of a name. Channels are few; should they not
// be, starting over bounds what is kept.
func (r *reader) channel(name string) string {
	if one, ok := r.channels[name]; ok {
		return one
	}
	if len(r.channels) >= 4096 {
		clear(r.channels)
	}
	name = strings.Clone(name)
	r.channels[name] = name
	return name
}
