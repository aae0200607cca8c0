package stream

import (
	"context"
	"slices"
	"time"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// stepOf returns the step of that name, which is the last one where there was none.
func stepOf(p *ihcv1.Progress, name string) *ihcv1.Step {
	for _, s := range p.GetSteps() {
		if s.GetName() == name {
			return s
		}
	}
	s := &ihcv1.Step{Name: name}
	p.Steps = append(p.Steps, s)
	return s
}

// PlanStep notes in the progress of a stage how long a step takes, by the measure of
// all steps. Steps come in the order in which they are first named.
func PlanStep(p *ihcv1.Progress, name string, seconds float64) { stepOf(p, name).Seconds = seconds }

// PlanReading notes how many of a step's seconds are to read.
func PlanReading(p *ihcv1.Progress, name string, seconds float64) { stepOf(p, name).Reading = seconds }

// BeginStep notes that a step begins, and that so much of it was done before. Those
// that come after it are still to be done.
func BeginStep(p *ihcv1.Progress, name string, now time.Time, before float64) {
	s := stepOf(p, name)
	again(p.Steps[slices.Index(p.Steps, s):])
	s.Begun, s.Before, s.At = now.UnixMilli(), before, now.UnixMilli()
}

// again notes that steps are still to be done.
func again(all []*ihcv1.Step) {
	for _, s := range all {
		s.Begun, s.At, s.Ended, s.Done, s.Before, s.ReadAt, s.Stored = 0, 0, 0, 0, 0, 0, 0
	}
}

// TellStep notes how much of a step that is under way is done by now, from 0 to 1.
func TellStep(p *ihcv1.Progress, name string, now time.Time, done float64) {
	s := stepOf(p, name)
	s.Done, s.At = max(s.GetDone(), done), now.UnixMilli()
}

// EndStep notes that a step is done.
func EndStep(p *ihcv1.Progress, name string, now time.Time) {
	if s := stepOf(p, name); s.GetBegun() > 0 && s.GetEnded() == 0 {
		s.Ended, s.Done = now.UnixMilli(), 1
		if took := s.GetEnded() - s.GetBegun(); s.GetTook() == 0 || took < s.GetTook() {
			s.Took = took
		}
	}
}

// ReadStep notes that all is read of a step, and how much of what comes after reading is
// done.
func ReadStep(p *ihcv1.Progress, name string, now time.Time, stored float64) {
	s := stepOf(p, name)
	s.ReadAt, s.Stored = now.UnixMilli(), stored
}

// Step returns what tells how far this process is with a step of a run, which begins
// when it is first told, and what tells its end.
func (m *Meter) Step(ctx context.Context, name string) (tell func(done float64), end func()) {
	begun := false // under the meter's lock
	tell = func(done float64) {
		m.Add(ctx, func(p *ihcv1.Progress) {
			if !begun {
				begun = true
				BeginStep(p, name, time.Now(), 0)
			}
			TellStep(p, name, time.Now(), done)
		})
	}
	end = func() {
		m.mu.Lock()
		none := !begun
		m.mu.Unlock()
		if !none {
			m.Add(ctx, func(p *ihcv1.Progress) { EndStep(p, name, time.Now()) })
		}
	}
	return tell, end
}
