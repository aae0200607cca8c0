package run_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// builtin is a run by the built-in model, in a time of its own: what its steps take
// and what they are said to take, in seconds.
type builtin struct {
	takes, said [6]float64
	killed      float64 // how much was scored before another process went on
}

const conversions = 100_000

// newBuiltin returns a run of about so many seconds whose steps take up to so much
// more or less than what is said of them, on a machine of its own speed.
func newBuiltin(r *rand.Rand, lasts, off float64) *builtin {
	b := &builtin{}
	machine := math.Exp2(4*r.Float64() - 2)
	whole := 0.0
	for i := range b.said {
		b.said[i] = []float64{0.1, 0.12, 0.3, 0.18, 0.25, 0.05}[i] * (0.5 + r.Float64())
		b.takes[i] = b.said[i] * (1 - off + 2*off*r.Float64())
		whole += b.takes[i]
	}
	for i := range b.said {
		b.takes[i] *= lasts / whole
		b.said[i] *= lasts / whole / machine
	}
	return b
}

// clock returns the time so many seconds after the beginning.
func clock(at float64) time.Time {
	return beginning.Add(time.Duration(at * float64(time.Second)))
}

// underWay returns a run that is accepted, of which the extractor told that.
func underWay(model string, extractor *ihcv1.Progress) *run.State {
	s := run.Fold([]run.Entry{{Event: &ihcv1.RunEvent{RunId: "r", Event: &ihcv1.RunEvent_Accepted{Accepted: &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "r", Model: model}}}}}})[0]
	s.Progress = run.Progress{Extractor: extractor}
	return s
}

func (b *builtin) scored() float64 { return 0.7 * b.killed } // it is read again

// lasts returns what a step really takes.
func (b *builtin) lasts(step int) float64 {
	if step == 2 {
		return b.takes[2] * (1 - b.scored())
	}
	return b.takes[step]
}

func (b *builtin) end() (sum float64) {
	for i := range b.takes {
		sum += b.lasts(i)
	}
	return sum
}

// at returns what one sees of the run: what was told at the last half second.
func (b *builtin) at(now float64) *run.State {
	told := math.Floor(2*now) / 2
	read, scored, written, reported := &ihcv1.Progress{ConversionsTotal: conversions}, &ihcv1.Progress{}, &ihcv1.Progress{}, &ihcv1.Progress{}
	for i, name := range run.Steps() {
		stream.PlanStep(read, name, b.said[i])
	}
	stream.PlanReading(read, run.StepScore, 0.35*b.said[2])
	stages := []*ihcv1.Progress{read, read, read, written, reported, reported}
	entries := []run.Entry{}
	event := func(e *ihcv1.RunEvent) { e.RunId = "r"; entries = append(entries, run.Entry{Event: e}) }
	scored.Conversions, written.Conversions = uint64(b.killed*conversions), uint64(b.killed*conversions)
	from := 0.0
	for i, name := range run.Steps() {
		if from > told {
			break
		}
		part := min((told-from)/b.lasts(i), 1)
		before := 0.0
		if i == 2 {
			before = b.killed
			goOn := func(x float64) uint64 { return uint64((b.killed + (1-b.killed)*x) * conversions) }
			read.Conversions, scored.Conversions, written.Conversions = uint64(min(1.5*part, 1)*conversions), goOn(part), goOn(part*part)
		}
		stream.BeginStep(stages[i], name, clock(from), before)
		if i == 0 || i == 3 || i == 4 {
			stream.TellStep(stages[i], name, clock(told), part)
		}
		if from += b.lasts(i); from <= told && i != 2 && i != 5 {
			stream.EndStep(stages[i], name, clock(from))
		}
		switch {
		case i == 0 && (from <= now || b.killed > 0):
			event(&ihcv1.RunEvent{Event: &ihcv1.RunEvent_Accepted{Accepted: &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "r", Model: run.ModelBuiltin}}}})
		case i == 2 && part > 2./3:
			event(&ihcv1.RunEvent{Event: &ihcv1.RunEvent_Extracted{Extracted: &ihcv1.RunExtracted{Chunks: 100, Counts: &ihcv1.Counts{InRange: conversions}}}})
		case i == 3 && from <= now:
			event(&ihcv1.RunEvent{Event: &ihcv1.RunEvent_Written{Written: &ihcv1.RunWritten{}}})
		}
	}
	s := &run.State{ID: "r"}
	if len(entries) > 0 {
		s = run.Fold(entries)[0]
	}
	s.Progress = run.Progress{Extractor: read, Attributor: scored, Writer: written, Reporter: reported}
	return s
}

