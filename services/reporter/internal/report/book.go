package report

import (
	"hash/maphash"
	"sync"

	"github.com/mattn/go-sqlite3"
)

// key is what a row of channel_reporting is about.
type key struct{ channel, date string }

// bookSlots is how many sessions a book has room for, times four thirds: 48 MiB,
// whatever the size of the shop (invariant 8). More are looked up.
const bookSlots = 3 << 20

// book knows the groups of a report by number, and which group each session
// belongs to, of as many sessions as there is room for. A session serves many
// conversions, and to look it up in the database takes longer than all else
// that a report does with an attribution.
//
// A session goes by 95 bits of hashes of its id. That two ids of ten million
// have them in common has a chance of about one in 10¹⁵.
type book struct {
	seeds  [2]maphash.Seed
	mu     sync.Mutex // held to write
	keys   []key      // by number
	number map[key]uint32
	slots  []slot // open addressing; one without a mark is free
	free   int    // slots that may yet be used
	full   bool   // there was no room for a session
}

// slot is a session's mark, whose low part is odd, and the number of its group.
type slot struct {
	high       uint64
	low, group uint32
}

func (s slot) marked(m slot) bool { return s.high == m.high && s.low == m.low }

func newBook(slots int) *book {
	return &book{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, number: map[key]uint32{},
		slots: make([]slot, slots), free: slots / 4 * 3}
}

// mark returns a slot with a session's mark, without a group.
func (b *book) mark(session string) slot {
	return slot{high: maphash.String(b.seeds[0], session), low: uint32(maphash.String(b.seeds[1], session)) | 1}
}

// slot returns where a mark is, or would be.
func (b *book) slot(m slot) *slot {
	for i := int(m.high % uint64(len(b.slots))); ; i = (i + 1) % len(b.slots) {
		if s := &b.slots[i]; s.marked(m) || s.low == 0 {
			return s
		}
	}
}

// pen writes into a book, for one goroutine.
type pen struct {
	b       *book
	numbers map[key]uint32 // of the book, those met
	entered []slot
}

func (b *book) pen() *pen { return &pen{b: b, numbers: map[key]uint32{}} }

// enter notes which group a session belongs to and returns the group's number.
func (p *pen) enter(session string, k key) uint32 {
	n, ok := p.numbers[k]
	if !ok {
		p.b.mu.Lock()
		if n, ok = p.b.number[k]; !ok {
			n = uint32(len(p.b.keys))
			p.b.keys = append(p.b.keys, k)
			p.b.number[k] = n
		}
		p.b.mu.Unlock()
		p.numbers[k] = n
	}
	s := p.b.mark(session)
	s.group = n
	if p.entered = append(p.entered, s); len(p.entered) == 1024 {
		p.flush()
	}
	return n
}

// flush puts what was entered into the book.
func (p *pen) flush() {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	for _, s := range p.entered {
		if p.b.free == 0 {
			p.b.full = true
			break
		}
		*p.b.slot(s) = s
		p.b.free--
	}
	p.entered = p.entered[:0]
}

// bookReader reads a book that is not written any more, for one goroutine.
type bookReader struct {
	b      *book
	rest   *lookup           // for sessions the book had no room for
	recent map[string]uint32 // what was looked up last; none for what is not there
}

const (
	none       = ^uint32(0)
	mostRecent = 1 << 16
)

func (b *book) reader(c *sqlite3.SQLiteConn) (*bookReader, error) {
	rest, err := newLookup(c, `SELECT channel_name||'', event_date||'' FROM session_sources WHERE session_id = ?`)
	return &bookReader{b: b, rest: rest, recent: map[string]uint32{}}, err
}

// group returns the number of a session's group, and whether there is such a
// session.
func (r *bookReader) group(session string) (number uint32, there bool, err error) {
	m := r.b.mark(session)
	if s := r.b.slot(m); s.marked(m) {
		return s.group, true, nil
	}
	if !r.b.full {
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
			n = r.b.number[key{channel, date}]
		}
		if len(r.recent) >= mostRecent {
			clear(r.recent)
		}
		r.recent[session] = n
	}
	return n, n != none, nil
}

func (r *bookReader) close() error { return r.rest.close() }
