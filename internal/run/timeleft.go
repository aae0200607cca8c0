package run

import (
	"time"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// TimeLeft estimates how long a run will take yet, from what one sees of it from
// time to time. It goes by what was done while one watched, and not by what was
// there before, so that it holds for a run that goes on and for one that is
// watched late; and by chunks as soon as their number is known, since the
// conversions of a chunk differ but not the time it takes. The zero value is
// ready to use, for one run and one goroutine.
type TimeLeft struct {
	chunks bool     // that the samples count, and not conversions
	seen   []sample // each when something was done but for the first
	begun  bool     // whether the first is of the beginning of the watch
	lost   *int     // chunks that are scored and of which no attributor tells
	waited *int     // the fewest that were scored and not stored
}

// sample is how much was done at a time.
type sample struct {
	at                time.Time
	done, conversions uint64
}

const (
	// window is over how long a rate is taken at least, where one watched for
	// that long; a longer watch takes half of it.
	window = 30 * time.Second
	// mostSamples bounds those kept.
	mostSamples = 512
	// leastWatch is how long something must have been done to tell a rate, and
	// leastDone how much, where it was seen twice alone: requests sent at once are
	// answered at about the same time, and the first of them tells little. The
	// beginning of the watch is none of those times.
	leastWatch = 500 * time.Millisecond
	leastDone  = 4
)

// What comes after the last result, the sweep and the report, takes about as long
// as the scoring by the built-in model does, and by an API hardly any time: so
// much for each touchpoint. That is where nobody told what there is to do.
const (
	tailOfScoring    = 1.0
	tailOfTouchpoint = time.Microsecond
)

// Pace is what can be said of a run that is under way.
type Pace struct {
	// PerSecond is how many conversions get their results stored; 0 where that is
	// not known.
	PerSecond float64
	// Left is how long the run takes yet, where Known.
	Left  time.Duration
	Known bool
	// Awaits is for what an estimate waits, for people; "" where it is known, or
	// where the run waits for something itself.
	Awaits string
}

// See takes what is known of a run at a time and returns its pace. Nothing is
// known of it while the run waits for something, and begins anew after that.
func (l *TimeLeft) See(now time.Time, s *State) Pace {
	steps := stepsOf(s)
	status := s.Status()
	if s.Progress.Waiting() != nil || status != StatusRunning && (status != StatusRequested || steps.all == nil) {
		l.seen = nil
		return Pace{}
	}
	var p Pace
	if status == StatusRequested || s.Phase() == PhaseReporting {
		l.seen = nil
	} else {
		p = l.line(now, s)
	}
	if left, known := steps.left(now); known {
		p.Left, p.Known = left, true
		return p
	}
	behind := l.behind(s)
	left, known, asked := l.requestsLeft(now, s)
	switch {
	case known && behind && p.Known:
		p.Left = max(p.Left, left+l.tail(now, s, 0))
	case known:
		p.Left, p.Known = left+l.tail(now, s, 0), true
	case asked:
		p.Known, p.Left, p.Awaits = false, 0, "the API's first answers"
	}
	return p
}

// behind says whether results wait to be stored for longer than it takes to hear
// of it, so that storing is what takes time, and not the requests. Of some that
// are stored nobody tells: see [TimeLeft.late].
func (l *TimeLeft) behind(s *State) bool {
	const enough = 8 // steps that were seen
	waits := int(s.Progress.ScoredChunks) - int(s.Progress.Writer.GetChunks())
	if l.waited == nil || waits < *l.waited {
		l.waited = new(waits)
	}
	return l.chunks && len(l.seen) >= enough && float64(waits-*l.waited)*perDone(l.seen) > 2
}

// line returns the pace by what was stored while one watched.
func (l *TimeLeft) line(now time.Time, s *State) Pace {
	writer := s.Progress.Writer
	total, chunks := s.Progress.Extractor.GetConversionsTotal(), s.Planned != nil
	if chunks != l.chunks {
		l.chunks, l.seen = chunks, nil
	}
	one := sample{now, writer.GetConversions(), writer.GetConversions()}
	if chunks {
		total, one.done = uint64(s.Planned.GetChunks()), writer.GetChunks()
	}
	l.add(one)
	seen := l.since(now)
	first, last := seen[0], seen[len(seen)-1]
	took := last.at.Sub(first.at)
	if l.begun || took < leastWatch || len(l.seen) < 3 && last.done < first.done+leastDone {
		return Pace{}
	}
	p := Pace{PerSecond: float64(last.conversions-first.conversions) / took.Seconds()}
	if total <= last.done {
		return p // what is left has no count
	}
	each := perDone(seen)
	left := time.Duration(each * float64(total-last.done) * float64(time.Second))
	p.Left, p.Known = max(left-now.Sub(last.at), 0)+l.tail(now, s, time.Duration(each*float64(total)*float64(time.Second))), true
	return p
}

// add keeps a sample if something was done since the last one.
func (l *TimeLeft) add(s sample) {
	if n := len(l.seen); n > 0 && s.done <= l.seen[n-1].done {
		if s.done == l.seen[n-1].done {
			return
		}
		l.seen = nil // counted anew
	}
	l.begun = l.begun || len(l.seen) == 0
	if l.seen = append(l.seen, s); l.begun && len(l.seen) == 3 {
		l.seen, l.begun = l.seen[1:], false
	}
	if len(l.seen) < mostSamples {
		return
	}
	kept := l.seen[:0]
	for i, s := range l.seen {
		if i%2 == 0 || i == len(l.seen)-1 {
			kept = append(kept, s)
		}
	}
	l.seen = kept
}

// since returns the samples by which the rate is taken.
func (l *TimeLeft) since(now time.Time) []sample {
	from := now.Add(-max(window, now.Sub(l.seen[0].at)/2))
	for i, s := range l.seen {
		if !s.at.Before(from) || i == len(l.seen)-2 {
			return l.seen[i:]
		}
	}
	return l.seen
}

// perDone returns how many seconds one takes, by the line that is nearest to all
// samples: requests sent at once are answered in bursts, and two samples say less
// of the rate the nearer their ends are to the middle of one.
func perDone(seen []sample) float64 {
	var meanAt, meanDone, square, product float64
	n := float64(len(seen))
	for _, s := range seen {
		meanAt += s.at.Sub(seen[0].at).Seconds() / n
		meanDone += float64(s.done-seen[0].done) / n
	}
	for _, s := range seen {
		at := s.at.Sub(seen[0].at).Seconds() - meanAt
		square += at * at
		product += at * (float64(s.done-seen[0].done) - meanDone)
	}
	return square / product
}

// tail returns how long what comes after the last result takes, where all results
// take so long.
func (l *TimeLeft) tail(now time.Time, s *State, scoring time.Duration) time.Duration {
	switch steps := stepsOf(s); {
	case steps.all != nil:
		return steps.afterScoring(now)
	case s.Progress.Attributor.GetRequests() == 0 && Whole(s.Request):
		return time.Duration(tailOfScoring * float64(scoring))
	default:
		return time.Duration(s.Planned.GetCounts().GetTouchpoints()) * tailOfTouchpoint
	}
}

// Waiting returns for what the services wait, stage by stage.
func (p *Progress) Waiting() []string {
	var all []string
	for _, stage := range []*ihcv1.Progress{p.Extractor, p.Attributor, p.Writer, p.Reporter} {
		if why := stage.GetWaiting(); why != "" {
			all = append(all, why)
		}
	}
	return all
}
