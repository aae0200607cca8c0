package sqlite

import (
	"errors"
	"hash/maphash"
	"sync"
)

// key is what a row of channel_reporting is about.
type key struct{ channel, date string }

// slotBytes is what a slot takes. An index has 32 MiB of them, room for two
// million sessions, and for a larger shop up to 128 MiB. One that is larger
// still is read in several passes (invariant 8).
const (
	slotBytes = 12
	fewSlots  = (32 << 20) / slotBytes
	mostSlots = (128 << 20) / slotBytes
)

// sessionIndex knows the groups of a report by number, and which group each
// session of one pass belongs to. A session serves many conversions, and to
// look it up in the database takes longer than all else that a report does with
// an attribution.
//
// A session goes by a hash of 64 bits. Two sessions that have it in common are
// noticed when the second is entered, see [errCollision]. That one which is not
// there is taken for one that is has a chance of one in 10¹² for each.
type sessionIndex struct {
	hash         func(session string) uint64
	pass, passes uint64 // it holds the sessions whose hash leaves this rest

	mu     sync.Mutex // held to write
	keys   []key      // by number
	number map[key]uint32

	slots []slot // open addressing by hash; one without a mark is free
	free  int    // slots, of which one stays free, so that looking has an end
	unmap func() // gives back the slots
}

// slot is a session's hash, in halves so that a slot takes no more room than it
// needs, and the number of its group.
type slot struct{ high, low, group uint32 }

func (s *slot) mark() uint64 { return uint64(s.high)<<32 | uint64(s.low) }

// Why an index cannot take a session. Another index, with another hash and more
// passes, can.
var (
	errCollision = errors.New("two sessions of session_sources have the same id")
	errCrowded   = errors.New("the hashes of sessions are too alike")
)

// newSessionIndex returns an index for a shop of so many sessions, ready for
// the first pass. It has few slots, or as many as the shop needs up to most;
// for each try before, it takes the fewest passes once more.
func newSessionIndex(sessions int64, few, most, tries int, hash func(string) uint64) *sessionIndex {
	slots := max(few, int(min(sessions/4*5+2, int64(most))), 2) // one in five free, so that slots are found soon
	room := int64(max(slots/5*4, 1))
	x := &sessionIndex{hash: hash, passes: uint64(max((sessions+room-1)/room, 1)) * uint64(tries+1), number: map[key]uint32{}, free: slots}
	x.slots, x.unmap = newSlots(slots)
	return x
}

// close gives back the slots. What is known of groups stays.
func (x *sessionIndex) close() {
	x.slots = nil
	x.unmap()
}

// newHash returns a hash of its own.
func newHash() func(string) uint64 {
	seed := maphash.MakeSeed()
	return func(session string) uint64 { return maphash.String(seed, session) }
}

// next begins the next pass and says whether there is one.
func (x *sessionIndex) next() bool {
	if x.pass++; x.pass == x.passes {
		return false
	}
	clear(x.slots)
	x.free = len(x.slots)
	return true
}

// mark returns a session's hash, and whether the session is of this pass.
func (x *sessionIndex) mark(session string) (mark uint64, mine bool) {
	mark = max(x.hash(session), 1)
	return mark, x.passes == 1 || uint64(uint32(mark))%x.passes == x.pass
}

// slot returns where a hash is, or would be.
func (x *sessionIndex) slot(mark uint64) *slot {
	// The upper half of the hash, scaled: to divide takes longer.
	for i := int(mark >> 32 * uint64(len(x.slots)) >> 32); ; {
		s := &x.slots[i]
		if m := s.mark(); m == mark || m == 0 {
			return s
		}
		if i++; i == len(x.slots) {
			i = 0
		}
	}
}

// group returns the number of a session's group, and whether there is such a
// session in this pass. Nobody may write meanwhile.
func (x *sessionIndex) group(mark uint64) (number uint32, there bool) {
	s := x.slot(mark)
	return s.group, s.mark() == mark
}

// indexWriter writes into an index, for one goroutine.
type indexWriter struct {
	x       *sessionIndex
	numbers map[key]uint32 // of the index, those met
	entered []entry        // not yet in the index
}

type entry struct {
	mark  uint64
	group uint32
}

func (x *sessionIndex) writer() *indexWriter {
	return &indexWriter{x: x, numbers: map[key]uint32{}}
}

// group returns the number of a group.
func (w *indexWriter) group(k key) uint32 {
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
	return n
}

// enter notes which group a session belongs to.
func (w *indexWriter) enter(mark uint64, group uint32) error {
	if w.entered = append(w.entered, entry{mark, group}); len(w.entered) < 1024 {
		return nil
	}
	return w.flush()
}

// flush puts what was entered into the index.
func (w *indexWriter) flush() error {
	w.x.mu.Lock()
	defer w.x.mu.Unlock()
	for _, e := range w.entered {
		s := w.x.slot(e.mark)
		if s.mark() != 0 {
			return errCollision
		}
		if x := w.x; x.free == 1 {
			return errCrowded
		}
		w.x.free--
		*s = slot{high: uint32(e.mark >> 32), low: uint32(e.mark), group: e.group}
	}
	w.entered = w.entered[:0]
	return nil
}
