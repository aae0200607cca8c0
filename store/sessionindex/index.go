// Package sessionindex knows the groups of a report by number, and which group each
// of many sessions belongs to. A session serves many conversions, and to look it up
// in the database, or to have it join there, takes longer than all else that a
// report does with an attribution.
//
// A session goes by a hash of 64 bits. Two sessions that have it in common are
// noticed when the second is entered, see [ErrCollision]. That one which is not
// there is taken for one that is has a chance of one in 10¹² for each.
package sessionindex

import (
	"math"
	"sync"
)

// Key is what a group, a row of channel_reporting, is about: a channel, or what a
// report has in its place, and a date, YYYY-MM-DD.
type Key struct{ Channel, Date string }

// NoGroup stands for the group of a session that is not there.
const NoGroup = math.MaxUint32

// Index knows the group of each session of one pass over the sessions, of which
// there are several where memory has no room for all (invariant 8). Any number of
// goroutines may look sessions up at the same time while none is entered.
type Index struct {
	hash         Hash
	pass, passes uint64 // it holds the sessions whose mark leaves this rest
	table        Table

	mu     sync.Mutex // held to write
	keys   []Key      // by number
	number map[Key]uint32
}

// New returns an index with room for so many sessions, in one pass.
func New(sessions int, hash Hash) *Index { return newIndex(slotsFor(sessions), 1, hash) }

// InPasses returns an index for a shop of so many sessions, ready for the first
// pass. It has few slots, or as many as the shop needs up to most, each of
// [SlotBytes]; for each try before, it takes the fewest passes once more.
func InPasses(sessions int64, few, most, tries int, hash Hash) *Index {
	slots := max(few, min(slotsFor(int(sessions)), most), 2)
	room := int64(max(slots/5*4, 1))
	return newIndex(slots, uint64(max((sessions+room-1)/room, 1))*uint64(tries+1), hash)
}

func newIndex(slots int, passes uint64, hash Hash) *Index {
	return &Index{hash: hash, passes: passes, table: *newTable(slots), number: map[Key]uint32{}}
}

// Close gives back the memory of sessions. What is known of groups stays.
func (x *Index) Close() { x.table.Close() }

// Passes returns how many passes it takes to see all sessions.
func (x *Index) Passes() uint64 { return x.passes }

// First says whether this pass is the first.
func (x *Index) First() bool { return x.pass == 0 }

// Next begins the next pass and says whether there is one.
func (x *Index) Next() bool {
	if x.pass++; x.pass == x.passes {
		return false
	}
	x.table.Clear()
	return true
}

// Clear forgets the sessions, and not the groups. Then there is room for so many
// sessions, or for more.
func (x *Index) Clear(sessions int) {
	if x.table.Clear(); x.table.room() < sessions {
		x.table.Close()
		x.table = *NewTable(sessions)
	}
}

// Rehash forgets the sessions, which go by another hash from then on.
func (x *Index) Rehash(hash Hash) {
	x.hash = hash
	x.table.Clear()
}

// Room returns how many more sessions there is room for.
func (x *Index) Room() int { return x.table.room() }

// Mark returns what a session goes by; see [Hash.Mark].
func (x *Index) Mark(session string) uint64 { return x.hash.Mark(session) }

// Mine says whether the session is of this pass.
func (x *Index) Mine(mark uint64) bool {
	return x.passes == 1 || uint64(uint32(mark))%x.passes == x.pass
}

// Group returns the number of a session's group, and whether there is such a
// session in this pass.
func (x *Index) Group(mark uint64) (number uint32, there bool) { return x.table.Find(mark) }

// Groups adds the group of each session to groups, [NoGroup] for those that are not
// there. It looks them up in a loop that does nothing else: each is somewhere else
// in memory, and a processor fetches several at once.
func (x *Index) Groups(marks []uint64, groups []uint32) []uint32 {
	for _, mark := range marks {
		s, n := x.table.slot(mark), uint32(NoGroup)
		if s.mark() == mark {
			n = s.number
		}
		groups = append(groups, n)
	}
	return groups
}

// Keys returns the groups by number. No group may come meanwhile.
func (x *Index) Keys() []Key { return x.keys }

// Number returns the number of a group that is there. No group may come meanwhile.
func (x *Index) Number(k Key) uint32 { return x.number[k] }

// enterKey returns the number of a group, which comes if it is not there.
func (x *Index) enterKey(k Key) uint32 {
	x.mu.Lock()
	defer x.mu.Unlock()
	n, ok := x.number[k]
	if !ok {
		n = uint32(len(x.keys))
		x.keys = append(x.keys, k)
		x.number[k] = n
	}
	return n
}

// Note notes a session whose group is not known yet, unless it is there:
// [ErrCrowded] where there is no room. Others may not do so at the same time.
func (x *Index) Note(mark uint64) error {
	s := x.table.slot(mark)
	if s.mark() != 0 {
		return nil
	}
	return x.table.put(s, mark, NoGroup)
}