// The time left of a run by the built-in model is known at every look after a tenth of
// it, however fast the machine is, and right within a factor of 1.5: with each step
// taking up to 0.3 more or less than what is said of it, but for a few looks. Runs are
// watched from the beginning and late, and after a process was killed.
func TestTimeLeftKnowsTheStepsOfARun(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		off     float64
		streams float64 // how many times as long as said the scoring takes
		heldUp  float64 // likewise one of its steps
		wrong   int     // of a thousand looks, at the most
	}{
		"as they are said to be": {0, 1, 1, 1},
		"vary by 0.15":           {0.15, 1, 1, 3},
		"vary by 0.3":            {0.3, 1, 1, 20},
		"slow streams":           {0.1, 1.7, 1, 10},
		"one is held up":         {0.1, 1, 1.8, 60},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var all looks
			r := rand.New(rand.NewPCG(1, 2))
			for n := range 60 {
				b := newBuiltin(r, 12+40*r.Float64(), c.off)
				b.takes[2] *= c.streams
				b.takes[n/4%5] *= c.heldUp
				b.killed = []float64{0, 0, 0.3, 0.8}[n%4]
				for _, from := range []float64{0, b.end() / 3, b.end() * 3 / 5} {
					var left run.TimeLeft
					for at := from; at < b.end(); at += 0.2 {
						pace := left.See(beginning.Add(time.Duration(at*float64(time.Second))), b.at(at))
						if at < b.end()/10 {
							continue
						}
						all.all++
						truth, told := b.end()-at, pace.Left.Seconds()
						switch {
						case !pace.Known:
							all.silent++
						case (told > 1.5*truth || told < truth/1.5) && math.Abs(told-truth) > 1:
							all.outside++
						}
					}
				}
			}
			t.Log(all)
			require.Zero(t, all.silent, all)
			require.LessOrEqual(t, all.outside*1000, c.wrong*all.all, all)
		})
	}
}

// Streams on a slow disk make storing take much longer than said, and not the reading,
// which is done beside the first tenth of it. What is stored since then soon tells.
func TestScoringGoesByItsOwnPaceWhenAllIsRead(t *testing.T) {
	t.Parallel()
	const checked, read, then = 14.0, 45.0, 0.11 // when, and how much is stored then
	for scored, soon := range map[float64]float64{71: 0, 90: 3, 132: 8} {
		for at := read + soon; at < scored; at++ {
			stored := uint64((then + (1-then)*(at-read)/(scored-read)) * conversions)
			extractor := &ihcv1.Progress{ConversionsTotal: conversions, Conversions: conversions}
			for i, name := range run.Steps() {
				stream.PlanStep(extractor, name, []float64{7, 7, 40, 0.1, 0.1, 0}[i])
			}
			stream.PlanReading(extractor, run.StepScore, 14)
			stream.BeginStep(extractor, run.StepCheck, clock(0), 0)
			stream.EndStep(extractor, run.StepCheck, clock(checked/2))
			stream.BeginStep(extractor, run.StepSort, clock(checked/2), 0)
			stream.EndStep(extractor, run.StepSort, clock(checked))
			stream.BeginStep(extractor, run.StepScore, clock(checked), 0)
			stream.ReadStep(extractor, run.StepScore, clock(read), then)
			s := run.Fold([]run.Entry{
				{Event: &ihcv1.RunEvent{RunId: "r", Event: &ihcv1.RunEvent_Accepted{Accepted: &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "r", Model: run.ModelBuiltin}}}}},
				{Event: &ihcv1.RunEvent{RunId: "r", Event: &ihcv1.RunEvent_Extracted{Extracted: &ihcv1.RunExtracted{Chunks: 100, Counts: &ihcv1.Counts{InRange: conversions}}}}},
			})[0]
			s.Progress = run.Progress{Extractor: extractor, Attributor: &ihcv1.Progress{Conversions: stored}, Writer: &ihcv1.Progress{Conversions: stored}}
			var left run.TimeLeft
			pace, truth := left.See(clock(at), s), scored-at
			require.True(t, pace.Known)
			require.Less(t, max(pace.Left.Seconds()/truth, truth/pace.Left.Seconds()), 1.5, "%s at %g, true %g", pace.Left, at, truth)
		}
	}
}

// A run that goes on checks again beside what is still being scored, which says nothing
// of how fast the machine is: the first check does.
func TestWhoeverDidAStepFastestSaysHowFastTheMachineIs(t *testing.T) {
	t.Parallel()
	p := &ihcv1.Progress{ConversionsTotal: conversions}
	for i, name := range run.Steps() {
		stream.PlanStep(p, name, []float64{10, 10, 40, 20, 20, 0}[i])
	}
	for _, from := range []float64{0, 100} { // the second one takes three times as long
		stream.BeginStep(p, run.StepCheck, clock(from), 0)
		stream.EndStep(p, run.StepCheck, clock(from+10+from/5))
	}
	stream.BeginStep(p, run.StepSort, clock(130), 0)
	s := underWay(run.ModelBuiltin, p)
	var left run.TimeLeft
	require.InDelta(t, 90, left.See(clock(130), s).Left.Seconds(), 0.1)
}

