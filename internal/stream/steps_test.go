package stream

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

func TestStepsComeInTheirOrder(t *testing.T) {
	t.Parallel()
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0) }
	p := &ihcv1.Progress{}
	PlanStep(p, "check", 2)
	PlanStep(p, "score", 3)
	PlanReading(p, "score", 2)
	EndStep(p, "check", at(1)) // which has not begun
	BeginStep(p, "check", at(1), 0)
	TellStep(p, "check", at(2), 0.5)
	TellStep(p, "check", at(3), 0.4) // by a goroutine that was slower
	EndStep(p, "check", at(4))
	BeginStep(p, "score", at(5), 0.25)
	ReadStep(p, "score", at(6), 0.5)
	check := &ihcv1.Step{Name: "check", Seconds: 2, Done: 1, Begun: 1000, Ended: 4000, At: 3000, Took: 3000}
	score := &ihcv1.Step{Name: "score", Seconds: 3, Reading: 2, Begun: 5000, Before: 0.25, At: 5000, ReadAt: 6000, Stored: 0.5}
	require.True(t, proto.Equal(&ihcv1.Progress{Steps: []*ihcv1.Step{check, score}}, p), "%v", p)

	// Another process does again what was done, and so does one that goes back.
	before := []*ihcv1.Step{{Name: "check", Seconds: 2, Took: 3000}, {Name: "score", Seconds: 3, Reading: 2}}
	TakeOver(p)
	require.True(t, proto.Equal(&ihcv1.Progress{Steps: before}, p), "%v", p)
	BeginStep(p, "check", at(9), 0)
	before[0].Begun, before[0].At = 9000, 9000
	require.True(t, proto.Equal(&ihcv1.Progress{Steps: before}, p), "%v", p)
	EndStep(p, "check", at(13))
	BeginStep(p, "score", at(13), 0)
	EndStep(p, "score", at(14)) // all is done
	done := proto.CloneOf(p)
	TakeOver(p)
	require.True(t, proto.Equal(done, p), "%v", p)
}

func TestTheReplicaThatBeganAStepLastIsAtIt(t *testing.T) {
	t.Parallel()
	now := time.Now()
	first := &ihcv1.Progress{Steps: []*ihcv1.Step{{Name: "sweep", Seconds: 4, Reading: 1, Begun: 100, Done: 0.9}}}
	last := &ihcv1.Progress{Steps: []*ihcv1.Step{{Name: "sweep", Seconds: 3, Begun: 200, Done: 0.1}}}
	for _, all := range [][]told{{{first, now}, {last, now}}, {{last, now}, {first, now}}} {
		sum := join(all)
		require.True(t, proto.Equal(&ihcv1.Step{Name: "sweep", Seconds: 4, Reading: 1, Begun: 200, Done: 0.1}, sum.GetSteps()[0]), "%v", sum)
	}
	require.InDelta(t, 0.9, first.GetSteps()[0].GetDone(), 0)
}

// What a meter still had to tell is not told over what the one in its place told.
func TestAMeterThatWasReplacedTellsNoMore(t *testing.T) {
	t.Parallel()
	r := newRig(t, never)
	c := r.client(StageExtractor)
	first := c.MeterOf("run")
	first.Add(r.ctx, func(p *ihcv1.Progress) { p.Chunks = 1 })
	first.Add(r.ctx, func(p *ihcv1.Progress) { p.Chunks = 2 }) // to be told a moment later
	c.Meter("run").Add(r.ctx, func(p *ihcv1.Progress) { p.Chunks = 3 })
	require.False(t, first.isDue())
}
