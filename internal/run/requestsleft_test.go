package run_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// paid is a run over an API, in a time of its own: so many chunks, so many asked
// for at once, each of which takes as long as the API says. The process that works
// on it may be killed once.
type paid struct {
	chunks, workers int
	takes           func(*rand.Rand) time.Duration
	refused         float64 // share of the requests that are to be sent again a second later
	killed          float64 // after how much of the chunks, 0 for never

	attributor, writer teller
	scored             []time.Duration // when each result was there
	began              time.Duration   // the process that sees the run through
}

// teller is what a stage tells of its work: at once, or half a second after the last
// time.
type teller struct {
	now  *ihcv1.Progress
	last time.Duration // when it was told
	due  bool
	told []telling
}

type telling struct {
	at time.Duration
	*ihcv1.Progress
}

const tellEvery = 500 * time.Millisecond

func (t *teller) pass(now time.Duration) {
	if t.due && t.last+tellEvery <= now {
		t.tell(t.last + tellEvery)
	}
}

func (t *teller) tell(at time.Duration) {
	t.told, t.last, t.due = append(t.told, telling{at, proto.CloneOf(t.now)}), at, false
}

func (t *teller) add(now time.Duration, change func(*ihcv1.Progress)) {
	t.pass(now)
	change(t.now)
	if t.due = true; now-t.last >= tellEvery {
		t.tell(now)
	}
}

func (t *teller) at(now time.Duration) *ihcv1.Progress {
	i, _ := slices.BinarySearchFunc(t.told, now, func(a telling, at time.Duration) int { return int(a.at - at - 1) })
	if i == 0 {
		return nil
	}
	return t.told[i-1].Progress
}

var beginning = time.Date(2023, 9, 1, 0, 0, 0, 0, time.UTC)

// worker is one of those that ask: since when, until when, and what for.
type worker struct {
	begun, until time.Duration
	refused      bool
}

// do has the run happen.
func (p *paid) do(seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	p.attributor, p.writer = teller{now: &ihcv1.Progress{}, last: -tellEvery}, teller{now: &ihcv1.Progress{}, last: -tellEvery}
	todo := slices.Repeat([]time.Duration{0}, p.chunks) // from when on each may be asked for
	kill := int(p.killed * float64(p.chunks))
	var at time.Duration
	busy := make([]worker, 0, p.workers)
	for len(todo)+len(busy) > 0 {
		for len(busy) < p.workers && len(todo) > 0 && slices.Min(todo) <= at {
			i := slices.Index(todo, slices.Min(todo))
			todo = slices.Delete(todo, i, i+1)
			w := worker{at, at + p.takes(r), false}
			if w.refused = r.Float64() < p.refused; w.refused {
				w.until = at + 50*time.Millisecond
			}
			busy = append(busy, w)
			p.attributor.add(at, func(q *ihcv1.Progress) { stream.TakeInHand(q, beginning.Add(at)) })
		}
		if len(busy) == 0 || len(busy) < p.workers && len(todo) > 0 && slices.Min(todo) < soonest(busy) {
			at = slices.Min(todo)
			continue
		}
		at = soonest(busy)
		i := slices.IndexFunc(busy, func(w worker) bool { return w.until == at })
		w := busy[i]
		busy = slices.Delete(busy, i, i+1)
		if w.refused {
			todo = append(todo, at+time.Second)
			p.attributor.add(at, func(q *ihcv1.Progress) {
				stream.LayDown(q, beginning.Add(w.begun), beginning.Add(at), false)
				q.Waiting = "HTTP 429"
			})
			continue
		}
		p.scored = append(p.scored, at)
		p.attributor.add(at, func(q *ihcv1.Progress) {
			q.Chunks, q.Requests, q.Waiting = q.Chunks+1, q.Requests+1, ""
			stream.LayDown(q, beginning.Add(w.begun), beginning.Add(at), true)
		})
		p.writer.add(at+20*time.Millisecond, func(q *ihcv1.Progress) { q.Chunks, q.Conversions = q.Chunks+1, q.Conversions+40 })
		if len(p.scored) == kill { // and started again, two seconds later
			at += 2 * time.Second
			for range busy {
				todo = append(todo, at)
			}
			busy, p.began = busy[:0], at
			for _, t := range []*teller{&p.attributor, &p.writer} {
				t.now, t.due = proto.CloneOf(t.told[len(t.told)-1].Progress), false
				stream.TakeOver(t.now)
			}
			p.attributor.now.Chunks = uint64(len(p.scored))
		}
	}
	p.attributor.pass(math.MaxInt64)
	p.writer.pass(math.MaxInt64)
}

