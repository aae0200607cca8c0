// Package packing puts whole journeys into chunks that respect the limits of
// one request, as full as can be done in a stream: with a bounded number of
// journeys in hand, and deterministically.
//
// A request has two limits, sessions and journeys, and the fewest requests
// there can be are max(⌈sessions/limit⌉, ⌈journeys/limit⌉). Only a chunk that
// uses the tighter of the two up comes near that, and only if it leaves behind
// a mix that the next chunks can use up as well. So the packer holds journeys
// for a number of chunks in hand, tries several ways to fill the next chunk, and
// takes the one that leaves the fewest requests to come.
//
// All begin with the longest journey, which later would find no room. Where
// sessions are much the tighter limit, the best way is then to take the longest
// that still fits, again and again, and save the short ones for filling up.
// Where both limits count, that would leave too many short ones: there the best
// is to keep the chunk, step by step, at the mean length of what is in hand, or
// else to take the longest that still lets the shortest fill the rest.
package packing

import (
	"math/bits"

	"github.com/ihc-pipeline/ihc/internal/journey"
)

// Limits bound one chunk.
type Limits struct {
	// Sessions and Journeys are the most of each; at least 1.
	Sessions, Journeys int
	// Bytes is the most a chunk may weigh by [Weight].
	Bytes int
}

// horizon is for how many chunks journeys are in hand before one is packed.
const horizon = 128

// held is the most that what is in hand may weigh by [Weight], in bytes.
const held = 32 << 20

// sessionsFirst is from when on sessions are much the tighter limit.
const sessionsFirst = 2

// Packer collects journeys and gives chunks.
type Packer struct {
	limits   Limits
	queues   []queue  // journeys in hand by number of sessions, oldest first
	occupied []uint64 // bit n: queues[n] is not empty
	sessions int      // in hand
	journeys int      // in hand
	weight   int      // in hand
	emit     func([]journey.Journey) error
}

// New returns a packer that calls emit with each chunk's journeys. emit may
// keep the slice.
func New(l Limits, emit func([]journey.Journey) error) *Packer {
	return &Packer{limits: l, queues: make([]queue, l.Sessions+1), occupied: make([]uint64, l.Sessions/64+1), emit: emit}
}

// Weight estimates, from above, how many bytes a journey takes in a message.
func Weight(j journey.Journey) int {
	w := 32 + len(j.ConvID)
	for i := range j.Sessions {
		w += len(j.Sessions[i].ID) + 20
		if i == 0 || j.Sessions[i].Channel != j.Sessions[i-1].Channel {
			w += len(j.Sessions[i].Channel) + 5
		}
	}
	return w
}

// Fits says whether a journey can be in a chunk at all.
func (l Limits) Fits(j journey.Journey) bool {
	return len(j.Sessions) <= l.Sessions && Weight(j) <= l.Bytes
}

// Add takes a journey that [Limits.Fits] and has a session, and emits a chunk
// when enough are in hand.
func (p *Packer) Add(j journey.Journey) error {
	n := len(j.Sessions)
	w := Weight(j)
	p.queues[n].push(item{j, w})
	p.occupied[n/64] |= 1 << (n % 64)
	p.sessions += n
	p.journeys++
	p.weight += w
	for p.sessions >= horizon*p.limits.Sessions || p.journeys >= horizon*p.limits.Journeys || p.weight >= max(held, p.limits.Bytes) {
		if err := p.pack(); err != nil {
			return err
		}
	}
	return nil
}

// Flush emits all that is in hand.
func (p *Packer) Flush() error {
	for p.journeys > 0 {
		if err := p.pack(); err != nil {
			return err
		}
	}
	return nil
}

// pack emits one chunk. A journey goes in whole or not at all (invariant 2).
func (p *Packer) pack() error {
	ways := [...]steer{p.nearMean, p.longest, p.greedy} // the first of equals is taken
	if p.sessions*p.limits.Journeys > sessionsFirst*p.journeys*p.limits.Sessions {
		ways = [...]steer{p.greedy, p.nearMean, p.longest}
	}
	best := p.plan(ways[0])
	for _, next := range ways[1:] {
		if other := p.plan(next); p.leaves(other) < p.leaves(best) {
			best = other
		}
	}
	chunk := make([]journey.Journey, 0, len(best))
	weight := p.limits.Bytes
	for _, n := range best {
		it, ok := p.queues[n].take(weight)
		if !ok {
			break // unusually long ids; the rest waits for another chunk
		}
		if p.queues[n].empty() {
			p.occupied[n/64] &^= 1 << (n % 64)
		}
		p.sessions -= n
		p.journeys--
		p.weight -= it.weight
		weight -= it.weight
		chunk = append(chunk, it.Journey)
	}
	return p.emit(chunk)
}

