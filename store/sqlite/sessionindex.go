package sqlite

import (
	"hash/maphash"
	"sync"

	"github.com/mattn/go-sqlite3"
)

// key is what a row of channel_reporting is about.
type key struct{ channel, date string }

// indexSlots is how many sessions an index has room for, times four thirds: 48 MiB,
// whatever the size of the shop (invariant 8). More are looked up.
const indexSlots = 3 << 20

// sessionIndex knows the groups of a report by number, and which group each session
// belongs to, of as many sessions as there is room for. A session serves many
// conversions, and to look it up in the database takes longer than all else
// that a report does with an attribution.
//
// A session goes by its mark, 95 bits of hashes of its id. Sessions that have
// one in common are looked up as well. That an id of no session has the mark of
// one, and is taken for it, has a chance of about one in 10¹⁵ for ten million
// of each.
type sessionIndex struct {
	mark   func(session string) slot // with the session's mark, without a group
	mu     sync.Mutex                // held to write
	keys   []key                     // by number
	number map[key]uint32
	slots  []slot // open addressing; one without a mark is free
	free   int    // slots that may yet be used
	full   bool   // there was no room for a session
}

// slot is a session's mark, whose low part is odd, and the number of its group,
// none if the mark is that of several sessions.
type slot struct {
	high       uint64
	low, group uint32
}

func (s slot) marked(m slot) bool { return s.high == m.high && s.low == m.low }

func newSessionIndex(slots int) *sessionIndex {
	high, low := maphash.MakeSeed(), maphash.MakeSeed()
	mark := func(session string) slot {
		return slot{high: maphash.String(high, session), low: uint32(maphash.String(low, session)) | 1}
	}
	return &sessionIndex{mark: mark, number: map[key]uint32{}, slots: make([]slot, slots), free: slots / 4 * 3}
}

// slot returns where a mark is, or would be.
func (x *sessionIndex) slot(m slot) *slot {
	for i := int(m.high % uint64(len(x.slots))); ; i = (i + 1) % len(x.slots) {
		if s := &x.slots[i]; s.marked(m) || s.low == 0 {
			return s
		}
	}
}

// indexWriter writes into an index, for one goroutine.
type indexWriter struct {
	x       *sessionIndex
	numbers map[key]uint32 // of the index, those met
	entered []slot
}

func (x *sessionIndex) writer() *indexWriter { return &indexWriter{x: x, numbers: map[key]uint32{}} }

// enter notes which group a session belongs to and returns the group's number.
func (w *indexWriter) enter(session string, k key) uint32 {
	n, ok := w.numbers[k]
	if !ok {
		w.x.mu.Lock()
		if n, ok = w.x.number[k]; !ok {
			n = uint32(len(w.x.keys))
			w.x.keys = append(w.x.keys, k)
			w.x.number[k] = n
		}
		w.x.mu.Unlock()
		w.numbers[k] = n
	}
	s := w.x.mark(session)
	s.group = n
	if w.entered = append(w.entered, s); len(w.entered) == 1024 {
		w.flush()
	}
	return n
}

// flush puts what was entered into the index.
func (w *indexWriter) flush() {
	w.x.mu.Lock()
	defer w.x.mu.Unlock()
	for _, e := range w.entered {
		switch s := w.x.slot(e); {
		case s.marked(e):
			s.group = none
		case w.x.free == 0:
			w.x.full = true
		default:
			*s = e
			w.x.free--
		}
	}
	w.entered = w.entered[:0]
}

// indexReader reads an index that is not written any more, for one goroutine.
type indexReader struct {
	x      *sessionIndex
	rest   *lookup           // for sessions the index had no room for, or that share a mark
	recent map[string]uint32 // what was looked up last; none for what is not there
}

const (
	none       = ^uint32(0)
	mostRecent = 1 << 16
)

func (x *sessionIndex) reader(c *sqlite3.SQLiteConn) (*indexReader, error) {
	rest, err := newLookup(c, `SELECT channel_name||'', event_date||'' FROM session_sources WHERE session_id = ?`)
	return &indexReader{x: x, rest: rest, recent: map[string]uint32{}}, err
}

// group returns the number of a session's group, and whether there is such a
// session.
func (r *indexReader) group(session string) (number uint32, there bool, err error) {
	m := r.x.mark(session)
	switch s := r.x.slot(m); {
	case s.marked(m) && s.group != none:
		return s.group, true, nil
	case !s.marked(m) && !r.x.full:
		return 0, false, nil
	}
	n, ok := r.recent[session]
	if !ok {
		row, err := r.rest.get(session)
		if err != nil {
			return 0, false, err
		}
		n = none
		if row != nil {
			channel, _ := row[0].(string)
			date, _ := row[1].(string)
			n = r.x.number[key{channel, date}]
		}
		if len(r.recent) >= mostRecent {
			clear(r.recent)
		}
		r.recent[session] = n
	}
	return n, n != none, nil
}

func (r *indexReader) close() error { return r.rest.close() }