func soonest(busy []worker) time.Duration {
	return slices.MinFunc(busy, func(a, b worker) int { return int(a.until - b.until) }).until
}

func (p *paid) end() time.Duration { return p.scored[len(p.scored)-1] }

// at returns what one sees of the run.
func (p *paid) at(now time.Duration) *run.State {
	s := run.Fold([]run.Entry{
		{Event: &ihcv1.RunEvent{RunId: "r", Event: &ihcv1.RunEvent_Accepted{Accepted: &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "r", Model: run.ModelAPI}}}}},
		{Event: &ihcv1.RunEvent{RunId: "r", Event: &ihcv1.RunEvent_Extracted{Extracted: &ihcv1.RunExtracted{Chunks: uint32(p.chunks), Counts: &ihcv1.Counts{InRange: 40 * uint64(p.chunks)}}}}},
	})[0]
	scored, _ := slices.BinarySearch(p.scored, now+1)
	s.Progress = run.Progress{Extractor: &ihcv1.Progress{ConversionsTotal: 40 * uint64(p.chunks)}, Attributor: p.attributor.at(now), Writer: p.writer.at(now), ScoredChunks: uint64(scored)}
	return s
}

// looks counts what was told of runs.
type looks struct{ all, silent, outside int }

func (l looks) String() string {
	return fmt.Sprintf("%d looks, %.1f %% silent, %.2f %% outside", l.all, 100*float64(l.silent)/float64(l.all), 100*float64(l.outside)/float64(l.all))
}

// watch looks at the run from some time on, and counts after a tenth of it.
func (l *looks) watch(p *paid, from time.Duration, unsure time.Duration) {
	var left run.TimeLeft
	for at := from; at < p.end(); at += 500 * time.Millisecond {
		s := p.at(at)
		pace := left.See(beginning.Add(at), s)
		if at-p.began < (p.end()-p.began)/10 || s.Progress.Waiting() != nil {
			continue
		}
		truth := p.end() - at
		l.all++
		switch told := pace.Left; {
		case !pace.Known && pace.Awaits == "":
			l.silent++
		case pace.Known && (told > truth*3/2 || told < truth*2/3) && (told-truth).Abs() > unsure:
			l.outside++
		}
	}
}

// The time left is right within a factor of 1.5, or within what is open of it: a
// request may take 0.3 of the usual time more or less, and the last ones decide.
// Nothing is left unsaid. Runs take from 15 to 40 seconds; they are watched from the
// beginning and late, and also after a process was killed and another went on.
func TestTimeLeftKnowsTheStepsOfRequests(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		varies, refused float64
		wrong           int // of a thousand looks, at the most
	}{
		"alike":                 {0, 0, 2},
		"vary by 0.3":           {0.3, 0, 4},
		"some to be sent again": {0.3, 0.05, 15},
		"many to be sent again": {0.3, 0.2, 40},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var all looks
			for _, workers := range []int{1, 4, 16} {
				for _, chunks := range []int{5, 12, 30, 70, 500} {
					var these looks
					for seed := range uint64(12) {
						latency := time.Duration(15+25*(seed%2)) * time.Second / time.Duration((chunks+workers-1)/workers)
						p := &paid{chunks: chunks, workers: workers, refused: c.refused, killed: []float64{0, 0.01, 0.3, 0.6}[seed%4], takes: func(r *rand.Rand) time.Duration {
							return time.Duration(float64(latency) * (1 - c.varies + 2*c.varies*r.Float64()))
						}}
						p.do(seed)
						if whole := p.end() - p.began; whole >= 10*time.Second {
							for _, from := range []time.Duration{0, whole / 3, whole * 3 / 5, whole * 17 / 20} {
								these.watch(p, p.began+from, max(time.Second, latency*6/10))
							}
						}
					}
					t.Logf("%d chunks, %d at once: %v", chunks, workers, these)
					all.all, all.silent, all.outside = all.all+these.all, all.silent+these.silent, all.outside+these.outside
				}
			}
			require.LessOrEqual(t, all.outside*1000, c.wrong*all.all, all)
			require.LessOrEqual(t, all.silent*1000, 2*all.all, all)
		})
	}
}