// leaves returns how many requests, at least, what is in hand would need after
// a chunk of the planned lengths.
func (p *Packer) leaves(plan []int) float64 {
	sessions := p.sessions
	for _, n := range plan {
		sessions -= n
	}
	return max(float64(sessions)/float64(p.limits.Sessions), float64(p.journeys-len(plan))/float64(p.limits.Journeys))
}

// steer returns which length to add next to a chunk that has room for so many
// more sessions and wants, to be like what is in hand, so many more sessions
// and journeys; 0 where nothing fits.
type steer func(room int, wantSessions, wantJourneys float64) int

// plan chooses the lengths of one chunk's journeys.
func (p *Packer) plan(next steer) []int {
	// What the chunk would hold if it had the mean of what is in hand and
	// used up the tighter limit: numbers to steer by, not limits.
	mean := float64(p.sessions) / float64(p.journeys)
	wantJourneys := min(float64(p.limits.Journeys), float64(p.limits.Sessions)/mean)
	wantSessions := wantJourneys * mean

	var plan []int
	room := p.limits.Sessions
	for n := p.atMost(room); n > 0; n = next(room, wantSessions, max(wantJourneys, 1)) {
		plan = append(plan, n)
		p.queues[n].planned++
		if p.queues[n].free() == 0 {
			p.occupied[n/64] &^= 1 << (n % 64)
		}
		room -= n
		wantSessions -= float64(n)
		wantJourneys--
		if len(plan) == p.limits.Journeys || room == 0 {
			break
		}
	}
	for _, n := range plan {
		p.queues[n].planned = 0
		p.occupied[n/64] |= 1 << (n % 64)
	}
	return plan
}

// greedy takes the longest that fits.
func (p *Packer) greedy(room int, _, _ float64) int { return p.atMost(room) }

// nearMean steers toward the mean length.
func (p *Packer) nearMean(room int, wantSessions, wantJourneys float64) int {
	return p.near(wantSessions/wantJourneys, room)
}

// longest steers toward the longest that leaves room for the shortest.
func (p *Packer) longest(room int, wantSessions, wantJourneys float64) int {
	most := min(float64(room), wantSessions-(wantJourneys-1)*float64(p.atLeast(1)))
	if n := p.atMost(max(int(most), 1)); n > 0 {
		return n
	}
	return p.atMost(room)
}

// near returns the length in hand that is nearest to want and at most room,
// the longer of two as near; 0 if there is none.
func (p *Packer) near(want float64, room int) int {
	at := min(max(int(want), 1), room)
	below, above := p.atMost(at), p.atLeast(at+1)
	switch {
	case above == 0 || above > room:
		return below
	case below == 0 || float64(above)-want <= want-float64(below):
		return above
	default:
		return below
	}
}

// atMost returns the greatest length in hand up to n, 0 if there is none.
func (p *Packer) atMost(n int) int {
	word := n / 64
	w := p.occupied[word] & (^uint64(0) >> (63 - n%64))
	for {
		if w != 0 {
			return word*64 + bits.Len64(w) - 1
		}
		if word--; word < 0 {
			return 0
		}
		w = p.occupied[word]
	}
}

// atLeast returns the least length in hand from n on, 0 if there is none.
func (p *Packer) atLeast(n int) int {
	if n > p.limits.Sessions {
		return 0
	}
	word := n / 64
	w := p.occupied[word] & (^uint64(0) << (n % 64))
	for {
		if w != 0 {
			return word*64 + bits.TrailingZeros64(w)
		}
		if word++; word == len(p.occupied) {
			return 0
		}
		w = p.occupied[word]
	}
}

type item struct {
	journey.Journey
	weight int
}

// queue is first in, first out.
type queue struct {
	items   []item
	head    int
	planned int // of them, in the plan being made
}

func (q *queue) free() int { return len(q.items) - q.head - q.planned }

func (q *queue) empty() bool { return q.head == len(q.items) }

func (q *queue) push(it item) { q.items = append(q.items, it) }

// take removes the oldest item if it weighs no more than most.
func (q *queue) take(most int) (item, bool) {
	it := q.items[q.head]
	if it.weight > most {
		return item{}, false
	}
	q.items[q.head] = item{} // let go of its sessions
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	} else if q.head > 64 && q.head*2 > len(q.items) {
		q.items = q.items[:copy(q.items, q.items[q.head:])]
		q.head = 0
	}
	return it, true
}
