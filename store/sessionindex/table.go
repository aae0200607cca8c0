package sessionindex

import (
	"errors"
	"hash/maphash"
)

// Hash gives a text a number of 64 bits, the same text the same number.
type Hash func(text string) uint64

// NewHash returns a hash of its own.
func NewHash() Hash {
	seed := maphash.MakeSeed()
	return func(text string) uint64 { return maphash.String(seed, text) }
}

// Mark returns what an id goes by in a [Table], which is never 0. The text is of no
// use after that, so that it may lie in memory that is written anew.
func (h Hash) Mark(id string) uint64 { return max(h(id), 1) }

// Table holds a number for each of many ids, by the id's mark. Any number of
// goroutines may look ids up at the same time while none is entered.
type Table struct {
	slots []slot // open addressing by mark; one without a mark is free
	free  int    // slots, of which one stays free, so that looking has an end
	unmap func() // gives back the slots
}

// slot is an id's mark, in halves so that a slot takes no more room than it needs,
// and its number.
type slot struct{ high, low, number uint32 }

func (s *slot) mark() uint64 { return uint64(s.high)<<32 | uint64(s.low) }

// SlotBytes is what a slot takes.
const SlotBytes = 12

// Why a table cannot take an id. Another, with another hash and more room, can.
var (
	ErrCollision = errors.New("two ids have the same hash")
	ErrCrowded   = errors.New("the hashes of ids are too alike")
)

// NewTable returns an empty table with room for so many ids, which [Table.Close]
// gives back.
func NewTable(ids int) *Table { return newTable(slotsFor(ids)) }

// slotsFor returns how many slots so many ids take: of five, one stays free, so that
// slots are found soon.
func slotsFor(ids int) int { return ids + ids/4 + 2 }

func newTable(slots int) *Table {
	t := &Table{free: slots}
	t.slots, t.unmap = newSlots(slots)
	return t
}

// Close gives back the memory of the table, which is of no use after that.
func (t *Table) Close() {
	if t.unmap != nil {
		t.unmap()
	}
	t.slots, t.unmap = nil, nil
}

// Clear forgets all ids.
func (t *Table) Clear() {
	clear(t.slots)
	t.free = len(t.slots)
}

// room returns how many more ids the table can take and still find soon.
func (t *Table) room() int { return max(t.free-len(t.slots)/5-1, 0) }

// slot returns where a mark is, or would be.
func (t *Table) slot(mark uint64) *slot {
	// The upper half of the mark, scaled: to divide takes longer.
	for i := int(mark >> 32 * uint64(len(t.slots)) >> 32); ; {
		s := &t.slots[i]
		if m := s.mark(); m == mark || m == 0 {
			return s
		}
		if i++; i == len(t.slots) {
			i = 0
		}
	}
}

// Find returns the number of an id, and whether the table has it.
func (t *Table) Find(mark uint64) (number uint32, there bool) {
	s := t.slot(mark)
	return s.number, s.mark() == mark
}

// Enter enters an id with its number: [ErrCollision] where its mark is there
// already, [ErrCrowded] where there is no room.
func (t *Table) Enter(mark uint64, number uint32) error {
	s := t.slot(mark)
	if s.mark() != 0 {
		return ErrCollision
	}
	return t.put(s, mark, number)
}

// put fills a free slot.
func (t *Table) put(s *slot, mark uint64, number uint32) error {
	if t.free == 1 {
		return ErrCrowded
	}
	t.free--
	*s = slot{high: uint32(mark >> 32), low: uint32(mark), number: number}
	return nil
}
