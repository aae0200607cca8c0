package stream

import (
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

const (
	// lastTimed is of how many chunks at the most the mean of their times is, so
	// that it follows an API that gets slower or faster.
	lastTimed = 32
	// A replica that told nothing for so long, and for so many times as a chunk
	// takes, while another did, is taken to be gone with what it had in hand.
	goneAfter  = 10 * time.Second
	goneChunks = 5
)

// TakeInHand notes in the progress of a stage that it begins with a chunk.
func TakeInHand(p *ihcv1.Progress, now time.Time) {
	p.Begun = append(p.Begun, now.UnixMilli())
	p.AtOnce = max(p.AtOnce, uint32(len(p.Begun)))
}

// LayDown notes that it has a chunk in hand no longer that it began with at a
// time, and whether that one is done. The time that was spent on one that is to be
// asked again is a part of what the others take.
func LayDown(p *ihcv1.Progress, begun, now time.Time, done bool) {
	if i := slices.Index(p.GetBegun(), begun.UnixMilli()); i >= 0 {
		p.Begun = slices.Delete(p.GetBegun(), i, i+1)
	}
	took := now.Sub(begun).Seconds()
	if !done {
		p.ChunkSeconds += took / float64(max(p.GetTimed(), 1))
		return
	}
	p.Timed = min(p.GetTimed()+1, max(p.GetAtOnce(), lastTimed))
	off := took - p.GetChunkSeconds()
	if p.GetTimed() > 1 {
		p.ChunkSecondsOff += (math.Abs(off) - p.GetChunkSecondsOff()) / float64(p.GetTimed()-1)
		p.ChunkSeconds += off / float64(p.GetTimed())
	} else {
		p.ChunkSeconds += took // and what was spent before the first
	}
}

// TakeOver makes of what a process told the progress that the one begins with
// which takes its place. It has nothing in hand, soon knows better how long a chunk
// takes, and does all steps again unless all are done.
func TakeOver(p *ihcv1.Progress) {
	p.Waiting, p.NextTry = "", 0
	if slices.ContainsFunc(p.GetSteps(), func(s *ihcv1.Step) bool { return s.GetEnded() == 0 }) {
		again(p.GetSteps())
	}
	p.Timed = min(p.GetTimed(), max(p.GetAtOnce(), 2))
	p.Begun, p.AtOnce = nil, 0
}

// told is what one replica of a stage told of a run, and when.
type told struct {
	*ihcv1.Progress
	at time.Time
}

// join adds up what the replicas of a stage told.
func join(all []told) *ihcv1.Progress {
	sum := &ihcv1.Progress{}
	last := slices.MaxFunc(all, func(a, b told) int { return a.at.Compare(b.at) }).at
	for _, p := range all {
		sum.Conversions += p.GetConversions()
		sum.Touchpoints += p.GetTouchpoints()
		sum.Chunks += p.GetChunks()
		sum.ConversionsTotal = max(sum.GetConversionsTotal(), p.GetConversionsTotal())
		sum.Requests += p.GetRequests()
		sum.Retries += p.GetRetries()
		if p.GetWaiting() != "" {
			sum.Waiting = p.GetWaiting()
			if sum.GetNextTry() == 0 || p.GetNextTry() != 0 && p.GetNextTry() < sum.GetNextTry() {
				sum.NextTry = p.GetNextTry()
			}
		}
		joinSteps(sum, p.GetSteps())
		if last.Sub(p.at) > goneAfter+time.Duration(goneChunks*p.GetChunkSeconds()*float64(time.Second)) {
			continue
		}
		if timed := sum.GetTimed() + p.GetTimed(); timed > 0 {
			share := float64(p.GetTimed()) / float64(timed)
			sum.ChunkSeconds += (p.GetChunkSeconds() - sum.GetChunkSeconds()) * share
			sum.ChunkSecondsOff += (p.GetChunkSecondsOff() - sum.GetChunkSecondsOff()) * share
			sum.Timed = timed
		}
		sum.Begun = append(sum.GetBegun(), p.GetBegun()...)
		sum.AtOnce += p.GetAtOnce()
	}
	return sum
}

// joinSteps takes what a replica told of steps into the sum: the one that began with
// a step last is at it.
func joinSteps(sum *ihcv1.Progress, steps []*ihcv1.Step) {
	for _, s := range steps {
		is := stepOf(sum, s.GetName())
		seconds, reading := max(is.GetSeconds(), s.GetSeconds()), max(is.GetReading(), s.GetReading())
		read := is
		if s.GetReadAt() > is.GetReadAt() { // by whoever read the last slice
			read = s
		}
		readAt, stored := read.GetReadAt(), read.GetStored()
		took := min(is.GetTook(), s.GetTook())
		if took == 0 { // of one of them
			took = max(is.GetTook(), s.GetTook())
		}
		if s.GetBegun() > is.GetBegun() {
			proto.Reset(is)
			proto.Merge(is, s)
		}
		is.Seconds, is.Reading, is.Took, is.ReadAt, is.Stored = seconds, reading, took, readAt, stored
	}
}
