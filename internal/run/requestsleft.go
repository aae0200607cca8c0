package run

import (
	"slices"
	"time"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// leastTimed is how many answers tell how long one takes, at the least.
const leastTimed = 2

// requestsLeft returns how long it takes until all chunks of a run that asks an API
// are scored: by how many are left, how long each takes, how many are in hand at
// once, and since when. It is known as soon as there were as many answers as are
// asked for at once. Where it is not, asked says whether an answer is waited for.
func (l *TimeLeft) requestsLeft(now time.Time, s *State) (left time.Duration, known, asked bool) {
	p := s.Progress.Attributor
	total := uint64(s.Planned.GetChunks())
	if total <= s.Progress.ScoredChunks {
		return 0, s.Planned != nil && s.Progress.Writer.GetChunks() >= total, false // else by what is stored
	}
	undone, workers := int(total-s.Progress.ScoredChunks), int(p.GetAtOnce())
	if workers == 0 || p.GetTimed() < max(p.GetAtOnce(), leastTimed) {
		return 0, false, len(p.GetBegun()) > 0
	}
	ages := inHand(now, p.GetBegun())
	late := l.late(s, ages)
	ages = ages[:len(ages)-min(late, len(ages))] // the oldest are done
	for len(ages) < min(workers, undone) {
		ages = slices.Insert(ages, 0, 0) // and others were begun
	}
	ages = ages[:min(len(ages), undone)]
	return time.Duration(lasts(p, ages, undone-len(ages), workers) * float64(time.Second)), true, true
}

// lasts returns in how many seconds the last chunk is done, where some have been in
// hand for so long, and so many more wait for a worker who is free. The last of
// several takes longer than one does in the mean.
func lasts(p *ihcv1.Progress, ages []float64, more, workers int) float64 {
	each := eachTakes(p.GetChunkSeconds(), float64(p.GetTimed()), ages)
	spread := 2 * p.GetChunkSecondsOff() // from the mean to the longest, where any between is as likely
	ends := make([]float64, max(workers, len(ages)))
	for i, age := range ages {
		ends[i] = max(each-age, (each+spread-age)/2, age/10) // the longer it takes, the longer it takes yet
	}
	slices.Sort(ends)
	rounds, rest := more/len(ends), more%len(ends)
	for i := range ends {
		ends[i] += float64(rounds) * each
		if i < rest {
			ends[i] += each
		}
	}
	end, near := slices.Max(ends), 0.0
	if more == 0 {
		spread = min(spread, max(end, 0))
	}
	for _, one := range ends {
		if one > end-spread {
			near++
		}
	}
	return end + spread*max(near-1, 0)/(near+1)
}

// eachTakes returns how many seconds a chunk takes, where so many took a mean and
// others, in hand, have taken so long already: those that take longer than the mean
// are among the last to be done.
func eachTakes(mean, timed float64, ages []float64) float64 {
	each := mean
	for _, age := range slices.Backward(ages) {
		if age <= each {
			break
		}
		timed++
		each += (age - each) / timed
	}
	return each
}

// inHand returns for how many seconds each chunk has been in hand, the shortest
// first.
func inHand(now time.Time, begun []int64) []float64 {
	ages := make([]float64, 0, len(begun))
	for _, at := range begun {
		ages = append(ages, max(float64(now.UnixMilli()-at)/1000, 0))
	}
	slices.Sort(ages)
	return ages
}

// late returns how many chunks were done since the attributors told of what they
// have in hand: more are scored than they tell of. But of those that were done right
// before one was killed none ever tells: so many as the difference is at the least,
// and at first as those in hand for longer than others took do not explain.
func (l *TimeLeft) late(s *State, ages []float64) int {
	p := s.Progress.Attributor
	more := int(s.Progress.ScoredChunks) - int(p.GetChunks())
	if l.lost == nil {
		overdue := 0
		for _, age := range ages {
			if age >= p.GetChunkSeconds() {
				overdue++
			}
		}
		l.lost = new(max(more-overdue, 0))
	}
	*l.lost = max(min(*l.lost, more), 0)
	return max(more-*l.lost, 0)
}