// One step may be held up by what the others are not, and says nothing of what they take.
func TestAStepThatIsHeldUpDoesNotSayHowFastTheMachineIs(t *testing.T) {
	t.Parallel()
	const machine, heldUp = 2.0, 3.0
	for held := range 3 {
		p := &ihcv1.Progress{ConversionsTotal: conversions}
		at := 0.0
		for i, name := range run.Steps() {
			said := []float64{10, 10, 40, 20, 20, 0}[i]
			stream.PlanStep(p, name, said)
			if i > 2 {
				continue
			}
			stream.BeginStep(p, name, clock(at), 0)
			if at += machine * said; i == held {
				at += (heldUp - 1) * machine * said
			}
			stream.EndStep(p, name, clock(at))
		}
		stream.BeginStep(p, run.StepSweep, clock(at), 0)
		s := underWay(run.ModelBuiltin, p)
		var left run.TimeLeft
		require.InEpsilon(t, machine*40, left.See(clock(at), s).Left.Seconds(), 0.05, "%s is held up", run.Steps()[held])
	}
}

// A small shop is sorted sooner than said, which does not make the machine a fast one.
func TestSortingDoesNotSayHowFastTheMachineIs(t *testing.T) {
	t.Parallel()
	p := &ihcv1.Progress{ConversionsTotal: conversions}
	for i, name := range run.Steps() {
		stream.PlanStep(p, name, []float64{10, 10, 0, 20, 20, 0}[i]) // what an API scores nobody knows
	}
	stream.BeginStep(p, run.StepCheck, clock(0), 0)
	stream.EndStep(p, run.StepCheck, clock(20))
	stream.BeginStep(p, run.StepSort, clock(20), 0)
	stream.EndStep(p, run.StepSort, clock(30))
	stream.BeginStep(p, run.StepSweep, clock(100), 0)
	s := underWay(run.ModelAPI, p)
	var left run.TimeLeft
	require.Greater(t, left.See(clock(100), s).Left.Seconds(), 1.25*40)
}

func TestTimeLeftIsNeverNegativeNorToldWhileARunWaits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := newBuiltin(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)), rapid.Float64Range(1, 1000).Draw(t, "lasts"), rapid.Float64Range(0, 0.99).Draw(t, "off"))
		b.killed = rapid.Float64Range(0, 1).Draw(t, "killed")
		// Also beyond the end, where a clock is wrong or a machine was suspended.
		at := rapid.Float64Range(0, 2).Draw(t, "at") * b.end()
		s := b.at(at)
		clock := beginning.Add(time.Duration((at + rapid.Float64Range(-100, 100).Draw(t, "wrong by")) * float64(time.Second)))
		var left run.TimeLeft
		pace := left.See(clock, s)
		require.True(t, pace.Known)
		require.GreaterOrEqual(t, pace.Left, time.Duration(0))
		s.Progress.Writer.Waiting = "the disk"
		require.Zero(t, left.See(clock, s))
		s.Progress.Writer.Waiting = ""
		require.True(t, left.See(clock, s).Known)
		s.Idle = true
		require.Zero(t, left.See(clock, s))
	})
}

// Of what an API is to score nobody knows how long it takes until it has answered.
func TestNoTimeIsToldOfWhatAnAPIIsToScore(t *testing.T) {
	t.Parallel()
	b := newBuiltin(rand.New(rand.NewPCG(1, 1)), 30, 0)
	b.said[2] = 0
	var left run.TimeLeft
	for at := 0.0; at < b.takes[0]+b.takes[1]; at += 0.5 {
		require.False(t, left.See(beginning.Add(time.Duration(at*float64(time.Second))), b.at(at)).Known)
	}
	at := b.takes[0] + b.takes[1] + 0.9*b.takes[2]
	s := b.at(at)
	require.False(t, left.See(beginning.Add(time.Duration(at*float64(time.Second))), s).Known)
	s.Progress.ScoredChunks, s.Progress.Writer.Chunks = 100, 100 // all of it
	pace := left.See(beginning.Add(time.Duration(at*float64(time.Second))), s)
	require.True(t, pace.Known)
	require.Positive(t, pace.Left)
	at = b.end() - b.takes[4]
	require.True(t, left.See(beginning.Add(time.Duration(at*float64(time.Second))), b.at(at)).Known)
}
