package run

import (
	"math"
	"time"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// The steps of a run, in their order: see Progress.steps.
const (
	StepCheck   = "check"   // of the source tables
	StepSort    = "sort"    // the sessions, until the first conversion is read
	StepScore   = "score"   // to read, score and store conversions, side by side
	StepSweep   = "sweep"   // to bring attribution_customer_journey to the journal's state
	StepReport  = "report"  // to add the tables up
	StepCompare = "compare" // the models, for the report's page
)

// Steps returns all of them, in the order of doing them.
func Steps() []string {
	return []string{StepCheck, StepSort, StepScore, StepSweep, StepReport, StepCompare}
}

// reading returns how much of [StepScore] is to read journeys and to send them, from 0
// to 1; 0 where nobody told.
func reading(score *ihcv1.Step) float64 {
	if score.GetSeconds() == 0 {
		return 0
	}
	return min(score.GetReading()/score.GetSeconds(), 1)
}

// Stored returns how much is done of scoring and storing what is read, from 0 to 1, where
// there are so many conversions, by what the stages tell.
func Stored(conversions uint64, attributor, writer *ihcv1.Progress) float64 {
	return 0.6*share(conversions, attributor) + 0.4*share(conversions, writer)
}

// share returns how many of so many conversions a stage is done with.
func share(conversions uint64, p *ihcv1.Progress) float64 {
	if conversions == 0 {
		return 0
	}
	return min(float64(p.GetConversions())/float64(conversions), 1)
}

// steps are the steps of a run as one sees them, by the clocks of the services.
type steps struct {
	all []*ihcv1.Step // in the order of [Steps]; nil where nobody told them
	now int           // the one that is under way
	// How much of the scoring is to read, how much of that is done, and how much of what
	// comes after it is, was when this process began, and was when all was read.
	reading, read, stored, before, then float64
	readAt                              time.Time // zero for not yet
}

// stepsOf returns the steps of a run, those of its writer and reporter as they tell
// them; none where nobody said what there is to do.
func stepsOf(s *State) steps {
	p := s.Progress
	told := map[string]*ihcv1.Step{}
	for _, stage := range []*ihcv1.Progress{p.Extractor, p.Writer, p.Reporter} {
		for _, one := range stage.GetSteps() {
			if was := told[one.GetName()]; was != nil {
				one = &ihcv1.Step{Name: one.GetName(), Seconds: was.GetSeconds(), Done: one.GetDone(), Begun: one.GetBegun(), Ended: one.GetEnded(), At: one.GetAt()}
			}
			told[one.GetName()] = one
		}
	}
	if len(p.Extractor.GetSteps()) == 0 {
		return steps{}
	}
	var of steps
	for i, name := range Steps() {
		one := told[name]
		if one == nil {
			one = &ihcv1.Step{}
		}
		if name == StepScore && one.GetEnded() == 0 {
			total := max(s.Planned.GetCounts().GetInRange(), p.Extractor.GetConversionsTotal())
			of.reading, of.read, of.stored, of.before = reading(one), share(total, p.Extractor), Stored(total, p.Attributor, p.Writer), one.GetBefore()
			of.stored = max(of.stored, of.before)
			if at := one.GetReadAt(); at > 0 && at >= one.GetBegun() {
				of.readAt, of.then = time.UnixMilli(at), one.GetStored()
			}
			scored := 1 - of.reading
			one = &ihcv1.Step{Seconds: one.GetSeconds(), Begun: one.GetBegun(), Before: scored * of.before, Done: of.reading*of.read + scored*of.stored}
		}
		of.all = append(of.all, one)
		if one.GetBegun() > 0 {
			of.now = i
		}
	}
	switch { // events are surer than what is told
	case s.written:
		of.now = max(of.now, scoring+2)
	case s.Planned != nil:
		of.now = max(of.now, scoring)
	}
	return of
}

// Step returns the name of the step that is under way, "" where nobody told.
func (s *State) Step() string {
	if of := stepsOf(s); of.all != nil {
		return Steps()[of.now]
	}
	return ""
}

// leastSaid is how many seconds a step must be said to take to tell how fast the machine
// is.
const leastSaid = 0.05

// unseen is for how many seconds a step is taken to have gone as said before anything
// was seen of it, which soon does not count.
const unseen = 0.1

// slower returns how many times as long the steps have taken as they do on the
// machine they are measured by, the last ones above all; 1 where nothing is done yet.
// A step may be held up by what the others are not: a cold disk holds the check up,
// streams on a disk hold up the scoring, and other processes what they run beside. So
// no more is said than what the step says that is done and was held up the least. The
// sorting is not asked: that of a small shop is done sooner than said. See ADR 0040.
func (s steps) slower(now time.Time) float64 {
	took, measured, least := unseen, unseen, math.Inf(1)
	for i, one := range s.all[:s.now+1] {
		// A step of a run that was interrupted does some again, and says nothing of the
		// machine; nor does one that has next to nothing to do.
		if one.GetBegun() == 0 && one.GetTook() == 0 || one.GetSeconds() < leastSaid || one.GetBefore() > 0 {
			continue
		}
		passed, did := float64(one.GetEnded()-one.GetBegun())/1000, 1.0
		trust, done := 1.0, true
		switch {
		case one.GetTook() > 0: // by whoever did it before, with nothing beside it
			passed = float64(one.GetTook()) / 1000
		case i == s.now:
			passed, did = pass(now, one)
			trust, done = trusted(one), false
		case one.GetEnded() == 0:
			passed = float64(s.all[i+1].GetBegun()-one.GetBegun()) / 1000
		}
		if did <= 0 || passed <= 0 {
			continue
		}
		if done && i != sorting {
			least = min(least, (unseen/2+passed)/(unseen/2+one.GetSeconds()))
		}
		took = took*(1-trust/2) + trust*passed
		measured = measured*(1-trust/2) + trust*one.GetSeconds()*did
	}
	return min(least, took/measured)
}

// trusted returns how much the pace of a step that is under way says of it, from 0 to
// 1: all when half of it is done.
func trusted(s *ihcv1.Step) float64 {
	return min(2*(s.GetDone()-s.GetBefore())/max(1-s.GetBefore(), 1e-9), 1)
}

// pass returns for how many seconds a step was under way when so much of it was told to
// be done by it.
func pass(now time.Time, s *ihcv1.Step) (passed, did float64) {
	at := s.GetAt()
	if at == 0 {
		at = now.UnixMilli()
	}
	return max(float64(at-s.GetBegun())/1000, 0), s.GetDone() - s.GetBefore()
}

// The places of [StepSort] and [StepScore] among the steps.
const (
	sorting = 1
	scoring = 2
)

// left returns how long the steps take yet. It is not known where nobody told what
// there is to do, nor while there is something to be scored by an API.
func (s steps) left(now time.Time) (left time.Duration, known bool) {
	if len(s.all) == 0 || s.now <= scoring && s.all[scoring].GetSeconds() == 0 {
		return 0, false
	}
	slower := s.slower(now)
	one := s.all[s.now]
	var sum float64
	if takes := slower * one.GetSeconds(); s.now == scoring {
		sum = s.scoringLeft(now, takes)
	} else {
		sum = stepLeft(now, one, takes)
	}
	for _, one := range s.all[s.now+1:] {
		sum += slower * one.GetSeconds() * (1 - one.GetDone())
	}
	return seconds(sum), true
}

// scoringLeft is stepLeft of the scoring: half of it is said to pass while all is read,
// which goes by its own pace, and then what is not stored yet takes as long as what was
// stored since then. Until enough was, it takes as long as what was stored before, of
// whose time reading took as much as it is said to be of the work.
func (s steps) scoringLeft(now time.Time, takes float64) float64 {
	one := s.all[scoring]
	passed, _ := pass(now, one)
	did, all := s.stored-s.before, 1-s.before // nothing is read before
	if one.GetBegun() == 0 || passed <= 0 || s.read <= 0 || did <= 0 || all <= 0 {
		return stepLeft(now, one, takes)
	}
	trust := min(2*s.read, 1)
	left := (1 - s.read) * (trust*passed/s.read + (1-trust)*takes/2)
	read, score := s.reading*takes*s.read, (1-s.reading)*takes
	own := passed * score / (did*score + read)
	trust = min(4*did/all, 1)
	each := trust*own + (1-trust)*score
	if since, alone := now.Sub(s.readAt).Seconds(), s.stored-s.then; !s.readAt.IsZero() && since > 0 && alone > 0 {
		trust = min(4*alone/max(1-s.then, alone), 1)
		each = trust*since/alone + (1-trust)*each
	}
	return left + max(1-s.stored-left*did/passed, 0)*each
}

// afterScoring returns how long what comes after the last result takes.
func (s steps) afterScoring(now time.Time) time.Duration {
	slower, sum := s.slower(now), 0.0
	for _, one := range s.all[scoring+1:] {
		sum += slower * one.GetSeconds()
	}
	return seconds(sum)
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// stepLeft returns how many seconds a step that is under way takes yet, which should
// take so many as a whole: the more of it is done, the more by its own pace.
func stepLeft(now time.Time, s *ihcv1.Step, takes float64) float64 {
	if s.GetBegun() == 0 {
		return takes * (1 - s.GetDone()) // under way, since before this process
	}
	since := max(float64(now.UnixMilli()-s.GetBegun())/1000, 0)
	passed, did := pass(now, s)
	if did <= 0 {
		return max(takes*(1-s.GetBefore())-since, since/10) // the longer it takes, the longer it takes yet
	}
	own, trust := passed/did, trusted(s)
	left := (1 - s.GetDone()) * (trust*own + (1-trust)*takes)
	return max(left-(since-passed), left/2)
}
