package report

import (
	"hash/maphash"
	"sync"

	"github.com/mattn/go-sqlite3"
)

// key is what a row of channel_reporting is about.
type key struct{ channel, date string }

// bookSlots is how many sessions a book has room for, times four thirds: 42 MB,
// whatever the size of the shop (invariant 8). More are looked up.
const bookSlots = 1 << 21

// book knows the groups of a report by number, and which group each session
// belongs to, of as many sessions as there is room for. A session serves many
// conversions, and to look it up in the database takes longer than all else
// that a report does with an attribution.
//
// A session goes by two 64-bit hashes of its id. That two ids of ten million
// have both in common has a chance of one in 10²⁴.
type book struct {
	seeds  [2]maphash.Seed
	mu     sync.Mutex // held to write
	keys   []key      // by number
	number map[key]uint32
	marks  []mark   // open addressing; the zero mark is a free slot
	groups []uint32 // of the session in the same slot
	free   int      // slots that may yet be used
	full   bool     // there was no room for a session
}

type mark [2]uint64

func newBook(slots int) *book {
	return &book{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, number: map[key]uint32{},
		marks: make([]mark, slots), groups: make([]uint32, slots), free: slots / 4 * 3}
}

func (b *book) mark(session string) mark {
	m := mark{maphash.String(b.seeds[0], session), maphash.String(b.seeds[1], session)}
	if m == (mark{}) {
		m[0] = 1
	}
	return m
}

// slot returns where a mark is, or would be.
func (b *book) slot(m mark) int {
	i := int(m[0] % uint64(len(b.marks)))
	for b.marks[i] != m && b.marks[i] != (mark{}) {
		i = (i + 1) % len(b.marks)
	}
	return i
}

// pen writes into a book, for one goroutine.
type pen struct {
	b       *book
	numbers map[key]uint32 // of the book, those met
	marks   []mark
	groups  []uint32
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
	p.marks, p.groups = append(p.marks, p.b.mark(session)), append(p.groups, n)
	if len(p.marks) == 1024 {
		p.flush()
	}
	return n
}

// flush puts what was entered into the book.
func (p *pen) flush() {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	for i, m := range p.marks {
		if p.b.free == 0 {
			p.b.full = true
			break
		}
		s := p.b.slot(m)
		p.b.marks[s], p.b.groups[s] = m, p.groups[i]
		p.b.free--
	}
	p.marks, p.groups = p.marks[:0], p.groups[:0]
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
	if s := r.b.slot(m); r.b.marks[s] == m {
		return r.b.groups[s], true, nil
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
